"""A real Evennia on a real bus: its load tester plays the tutorial world, nats-server is killed, people of the bus answer in rooms."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.timeout(600)
def test_a_game_that_we_did_not_write_plays_on_the_bus() -> None:
    command = [sys.executable, "-m", "clients.evennia.demo", "--players", "6", "--duration", "45", "--kills", "1", "--json"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-4000:]
    report = json.loads(ran.stdout)

    assert report["in_log"] >= report["recorded"] > 50
    assert (report["lost"], report["duplicated"], report["failed"], report["dropped"]) == (0, 0, 0, 0)
    assert {"PlayerJoined", "PlayerMoved", "PlayerSpoke"} <= report["by_event"].keys()
    assert report["by_event"]["PlayerJoined"] >= 5
    assert sum(report["lines"].values()) >= 1
    assert report["shown"] >= 1
    assert (report["nats_kills"], report["errors_shown"], report["problems"]) == (1, 0, [])
    assert report["rows"]["players"] >= 5
