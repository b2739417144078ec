"""Newgame as one value: who acts in it, what is read from its log, and the content that it is played by."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from worldbus import Content, Game
from worldbus.standard import npc, player, projections, time_manager, weather

from newgame.beacon import beacon, beacons

game: Final = Game(
    name="newgame",
    packages=("newgame.gen",),
    handlers=(time_manager, weather, player, npc, beacon),
    projections=(
        projections.lanes,
        projections.clock,
        projections.weather,
        projections.players,
        projections.npcs,
        projections.inference,
        projections.knowledge,
        beacons,
    ),
    content=Content(Path(__file__).parent / "content"),
)
