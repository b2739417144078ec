"""Newgame as one value: who acts in it, what is read from its log, and the content that it is played by."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from handlers.content import Content
from handlers.npc_behavior import npc
from handlers.player import player
from handlers.time_manager import time
from handlers.weather_manager import weather
from projections.clock import clock
from projections.inference import inference
from projections.knowledge.knowledge import knowledge
from projections.lanes import lanes
from projections.npcs import npcs
from projections.players import players
from projections.weather import weather as weather_now
from worldbus.game import Game

from newgame.beacon import beacon, beacons

game: Final = Game(
    name="newgame",
    packages=("newgame.gen",),
    handlers=(time, weather, player, npc, beacon),
    projections=(clock, inference, knowledge, lanes, npcs, players, weather_now, beacons),
    content=Content(Path(__file__).parent / "content"),
)
