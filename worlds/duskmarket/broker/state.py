"""A broker's state, folded from the handler's events about the player."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Final, NamedTuple, TypeVar

from bus.event import Event
from schemas.gen.worldbus.broker.v1 import broker_pb2 as said
from schemas.gen.worldbus.time.v1.time_pb2 import WakeRequested

LOOK: Final = "look"  # name of the wake
NOT_SET_ASIDE: Final = "NOT_SET_ASIDE"  # code of a refusal by the inventory
V = TypeVar("V")


class Held(NamedTuple):
    """A good that the broker has; condition and pace of decay in thousandths."""

    kind: str
    condition: int
    pace: int = 1000
    thing: str = ""  # id in the inventory; empty: `<player>/<good>`


class Coming(NamedTuple):
    """A good that has to be paid first."""

    kind: str
    source: str
    currency: str
    cost: int


class Offer(NamedTuple):
    """The offer for a good: with a counter the next word is the broker's, without it the buyer's."""

    buyer: str
    ask: int
    round: int
    counter: int = 0
    aside: bool = False  # the inventory has put the good aside; offers of former releases are without


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """One player as a broker."""

    goods: Mapping[str, Held] = field(default_factory=dict)
    coming: Mapping[str, Coming] = field(default_factory=dict)
    offers: Mapping[str, Offer] = field(default_factory=dict)  # by good
    preparing: Mapping[str, Offer] = field(default_factory=dict)  # by good: the inventory has not answered yet
    numbered: int = 0  # goods so far
    heat: int = 0
    watching: bool = False  # a look is asked for


def roll(*parts: object) -> int:
    """Dice: a number that is spread evenly and always the same for the same parts."""
    return int.from_bytes(blake2b("\n".join(map(str, parts)).encode(), digest_size=8).digest(), "big")


def evolve(broker: Broker, event: Event) -> Broker:
    """The broker after the handler said `event`."""
    match event.data:
        case said.GoodsDecayed() as it:
            return replace(broker, goods=_decayed(broker, it))
        case WakeRequested(name=name):
            return replace(broker, watching=True) if name == LOOK else broker
        case said.HeatFaded() | said.HeatRaised() as it:
            return replace(broker, heat=it.heat)
        case said.OfferMade() as it:
            before = broker.offers.get(it.good)
            offer = Offer(it.buyer, it.ask_minor, it.round, aside=it.good in broker.preparing or (before is not None and before.aside))
            return replace(broker, offers={**broker.offers, it.good: offer}, preparing=_without(broker.preparing, it.good))
        case said.SalePrepared() as it:
            return replace(broker, preparing={**broker.preparing, it.good: Offer(it.buyer, it.ask_minor, 0)})
        case said.CounterHeard() as it:
            offer = broker.offers[it.good]._replace(counter=it.counter_minor)
            return replace(broker, offers={**broker.offers, it.good: offer})
        case said.OfferWithdrawn() | said.BargainRefused() as it:
            return _refused(broker, it)
        case said.BargainStruck() | said.GoodSpoiled() | said.GoodDiscarded() | said.GoodPartedWith() as it:
            return _gone(broker, it.good)
        case said.RaidSuffered() as it:
            for lost in it.goods:
                broker = _gone(broker, lost.good)
            return replace(broker, heat=it.heat)
        case said.BrokerIdled():
            return replace(broker, watching=False)
        case _:
            return _acquired(broker, event)


def _acquired(broker: Broker, event: Event) -> Broker:
    match event.data:
        case said.AcquisitionBegun() as it:
            coming = {**broker.coming, it.good: Coming(it.kind, it.source, it.currency, it.cost_minor)}
            return replace(broker, coming=coming, numbered=broker.numbered + 1)
        case said.GoodAcquired() as it:
            paid_for = it.good in broker.coming
            goods = {**broker.goods, it.good: Held(it.kind, it.condition)}
            return replace(broker, goods=goods, coming=_without(broker.coming, it.good), numbered=broker.numbered + (0 if paid_for else 1))
        case said.GoodTakenOver() as it:
            goods = {**broker.goods, it.good: Held(it.kind, it.condition, it.pace, it.thing)}
            return replace(broker, goods=goods, numbered=broker.numbered + 1)
        case said.AcquisitionRefused() as it:
            return replace(broker, coming=_without(broker.coming, it.good))
        case said.GoodPreserved() as it:
            return replace(broker, goods={**broker.goods, it.good: broker.goods[it.good]._replace(pace=it.pace)})
        case _:
            return broker


def _decayed(broker: Broker, it: said.GoodsDecayed) -> Mapping[str, Held]:
    now = {one.good: one.condition for one in it.goods}
    return {good: held._replace(condition=now.get(good, held.condition)) for good, held in broker.goods.items()}


def _refused(broker: Broker, it: said.OfferWithdrawn | said.BargainRefused) -> Broker:
    """Only the refusal by the buyer at the table ends an offer; a wish that made no sense changes nothing."""
    if isinstance(it, said.BargainRefused) and it.round == 0:
        return replace(broker, preparing=_without(broker.preparing, it.good)) if it.code == NOT_SET_ASIDE else broker
    return replace(broker, offers=_without(broker.offers, it.good))


def _gone(broker: Broker, good: str) -> Broker:
    offers, preparing = _without(broker.offers, good), _without(broker.preparing, good)
    return replace(broker, goods=_without(broker.goods, good), offers=offers, preparing=preparing)


def _without(entries: Mapping[str, V], key: str) -> Mapping[str, V]:
    return {name: entry for name, entry in entries.items() if name != key} if key in entries else entries
