"""Brokers as tables: how hot they are, every good they had, every bargain and every raid."""

from __future__ import annotations

from bus.event import Event
from projections.projection import Change, Projection, Table, sql_beside
from schemas.gen.worldbus.broker.v1 import broker_pb2 as said

BROKERS = Table("brokers", key=("world", "player"), adds=("goods_acquired", "goods_lost", "bargains_struck", "raids_suffered"))
GOODS = Table("goods", key=("world", "player", "good"))
BARGAINS = Table("bargains", key=("world", "player", "good"))
RAIDS = Table("raids", key=("world", "position"))


def _good(event: Event, good: str, **columns: object) -> Change:
    return GOODS.put(event.world, event.entity, good, **columns)


def acquired(event: Event, it: said.GoodAcquired) -> list[Change]:
    price = {"cost_currency": it.currency or None, "cost_minor": it.cost_minor}
    good = _good(event, it.good, kind=it.kind, source=it.source, condition=it.condition, state="held", acquired_at=event.time_ns, **price)
    return [good, BROKERS.put(event.world, event.entity, goods_acquired=1)]


def decayed(event: Event, it: said.GoodsDecayed) -> list[Change]:
    return [_good(event, one.good, condition=one.condition) for one in it.goods]


def preserved(event: Event, it: said.GoodPreserved) -> Change:
    return _good(event, it.good, pace=it.pace, preserved_by=it.sku)


def _lost(event: Event, good: str, state: str) -> list[Change]:
    return [_good(event, good, state=state), BROKERS.put(event.world, event.entity, goods_lost=1)]


def spoiled(event: Event, it: said.GoodSpoiled) -> list[Change]:
    return _lost(event, it.good, "spoiled")


def discarded(event: Event, it: said.GoodDiscarded) -> list[Change]:
    return _lost(event, it.good, "discarded")


def parted(event: Event, it: said.GoodPartedWith) -> list[Change]:
    return _lost(event, it.good, "parted")


def taken_over(event: Event, it: said.GoodTakenOver) -> list[Change]:
    good = _good(
        event, it.good, kind=it.kind, source="trade", condition=it.condition, pace=it.pace, state="held", acquired_at=event.time_ns
    )
    return [good, BROKERS.put(event.world, event.entity, goods_acquired=1)]


def offered(event: Event, it: said.OfferMade) -> Change:
    return _good(event, it.good, offered_to=it.buyer, ask_minor=it.ask_minor, counter_minor=None, rounds=it.round)


def countered(event: Event, it: said.CounterHeard) -> Change:
    return _good(event, it.good, counter_minor=it.counter_minor)


def withdrawn(event: Event, it: said.OfferWithdrawn) -> Change:
    return _good(event, it.good, offered_to=None, ask_minor=None, counter_minor=None, rounds=None)


def turned_down(event: Event, it: said.BargainRefused) -> Change | None:
    return (
        _good(event, it.good, offered_to=None, ask_minor=None, counter_minor=None, rounds=None, last_refusal=it.code) if it.round else None
    )


def struck(event: Event, it: said.BargainStruck) -> list[Change]:
    bargain = BARGAINS.put(
        *(event.world, event.entity, it.good),
        buyer=it.buyer, kind=it.kind, condition=it.condition, currency=it.currency, price_minor=it.price_minor, rounds=it.rounds,
        struck_at=event.time_ns,
    )  # fmt: skip
    return [bargain, _good(event, it.good, state="sold"), BROKERS.put(event.world, event.entity, bargains_struck=1)]


def heat(event: Event, it: said.HeatRaised | said.HeatFaded) -> Change:
    return BROKERS.put(event.world, event.entity, heat=it.heat)


def raided(event: Event, it: said.RaidSuffered) -> list[Change]:
    goods = [lost.good for lost in it.goods]
    raid = RAIDS.put(
        *(event.world, event.position),
        player=event.entity, goods=goods, currency=it.currency, fine_minor=it.fine_minor, heat_before=it.heat_before,
        suffered_at=event.time_ns,
    )  # fmt: skip
    broker = BROKERS.put(event.world, event.entity, heat=it.heat, raids_suffered=1, goods_lost=len(goods))
    return [raid, broker, *(_good(event, good, state="confiscated") for good in goods)]


brokers = Projection(
    name="brokers",
    version=3,
    said_by="broker",
    schema=sql_beside(__file__),
    tables=(BROKERS, GOODS, BARGAINS, RAIDS),
    on={
        said.GoodAcquired: acquired,
        said.GoodsDecayed: decayed,
        said.GoodPreserved: preserved,
        said.GoodSpoiled: spoiled,
        said.GoodDiscarded: discarded,
        said.GoodPartedWith: parted,
        said.GoodTakenOver: taken_over,
        said.OfferMade: offered,
        said.CounterHeard: countered,
        said.OfferWithdrawn: withdrawn,
        said.BargainRefused: turned_down,
        said.BargainStruck: struck,
        said.HeatRaised: heat,
        said.HeatFaded: heat,
        said.RaidSuffered: raided,
    },
)
