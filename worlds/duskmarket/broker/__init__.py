"""Brokers between the worlds as a handler, `broker`: the game's own core loop.

    AcquisitionRequested ──▶ GoodAcquired │ AcquisitionBegun, ChargeRequested ──▶ (payment) ──▶ GoodAcquired │ AcquisitionRefused
    SaleRequested ──▶ SalePrepared ──▶ (inventory) ──▶ OfferMade ──▶ (market) ──▶ BargainStruck │ CounterHeard │ BargainRefused
    CounterAcceptRequested ──▶ BargainStruck          WakeFired ──▶ GoodsDecayed, GoodSpoiled, HeatFaded, RaidSuffered

The lane is the player. The buyers are a handler of their own, `market`. The rules are data: `brokers(market)` makes the
handler under given tables, and a game gives `broker` its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import Message

from bus.event import Event
from bus.handler import ByWorld, Handler
from handlers.answering import ANSWERS, Silence, answering
from handlers.plausible import UNBOUNDED, Bounds
from schemas.gen.worldbus.broker.v1 import broker_pb2 as said
from schemas.gen.worldbus.inventory.v1.inventory_pb2 import (
    ItemGiven,
    ItemReleaseRequested,
    ItemRemoved,
    ItemReserveRefused,
    ItemReserveRequested,
    ItemsReserved,
    ItemUsed,
)
from schemas.gen.worldbus.market.v1.market_pb2 import OfferAccepted, OfferCountered, OfferTurnedDown
from schemas.gen.worldbus.payment.v1.payment_pb2 import ChargeCompleted, ChargeDeclined, ChargeRequested
from schemas.gen.worldbus.time.v1.time_pb2 import WakeFired, WakeRequested
from worlds.duskmarket.broker.look import looked
from worlds.duskmarket.broker.state import Broker, evolve
from worlds.duskmarket.broker.tables import Market
from worlds.duskmarket.broker.trade import (
    CHARGE,
    OFFER,
    Said,
    accept,
    acquire,
    answered,
    discard,
    not_paid,
    not_set_aside,
    offer,
    paid,
    parted,
    preserve,
    set_aside,
    stood,
    taken_over,
    withdraw,
)

if TYPE_CHECKING:
    from worlds.duskmarket.content import Duskmarket

__all__ = ["broker", "brokers"]

# Whose word counts for what is not a wish.
_SPEAKERS: Final[dict[type[Message], str]] = {
    WakeFired: "time",
    ChargeCompleted: "payment",
    ChargeDeclined: "payment",
    OfferAccepted: "market",
    OfferCountered: "market",
    OfferTurnedDown: "market",
    ItemUsed: "inventory",
    ItemGiven: "inventory",
    ItemRemoved: "inventory",
    ItemsReserved: "inventory",
    ItemReserveRefused: "inventory",
    said.GoodPartedWith: "broker",
}


def entities(event: Event) -> Sequence[str]:
    """A wish concerns the player it is said about; a buyer's word and a wake the one they name, a charge only if it is for a good."""
    if event.subsystem != _SPEAKERS.get(type(event.data), event.subsystem):
        return ()
    match event.data:
        case WakeFired() as it:
            return (it.entity,) if it.subsystem == "broker" else ()
        case ChargeCompleted() | ChargeDeclined() as it:
            return (event.entity,) if it.request_id.startswith(CHARGE) else ()
        case OfferAccepted() | OfferCountered() | OfferTurnedDown() as it:
            return (it.player,) if it.player else ()
        case ItemUsed() as it:
            return (event.entity,) if it.target or it.things else ()
        case ItemGiven() as it:
            return (event.entity,) if it.thing else ()
        case ItemRemoved() as it:
            return (event.entity,) if it.thing and it.reason in ("traded", "refund") else ()
        case ItemsReserved() | ItemReserveRefused() as it:
            return (event.entity,) if it.holder == "broker" else ()
        case said.GoodPartedWith() as it:
            return (it.to,) if it.to else ()
        case _:
            return (event.entity,)


def decide(market: Market, event: Event, broker: Broker) -> Said:
    """The events that a broker's command, a buyer's word or time lead to."""
    match event.data:
        case WakeFired() as it:
            return stood(it, broker) if it.name.startswith(OFFER) else looked(market, event, it, broker)
        case said.SaleRequested() as it:
            return offer(market, event, it, broker)
        case OfferAccepted() | OfferCountered() | OfferTurnedDown() as it:
            return answered(market, event, it, broker)
        case said.AcquisitionRequested() as it:
            return acquire(market, event, it, broker)
        case said.CounterAcceptRequested() as it:
            return accept(market, event, it, broker)
        case said.OfferWithdrawRequested() as it:
            return withdraw(event, it, broker)
        case said.GoodDiscardRequested() as it:
            return discard(event, it, broker)
        case ChargeCompleted() as it:
            return paid(market, event, it, broker)
        case ChargeDeclined() as it:
            return not_paid(event, it, broker)
        case ItemUsed() as it:
            return *parted(event, it.things, "", broker), *preserve(market, it, broker)
        case ItemGiven() as it:
            return parted(event, (it.thing,), "", broker)
        case ItemRemoved() as it:
            return parted(event, (it.thing,), it.to, broker)
        case ItemsReserved() as it:
            return set_aside(market, event, it, broker)
        case ItemReserveRefused() as it:
            return not_set_aside(event, it, broker)
        case said.GoodPartedWith() as it:
            return taken_over(market, event, it, broker)
        case _:
            return ()


def silence(event: Event) -> Silence:
    """A request without an effect: there was no offer, or its buyer has left the market."""
    it: Any = event.data
    return Silence("NO_OFFER", f"there is no offer of {ascii(it.good)[:80]} to end or to take: ask a buyer first")


broker: Final[ByWorld[Duskmarket]] = ByWorld(
    name="broker",
    listens_to=(
        *_SPEAKERS,
        said.AcquisitionRequested,
        said.SaleRequested,
        said.CounterAcceptRequested,
        said.OfferWithdrawRequested,
        said.GoodDiscardRequested,
    ),
    emits=(
        said.AcquisitionBegun,
        said.GoodAcquired,
        said.AcquisitionRefused,
        said.GoodsDecayed,
        said.GoodSpoiled,
        said.GoodPreserved,
        said.GoodDiscarded,
        said.SalePrepared,
        said.GoodPartedWith,
        said.GoodTakenOver,
        said.OfferMade,
        said.CounterHeard,
        said.OfferWithdrawn,
        said.BargainStruck,
        said.BargainRefused,
        said.HeatRaised,
        said.HeatFaded,
        said.RaidSuffered,
        said.BrokerIdled,
        ChargeRequested,
        ItemReserveRequested,
        ItemReleaseRequested,
        WakeRequested,
        *ANSWERS,
    ),
    make=lambda content: brokers(content.market, content.bounds),
)


def brokers(market: Market, bounds: Bounds = UNBOUNDED) -> Handler[Broker]:
    """The handler under the given tables."""
    handler = broker.with_rules(
        initial=lambda entity: Broker(),
        decide=partial(decide, market),
        evolve=evolve,
        entities=entities,
    )
    return answering(handler, bounds, silence)
