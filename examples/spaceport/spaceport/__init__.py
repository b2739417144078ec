"""Spaceport as one value: who acts in it, what is read from its log, and the content that it is played by."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from handlers.npc_behavior import npc
from handlers.payment import coupon, payment
from handlers.player import player
from handlers.time_manager import time
from handlers.weather_manager import weather
from projections.clock import clock
from projections.inference import inference
from projections.knowledge.knowledge import knowledge
from projections.lanes import lanes
from projections.npcs import npcs
from projections.payments import payments
from projections.players import players
from projections.weather import weather as weather_now
from worldbus.game import Game

from spaceport.cargo import cargo, manifests
from spaceport.customs import customs
from spaceport.docking import berths, docking
from spaceport.stations import Port

game: Final = Game(
    name="spaceport",
    packages=("spaceport.gen",),
    handlers=(time, weather, player, payment, coupon, npc, docking, cargo, customs),
    projections=(clock, inference, knowledge, lanes, npcs, payments, players, weather_now, berths, manifests),
    content=Port(Path(__file__).parent / "content"),
)
