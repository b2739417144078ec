"""A real Evennia on a real bus: its load tester plays, nats-server and the relay are killed, people of the bus answer in rooms."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LIVES_S = 25.0  # a relay, until it is killed
MOST = 3


def relays() -> Iterator[int]:
    """Process ids of all relays on this machine."""
    for process in Path("/proc").iterdir():
        with suppress(OSError):
            if process.name.isdigit() and b"worldbus_client.relay" in (process / "cmdline").read_bytes().split(b"\0"):
                yield int(process.name)


@contextmanager
def killing(game: Path) -> Iterator[list[int]]:
    """Kill the relay of that game's server a few times meanwhile; gives those that were."""
    over, killed = threading.Event(), []

    def run() -> None:
        while not over.wait(LIVES_S) and len(killed) < MOST:
            for relay in relays():
                with suppress(OSError):
                    if f"PPid:\t{(game / 'server/server.pid').read_text().strip()}\n" in Path(f"/proc/{relay}/status").read_text():
                        os.kill(relay, signal.SIGKILL)
                        killed.append(relay)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


@pytest.mark.timeout(1800)  # beside other work on two cores it took nine minutes
def test_a_game_that_we_did_not_write_plays_on_the_bus(data_folder: Path) -> None:
    command = [sys.executable, "-m", "clients.evennia.demo", "--players", "6", "--duration", "45", "--kills", "1", "--json"]
    with killing(data_folder / "game") as killed:
        ran = subprocess.run([*command, "--data", str(data_folder)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-4000:]
    report = json.loads(ran.stdout)

    assert killed
    assert report["in_log"] >= report["recorded"] > 50
    assert (report["lost"], report["duplicated"], report["failed"], report["dropped"]) == (0, 0, 0, 0)
    assert {"PlayerJoined", "PlayerMoved", "PlayerSpoke"} <= report["by_event"].keys()
    assert report["by_event"]["PlayerJoined"] >= 5
    assert sum(report["lines"].values()) >= 1
    assert report["shown"] >= 1
    assert (report["nats_kills"], report["errors_shown"], report["problems"]) == (1, 0, [])
    assert report["rows"]["players"] >= 5
    assert 0 < report["processor_on"] < 1
    assert report["latency_ratio"] > 0
