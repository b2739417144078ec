"""The standard projections, to be taken singly: the tables of the standard subsystems, and of worldbus itself.

Every game wants `lanes` (what is parked, for `worldbus parked`); with inference also `inference`, with lore `knowledge`.
"""

from __future__ import annotations

from typing import Final

from projections.capabilities import capabilities
from projections.clock import clock
from projections.coupons import coupons
from projections.inference import inference
from projections.items import items
from projections.knowledge.knowledge import knowledge
from projections.lanes import lanes
from projections.languages import languages
from projections.models import models
from projections.npcs import npcs
from projections.payments import payments
from projections.players import players
from projections.projection import Projection
from projections.quests import quests
from projections.releases import releases
from projections.routes import routes
from projections.scenes import scenes
from projections.state import state
from projections.stories import stories
from projections.trades import trades
from projections.weather import weather

__all__ = [
    "PROJECTIONS",
    "capabilities",
    "clock",
    "coupons",
    "inference",
    "items",
    "knowledge",
    "lanes",
    "languages",
    "models",
    "npcs",
    "payments",
    "players",
    "quests",
    "releases",
    "routes",
    "scenes",
    "state",
    "stories",
    "trades",
    "weather",
]

PROJECTIONS: Final[tuple[Projection, ...]] = (
    capabilities,
    clock,
    coupons,
    inference,
    items,
    knowledge,
    lanes,
    languages,
    models,
    npcs,
    payments,
    players,
    quests,
    releases,
    routes,
    scenes,
    state,
    stories,
    trades,
    weather,
)
