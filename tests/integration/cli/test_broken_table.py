"""A table with a typo stops who plays by it, and nobody else: verbs that read the log work, the handlers that do not need it run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.duskmarket import FOLDER
from tests.integration.cli.conftest import COMMAND, environment

GAME = """
from pathlib import Path

from worldbus.game import Game
from worlds import duskmarket
from worlds.duskmarket.content import Duskmarket

content = Duskmarket(Path(__file__).parent / "content")
game = Game(name="duskmarket", mark="", handlers=duskmarket.game.handlers, projections=duskmarket.game.projections, content=content)
"""
GOOD, TYPO = "warmth_c = -4.0", 'warmth_c = "cold"'
Call = Callable[..., subprocess.CompletedProcess[str]]


class Broken:
    """A game in a folder of its own, whose weather.toml has a typo."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "broken_game.py").write_text(GAME)
        shutil.copytree(FOLDER, folder / "content", ignore=shutil.ignore_patterns("lore", "*.py", "__pycache__"))
        self.table = folder / "content" / "weather.toml"
        self.good = self.table.read_text()
        text = self.good.replace(GOOD, TYPO, 1)
        self.table.write_text(text)
        self.place = f"{self.table}:{text[: text.index(TYPO)].count(chr(10)) + 1}: skies.rain.warmth_c: wanted a number, found 'cold'"

    def environment(self, data: Path) -> dict[str, str]:
        found = environment(data)
        return {**found, "WORLDBUS_GAME": "broken_game:game", "PYTHONPATH": os.pathsep.join([str(self.folder), str(Path.cwd())])}

    def call(self, data: Path, *words: object) -> subprocess.CompletedProcess[str]:
        """`worldbus words…` of this game, to its end."""
        return subprocess.run(
            [*COMMAND, *map(str, words)], env=self.environment(data), text=True, capture_output=True, check=False, timeout=100
        )


@pytest.fixture
def broken(tmp_path: Path) -> Broken:
    return Broken(tmp_path)


@pytest.fixture
def all_broken(broken: Broken) -> Broken:
    """The same game without a single table that can be read."""
    tables = sorted((broken.folder / "content").rglob("*.toml"))
    assert len(tables) > 12
    for number, table in enumerate(tables):
        table.write_bytes((b"[broken\n", b"\xff\xfe", b"")[number % 3])
    return broken


@pytest.mark.parametrize(
    "words",
    [
        ("tail",),
        ("tail", "--game", "broken_game:game"),
        ("replay", "--until", 20),
        ("sql", "SELECT count(*) FROM events"),
        ("check",),
        ("lag",),
        ("ps",),
        ("env",),
        ("parked", "list"),
        ("skipped", "list"),
        ("why", 1),
    ],
    ids=lambda words: " ".join(map(str, words)),
)
def test_verbs_that_read_the_log_need_no_table(all_broken: Broken, up: Path, words: tuple[object, ...]) -> None:
    done = all_broken.call(up, *words)

    assert done.returncode == 0, done.stdout + done.stderr
    assert ".toml" not in done.stdout + done.stderr
    assert done.stdout


def test_a_handler_alone_ends_with_file_line_and_key(broken: Broken, up: Path) -> None:
    done = broken.call(up, "run", "--only", "weather")

    assert done.returncode == 2
    assert broken.place in done.stderr
    assert "duskmarket/weather.toml" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("file", ["ladder.toml", "grammars/npc_line.toml"])
def test_a_worker_alone_ends_with_the_file_that_it_answers_from(broken: Broken, up: Path, file: str) -> None:
    (broken.folder / "content" / file).write_text("[broken\n")
    done = broken.call(up, "run", "--only", "ladder")

    assert done.returncode == 2
    assert f"{broken.folder / 'content' / file}:1: cannot be read as TOML" in done.stderr


@contextmanager
def running(broken: Broken, data: Path) -> Iterator[str]:
    """`worldbus up` of that game, until it says that it is up; what it said."""
    errors = broken.folder / "up.err"
    with errors.open("w") as said:
        process = subprocess.Popen([*COMMAND, "up"], env=broken.environment(data), stderr=said, stdin=subprocess.DEVNULL)
    while "Stop it with Ctrl-C" not in errors.read_text():
        assert process.poll() is None, errors.read_text()
        time.sleep(0.05)
    try:
        yield errors.read_text()
    finally:
        process.send_signal(signal.SIGTERM)
        ended = process.wait(60)
    assert ended == 0, errors.read_text()


def test_all_others_run_and_a_mended_table_needs_a_restart_alone(broken: Broken, data_folder: Path) -> None:
    with running(broken, data_folder) as said:
        assert f"weather refuses to run: {broken.place}" in said
        (member,) = json.loads(broken.call(data_folder, "ps", "--json").stdout)["members"]
        run = {one["handler"] for one in member["handlers"]}
        assert "weather" not in run
        assert {"time", "player", "npc", "storyteller"} <= run
        (part,) = [one for one in member["parts"] if one["part"] == "weather"]
        assert (part["state"], broken.place in part["reason"]) == ("refuses to run", True)
        assert any(broken.place in reason for reason in member["health"])

        check = broken.call(data_folder, "check", "--json")
        (members,) = [one for one in json.loads(check.stdout)["checks"] if one["check"] == "members"]
        assert (check.returncode, members["ok"], broken.place in members["found"]) == (1, False, True)

        joined = broken.call(
            data_folder, "publish", "PlayerJoined", "--entity", "mira", "--data", '{"display_name": "Mira", "zone": "quay"}'
        )
        assert joined.returncode == 0, joined.stderr
        _until(lambda: "Mira" in broken.call(data_folder, "sql", "SELECT * FROM players").stdout)
        declared = broken.call(data_folder, "publish", "ZoneDeclared", "--entity", "quay", "--data", '{"climate": "harbour"}')
        assert declared.returncode == 0, declared.stderr

    broken.table.write_text(broken.good)
    with running(broken, data_folder) as said:
        assert "refuses" not in said
        _until(lambda: "WeatherBegan" in broken.call(data_folder, "tail", "--subsystem", "weather").stdout)
        (member,) = json.loads(broken.call(data_folder, "ps", "--json").stdout)["members"]
        assert (member["health"], "weather" in {one["handler"] for one in member["handlers"]}) == ("ok", True)


def _until(answered: Callable[[], Any]) -> None:
    """Each look is a whole command; the time limit of the run is the only clock."""
    while not answered():
        time.sleep(0.1)
