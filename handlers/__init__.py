"""The subsystems of the game: each a frozen value of pure functions, events in, events out."""

from __future__ import annotations

from typing import Final

from bus.handler import Subsystem
from handlers import broker as _broker
from handlers import capability_registry as _capability_registry
from handlers import inventory as _inventory
from handlers import language_system as _language_system
from handlers import market as _market
from handlers import model_management as _model_management
from handlers import narrative as _narrative
from handlers import npc_behavior as _npc_behavior
from handlers import payment as _payment
from handlers import player as _player
from handlers import quest_system as _quest_system
from handlers import router as _router
from handlers import state_manager as _state_manager
from handlers import storyteller as _storyteller
from handlers import time_manager as _time_manager
from handlers import trade as _trade
from handlers import uemonitor as _uemonitor
from handlers import weather_manager as _weather_manager

__all__ = ["ALL", "by_name"]

ALL: Final[tuple[Subsystem, ...]] = (
    _time_manager.time,
    _weather_manager.weather,
    _player.player,
    _state_manager.state,
    _capability_registry.capability,
    _uemonitor.uemonitor,
    _router.router,
    _model_management.models,
    _quest_system.quest,
    _payment.payment,
    _payment.coupon,
    _inventory.inventory,
    _broker.broker,
    _market.market,
    _trade.trade,
    _narrative.narrative,
    _storyteller.storyteller,
    _npc_behavior.npc,
    _language_system.language,
)


def by_name() -> dict[str, Subsystem]:
    """Every handler under its name, which is the subsystem token of what it says."""
    return {handler.name: handler for handler in ALL}
