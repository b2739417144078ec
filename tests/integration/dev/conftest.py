"""A small game in a folder of its own, and `worldbus dev` that plays it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from worldbus.embedded.folder import Folder

COMMAND = [sys.executable, "-c", "from worldbus.cli import main; main()"]
PATIENCE_S = 120.0  # on a machine that does much else

GAME = '''
"""A harbour that greets whoever arrives."""

from pathlib import Path

from harbour.greets import Content, greets
from harbour.guests import guests
from worldbus.game import Game

game = Game(
    name="harbour", handlers=(greets,), projections=(guests,), content=Content(Path(__file__).parent / "content"), edges={},
    may_not=lambda subsystem, type_name: "",
)
'''

RULES = '''
"""Whoever arrives is greeted by name."""

import tomllib
from functools import partial
from pathlib import Path

from bus.errors import BadSettings
from bus.handler import ByWorld
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerArrived, PlayerJoined


class Content:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def greeting(self) -> str:
        path = self.folder / "greetings.toml"
        try:
            return tomllib.loads(path.read_text())["greeting"]
        except tomllib.TOMLDecodeError as error:
            raise BadSettings(f"{path}: {error}") from error


def decide(greeting, event, visits):
    name = event.data.display_name
    return [PlayerArrived(session=visits + 1, display_name=f"{greeting} {name}")]


def evolve(visits, event):
    return event.data.session


greets = ByWorld(
    name="greets", listens_to=(PlayerJoined,), emits=(PlayerArrived,), home=True,
    make=lambda content: greets.with_rules(initial=lambda entity: 0, decide=partial(decide, content.greeting), evolve=evolve),
)
'''

VIEW = '''
"""The guests of the harbour as a table."""

from projections.projection import Projection, Table, sql_beside
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerArrived

GUESTS = Table("guests", key=("world", "guest"))


def arrived(event, it):
    return GUESTS.put(event.world, event.entity, greeted=it.display_name, visits=it.session)


guests = Projection(name="guests", version=1, schema=sql_beside(__file__), tables=(GUESTS,), on={PlayerArrived: arrived})
'''

SQL = """
-- Whoever was here.
CREATE TABLE guests (world text, guest text, greeted text, visits bigint, position bigint, PRIMARY KEY (world, guest));
"""

TABLE = 'greeting = "welcome"\n'

FILES = {
    "harbour/__init__.py": GAME,
    "harbour/greets.py": RULES,
    "harbour/guests.py": VIEW,
    "harbour/guests.sql": SQL,
    "harbour/content/greetings.toml": TABLE,
}


class Dev:
    """A running `worldbus dev`: what it printed, its game's files, and a way to ask its world."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.environment = environment
        self._printed = folder / "dev.txt"
        self._seen = 0
        with self._printed.open("w") as out:
            self.process = subprocess.Popen(
                [*COMMAND, "dev"], cwd=folder, env=environment, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )

    @property
    def printed(self) -> str:
        """All that it has printed so far."""
        return self._printed.read_text()

    def save(self, name: str, text: str) -> None:
        """Write a file of the game as an editor does: beside it, then in its place."""
        path = self.folder / name
        beside = path.with_name(f".{path.name}.tmp")
        beside.write_text(text)
        beside.replace(path)

    def until(self, *texts: str) -> str:
        """What is printed from the last call on until all of these are in it."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            new = self.printed[self._seen :]
            if all(text in new for text in texts) and new.endswith("\n"):
                self._seen += len(new)
                return new
            assert self.process.poll() is None, self.printed
            assert time.monotonic() < deadline, f"wanted {texts}, found\n{new}\n--- of\n{self.printed}"
            time.sleep(0.05)

    def call(self, *words: str) -> str:
        """The answer of another verb in the same folder, which knows nothing of the harbour: that may be broken."""
        env = {name: value for name, value in self.environment.items() if name != "WORLDBUS_GAME"}
        done = subprocess.run([*COMMAND, *words], cwd=self.folder, env=env, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def join(self, guest: str) -> None:
        """A guest comes, and is greeted."""
        self.call("publish", "PlayerJoined", "--entity", guest.lower(), "--data", json.dumps({"display_name": guest}))
        self.wait(lambda: self.sql(f"SELECT guest FROM guests WHERE guest = '{guest.lower()}'") != [])

    def sql(self, question: str) -> list[dict[str, object]]:
        """Rows, as readers see them."""
        return asyncio.run(self._rows(question))

    async def _rows(self, question: str) -> list[dict[str, object]]:
        addresses = Folder(self.folder / ".worldbus", create=False).find()
        assert addresses is not None
        connection = await asyncpg.connect(addresses.reader_dsn)
        try:
            return [dict(row) for row in await connection.fetch(question)]
        finally:
            await connection.close()

    def wait(self, condition: Callable[[], bool]) -> None:
        """Return once it holds."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, self.printed
            time.sleep(0.05)

    def stop(self) -> int:
        """Ctrl-C; its exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder with a short path (sockets have a limit), passable for the user that Postgres runs as."""
    folder = Path(tempfile.mkdtemp(prefix="wb-dev-"))
    folder.chmod(0o711 if os.geteuid() == 0 else 0o700)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def dev(home: Path) -> Iterator[Dev]:
    """`worldbus dev` on the harbour."""
    for name, text in FILES.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    yield from running(home, {"WORLDBUS_GAME": "harbour:game"})


def running(folder: Path, more: dict[str, str]) -> Iterator[Dev]:
    """`worldbus dev` in a folder, ended when the test ends."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WORLDBUS_")}
    dev = Dev(folder, {**kept, "WORLDBUS_DURABILITY": "relaxed", "XDG_RUNTIME_DIR": str(folder), **more})
    try:
        yield dev
    finally:
        if dev.process.poll() is None:
            assert dev.stop() == 0, dev.printed
