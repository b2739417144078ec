"""The buyers of the market as a handler, `market`: the entity is the buyer.

    OfferMade (broker) ──▶ OfferAccepted │ OfferCountered │ OfferTurnedDown
    BargainStruck (broker) ──▶ RegardChanged, AppetiteSated            WakeFired ──▶ AppetiteReturned

The tables are the brokers' own (`worlds/duskmarket/broker/tables.py`): `buyers(market)` makes the handler under given ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from google.protobuf.message import Message

from bus.event import Event
from bus.handler import ByWorld, Handler
from handlers.names import is_token
from schemas.gen.worldbus.broker.v1.broker_pb2 import BargainStruck, OfferMade, OfferWithdrawn
from schemas.gen.worldbus.market.v1 import market_pb2 as said
from schemas.gen.worldbus.time.v1.time_pb2 import WakeFired, WakeRequested
from worlds.duskmarket.broker.tables import Market
from worlds.duskmarket.market.haggle import Said, answer, hungry, sold, walked_away
from worlds.duskmarket.market.state import Buyer, evolve

if TYPE_CHECKING:
    from worlds.duskmarket.content import Duskmarket

__all__ = ["buyers", "market"]

_SPEAKERS: Final[dict[type[Message], str]] = {WakeFired: "time", OfferMade: "broker", OfferWithdrawn: "broker", BargainStruck: "broker"}


def entities(event: Event) -> Sequence[str]:
    """A broker's word concerns the buyer it names, a wake the one it was asked for."""
    if event.subsystem != _SPEAKERS[type(event.data)]:
        return ()
    match event.data:
        case WakeFired() as it:
            return (it.entity,) if it.subsystem == "market" else ()
        case OfferMade() | OfferWithdrawn() | BargainStruck() as it:
            return (it.buyer,) if is_token(it.buyer) else ()
        case _:
            return ()


def decide(market: Market, event: Event, buyer: Buyer) -> Said:
    """The buyer's answer."""
    match event.data:
        case OfferMade() as it:
            return answer(market, it, buyer)
        case BargainStruck() as it:
            return sold(market, it, buyer)
        case OfferWithdrawn() as it:
            return walked_away(it, buyer)
        case WakeFired() as it:
            return hungry(market, it, buyer)
        case _:
            return ()


market: Final[ByWorld[Duskmarket]] = ByWorld(
    name="market",
    listens_to=tuple(_SPEAKERS),
    emits=(
        said.OfferAccepted,
        said.OfferCountered,
        said.OfferTurnedDown,
        said.RegardChanged,
        said.AppetiteSated,
        said.AppetiteReturned,
        WakeRequested,
    ),
    make=lambda content: buyers(content.market),
)


def buyers(tables: Market) -> Handler[Buyer]:
    """The handler under the given tables."""
    return market.with_rules(
        initial=lambda entity: Buyer(),
        decide=partial(decide, tables),
        evolve=evolve,
        entities=entities,
    )
