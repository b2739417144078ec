"""mypy, strict, in somebody else's folder, sees the types of every name of the front door, from the installed package."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import worldbus
from worldbus import testing

ROOT = Path(__file__).parents[3]
PROGRAM = """
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerJoined
from worldbus import Change, Draft, Event, Game, Projection, Settings, Table, open_world
from worldbus.standard import player, projections, weather
from worldbus.testing import given

CROWD: Table = Table("crowd", key=("world", "zone"))


def joined(event: Event, it: PlayerJoined) -> Change:
    return CROWD.put(event.world, it.zone, name=it.display_name)


async def main(settings: Settings, game: Game) -> int:
    async with open_world(settings) as world:
        wrong: str = await world.publisher.publish(Draft(data=PlayerJoined(), world="main", entity="mira"))
    return len(wrong)
"""


@pytest.mark.timeout(900)
def test_a_stranger_program_is_checked(tmp_path: Path) -> None:
    program = PROGRAM + "".join(f"\nimport worldbus\nreveal_type(worldbus.{name})" for name in worldbus.__all__)
    program += "".join(f"\nimport worldbus.testing\nreveal_type(worldbus.testing.{name})" for name in testing.__all__)
    (tmp_path / "program.py").write_text(program + "\n")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), "program.py"],
        cwd=tmp_path,
        text=True,
        capture_output=True,
        check=False,
    )
    revealed = re.findall(r'note: Revealed type is "(.*)"', done.stdout)
    errors = [line for line in done.stdout.splitlines() if ": error:" in line]

    assert len(revealed) == len(worldbus.__all__) + len(testing.__all__), done.stdout
    assert [one for one in revealed if one == "Any"] == []
    assert [re.sub(r"^program.py:\d+: ", "", one) for one in errors] == [
        'error: Incompatible types in assignment (expression has type "int", variable has type "str")  [assignment]'
    ], done.stdout
