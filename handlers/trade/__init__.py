"""Trades between two players as a handler, `trade`: the entity is the trade.

    TradeProposeRequested ──▶ TradeProposed      TradeChangeRequested ──▶ TradeChanged (what was accepted is void)
    TradeAcceptRequested ──▶ TradeAccepted … the second one: ItemReserveRequested, twice ──▶ (inventory)
    ItemsReserved, twice ──▶ TradeSettled
    ItemReserveRefused, TradeCancelRequested, WakeFired ──▶ TradeCancelled, ItemReleaseRequested

`TradeSettled` is the moment at which all of it changes hands; the inventories of both follow it. Whatever happens before, everything
stays with, or goes back to, whoever had it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from google.protobuf.message import Message

from bus.event import Event
from bus.handler import ByWorld, Handler
from handlers.answering import ANSWERS, answering
from handlers.plausible import UNBOUNDED, Bounds
from handlers.trade.decide import decide, silence
from handlers.trade.state import Trade, evolve
from schemas.gen.worldbus.inventory.v1.inventory_pb2 import ItemReleaseRequested, ItemReserveRefused, ItemReserveRequested, ItemsReserved
from schemas.gen.worldbus.time.v1.time_pb2 import WakeFired, WakeRequested
from schemas.gen.worldbus.trade.v1 import trade_pb2 as said

if TYPE_CHECKING:
    from handlers.content import Content

__all__ = ["trade"]

NAME: Final = "trade"
_SPEAKERS: Final[dict[type[Message], str]] = {WakeFired: "time", ItemsReserved: "inventory", ItemReserveRefused: "inventory"}


def entities(event: Event) -> Sequence[str]:
    """A request concerns the trade it is said about, the inventory's answer and a wake the one that asked."""
    if event.subsystem != _SPEAKERS.get(type(event.data), event.subsystem):
        return ()
    match event.data:
        case WakeFired() as it:
            return (it.entity,) if it.subsystem == NAME else ()
        case ItemsReserved() | ItemReserveRefused() as it:
            return (it.holder_entity,) if it.holder == NAME else ()
        case _:
            return (event.entity,)


trade: Final[ByWorld[Content]] = ByWorld(
    name=NAME,
    listens_to=(
        said.TradeProposeRequested,
        said.TradeChangeRequested,
        said.TradeAcceptRequested,
        said.TradeCancelRequested,
        *_SPEAKERS,
    ),
    emits=(
        said.TradeProposed,
        said.TradeChanged,
        said.TradeAccepted,
        said.TradeSideReady,
        said.TradeSettled,
        said.TradeCancelled,
        ItemReserveRequested,
        ItemReleaseRequested,
        WakeRequested,
        *ANSWERS,
    ),
    make=lambda content: trades(content.bounds),
)


def trades(bounds: Bounds = UNBOUNDED) -> Handler[Trade]:
    """The handler; reports are believed within `bounds`."""
    handler = trade.with_rules(
        initial=lambda entity: Trade(name=entity),
        decide=decide,
        evolve=evolve,
        entities=entities,
    )
    return answering(handler, bounds, silence)
