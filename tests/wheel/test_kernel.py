"""The wheel without extras: how large it is, what it runs on servers that are there, and what it says where it cannot."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel import IMPORT_ALL, assert_known
from tests.outside import ROOT, Outside
from worldbus.embedded.nats import NatsServer
from worldbus.hidden import OURS
from worldbus.testing.servers import as_reader, without_streams

pytestmark = [
    pytest.mark.skipif(os.environ.get("WORLDBUS_WHEEL") != "1", reason="`make test-wheel` runs it, in an environment of its own"),
    pytest.mark.timeout(900),
]
MOST_BYTES = 70_000_000  # on disk, with everything that it needs
PATIENCE_S = 200.0
JOINED = ("publish", "PlayerJoined", "--entity", "mira", "--data", '{"display_name": "Mira", "zone": "quay"}')


class Kernel:
    """`worldbus` in the kernel's environment, in a folder of its own, on the servers that these variables name."""

    def __init__(self, place: Outside, folder: Path, **variables: str) -> None:
        self._program = str(place.kernel / "bin" / "worldbus")
        self._folder = folder
        # Nothing of this checkout's environment is on the PATH, dbmate least of all.
        path = os.pathsep.join([str(place.kernel / "bin"), "/usr/bin", "/bin"])
        self._environment = {**place.environment(), "PATH": path, "WORLDBUS_DURABILITY": "relaxed", **variables}

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._program, *words], cwd=self._folder, env=self._environment, text=True, capture_output=True, check=False, timeout=200
        )

    def out(self, *words: str) -> str:
        """What a verb prints that has to succeed."""
        done = self(*words)
        assert done.returncode == 0, f"worldbus {' '.join(words)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """A verb that runs on; what it says is in the folder, in `said`."""
        with (self._folder / "said").open("w") as said:
            return subprocess.Popen([self._program, *words], cwd=self._folder, env=self._environment, stdout=said, stderr=said)

    def said(self) -> str:
        return (self._folder / "said").read_text()

    def until(self, pattern: str, *words: str, code: int | None = None) -> str:
        """What a verb, or without one what was begun, says once it fits the pattern, and once the verb ends with `code` if one is given."""
        end = time.monotonic() + PATIENCE_S
        while True:
            done = self(*words) if words else None
            text = done.stdout if done else self.said()
            if re.search(pattern, text) and (code is None or done is None or done.returncode == code):
                return text
            assert time.monotonic() < end, f"wanted {pattern!r}, found {text}\n{done.stderr if done else ''}\n{self.said()}"
            time.sleep(0.2)


@pytest.fixture
def kernel(place: Outside, nats_server: NatsServer, fresh_database: str, tmp_path: Path) -> Iterator[Kernel]:
    """On a NATS without a log and a database that somebody has migrated."""
    without_streams(nats_server)
    yield on(place, nats_server, fresh_database, tmp_path)
    without_streams(nats_server)


def on(place: Outside, nats: NatsServer, dsn: str, folder: Path) -> Kernel:
    return Kernel(
        place,
        folder,
        WORLDBUS_NATS_URL=nats.url,
        WORLDBUS_NATS_MONITOR_URL=nats.monitor_url,
        WORLDBUS_POSTGRES_DSN=dsn,
        WORLDBUS_READER_DSN=as_reader(dsn),
    )


def test_the_kernel_is_small(place: Outside) -> None:
    counted = subprocess.run(["du", "-sk", str(place.kernel)], text=True, capture_output=True, check=True)
    found = int(counted.stdout.split()[0]) * 1024

    assert found <= MOST_BYTES, f"wanted at most {MOST_BYTES} bytes, found {found}: which new package or file is it?"


def test_the_kernel_is_what_its_lock_says(place: Outside) -> None:
    wanted = set(re.findall(r"^([\w.-]+)==", (ROOT / "requirements" / "base.txt").read_text(), re.MULTILINE))
    code = "import importlib.metadata as m; print(*sorted({one.name.lower().replace('_', '-') for one in m.distributions()}))"

    assert set(place.run(place.kernel / "bin" / "python", "-c", code).split()) == {*wanted, "worldbus"}


def test_every_module_of_the_kernel_can_be_imported(place: Outside) -> None:
    assert_known(json.loads(place.run(place.kernel / "bin" / "python", "-c", IMPORT_ALL, json.dumps(OURS))))


def test_the_kernel_runs_a_world_on_servers_that_are_there(kernel: Kernel, place: Outside) -> None:
    """Every handler, the ladder and the projector; what only an extra can do is said and left out."""
    running = kernel.begin("run")
    try:
        said = kernel.until(r"running .*weather")
        position = kernel.out(*JOINED).split()
        kernel.until("Mira", "sql", "SELECT * FROM players")
        kernel.until(r"PlayerArrived", "tail", "-n", "20")
        kernel.until(r"weather", "lag", "--max", "0", code=0)
        replayed = kernel.out("replay", "--entity", "mira")
        verified = kernel.out("verify")
        members = json.loads(kernel.out("ps", "--json"))["members"]
        why = kernel.out("why", "1")
        rebuilt = kernel.out("rebuild", "players")
    finally:
        running.send_signal(signal.SIGTERM)
        code = running.wait(timeout=100)

    assert "knowledge refuses to run: wanted " in said
    assert "pip install 'worldbus[knowledge]'" in said
    assert position
    assert "PlayerJoined" in replayed
    assert re.search(r"100 ?%|identical", verified), verified
    parts = {part["part"]: part["state"] for member in members for part in member["parts"]}
    assert parts["knowledge"] == "refuses to run"
    assert parts["projector"] == "works"
    assert "PlayerJoined" in why
    assert "players" in rebuilt
    assert code == 0, kernel.said()
    assert "Traceback" not in kernel.said()
    assert not place.opened.exists(), f"files of the checkout were opened: {place.opened.read_text()}"


def test_a_projector_that_finds_migrations_pending_says_what_applies_them(
    place: Outside, nats_server: NatsServer, empty_database: str, tmp_path: Path
) -> None:
    without_streams(nats_server)
    kernel = on(place, nats_server, empty_database, tmp_path)
    kernel.out(*JOINED)

    for words in (("run", "--only", "projector"), ("migrate",)):
        done = kernel(*words)
        assert done.returncode == 3, done.stderr
        assert "wanted dbmate for migrations of Postgres, found none installed: pip install 'worldbus[migrations]'" in done.stderr
        assert "Traceback" not in done.stderr
    without_streams(nats_server)


@pytest.mark.parametrize(
    ("words", "extras"),
    [
        (("up",), "servers"),
        (("dev",), "servers"),
        (("migrate",), "servers"),
        (("publish", "PlayerHeartbeat", "--entity", "mira"), "servers"),
        (("demo",), "servers,knowledge,gateway"),
        (("gateway", "--tokens", "tokens.toml"), "gateway"),
        (("gateway", "openapi"), "gateway"),
        (("asyncapi",), "gateway"),
        (("kb", "ingest", "."), "knowledge"),
        (("kb", "eval"), "knowledge,servers"),
        (("proto",), "proto"),
    ],
)
def test_a_verb_that_needs_an_extra_says_which(place: Outside, tmp_path: Path, words: tuple[str, ...], extras: str) -> None:
    done = Kernel(place, tmp_path)(*words)

    assert done.returncode == 3, done.stderr
    assert "found none installed: pip install 'worldbus[" + extras + "]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stdout == ""


def test_a_new_game_can_be_made_without_extras(place: Outside, tmp_path: Path) -> None:
    kernel = Kernel(place, tmp_path)

    kernel.out("new", "harbourtown")

    assert (tmp_path / "harbourtown" / "pyproject.toml").exists()
    assert "worldbus 0." in kernel.out("--version")
