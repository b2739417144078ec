"""Spaceport as one value: who acts in it, what is read from its log, and the content that it is played by."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from worldbus import Game
from worldbus.standard import coupon, npc, payment, player, projections, time_manager, weather

from spaceport.cargo import cargo, manifests
from spaceport.customs import customs
from spaceport.docking import berths, docking
from spaceport.stations import Port

game: Final = Game(
    name="spaceport",
    packages=("spaceport.gen",),
    handlers=(time_manager, weather, player, payment, coupon, npc, docking, cargo, customs),
    projections=(
        projections.lanes,
        projections.clock,
        projections.weather,
        projections.players,
        projections.payments,
        projections.npcs,
        projections.inference,
        projections.knowledge,
        berths,
        manifests,
    ),
    content=Port(Path(__file__).parent / "content"),
)
