"""Duskmarket, the sample game: a town whose brokers trade in what others would rather not name.

It is made of the standard subsystems, and of two of its own: `broker` and `market`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from worldbus import standard
from worldbus.game import Game
from worldbus.standard.projections import PROJECTIONS
from worlds.duskmarket.broker import broker as _broker
from worlds.duskmarket.content import Duskmarket
from worlds.duskmarket.market import market as _market
from worlds.duskmarket.projections.brokers import brokers
from worlds.duskmarket.projections.buyers import buyers

if TYPE_CHECKING:
    from worldbus.demo.bots import Bots, Stage

content: Final = Duskmarket(Path(__file__).parent)


def _bots(stage: Stage) -> Bots:
    """The game's people, who play the demo; loaded when the demo is played."""
    from worlds.duskmarket.bots.town import Town

    return Town(stage)


game: Final = Game(
    name="duskmarket",
    mark="",
    handlers=(
        standard.time_manager,
        standard.weather,
        standard.player,
        standard.state,
        standard.capability,
        standard.uemonitor,
        standard.router,
        standard.models,
        standard.quest,
        standard.payment,
        standard.coupon,
        standard.inventory,
        _broker,
        _market,
        standard.trade,
        standard.narrative,
        standard.storyteller,
        standard.npc,
        standard.language,
    ),
    projections=(brokers, buyers, *PROJECTIONS),
    content=content,
    bots=_bots,
)
