"""An idle world: nobody joined, so hardly anything is said, and nothing is logged (10 events and 3 lines a second before)."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cli.conftest import COMMAND, call, environment, lines

WATCHED_S = 15.0
MOST_EVENTS = 6  # a turn of the day or two: word, turn, step


@pytest.fixture
def idle(data_folder: Path) -> Iterator[Path]:
    """A world that is up and has settled; its log lines are in `up.err` beside it."""
    errors, folder = data_folder / "up.err", data_folder / "world"
    with errors.open("w") as said:
        process = subprocess.Popen([*COMMAND, "up"], env=environment(folder), stderr=said, stdin=subprocess.DEVNULL)
    while "ticker_speaks" not in errors.read_text():
        assert process.poll() is None, errors.read_text()
        time.sleep(0.05)
    before: Any = None
    while before != (before := (events(folder), len(errors.read_text()))):
        time.sleep(2.0)
    yield folder
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0, errors.read_text()


def ask(folder: Path, sql: str) -> Any:
    (answer,) = lines(call(folder, "sql", sql, "--json"))
    return answer


def events(folder: Path) -> int:
    (row,) = ask(folder, "SELECT count(*) AS n FROM events")
    return int(row["n"])


def test_an_idle_world_is_quiet_and_its_clock_goes_on(idle: Path) -> None:
    count, words = events(idle), (idle.parent / "up.err").read_text()
    (first,) = ask(idle, "SELECT world_ms, asleep, running FROM clock")
    time.sleep(WATCHED_S)
    said, logged = events(idle) - count, (idle.parent / "up.err").read_text().removeprefix(words).splitlines()
    (second,) = ask(idle, "SELECT world_ms FROM clock")

    assert said <= MOST_EVENTS
    assert logged == []
    assert (first["asleep"], first["running"]) == (True, True)
    assert second["world_ms"] - first["world_ms"] >= WATCHED_S * 60_000, "the present moment follows from the last step"

    lines(call(idle, "publish", "PlayerJoined", "--entity", "mira", "--data", '{"display_name": "Mira", "zone": "quay"}', "--json"))
    pulses = "SELECT count(*) AS n FROM events WHERE subsystem = 'npc' AND name = 'WakeRequested' AND position > "
    while ask(idle, f"{pulses} {count}") == [{"n": 0}]:  # whoever comes finds the world awake
        time.sleep(0.2)
