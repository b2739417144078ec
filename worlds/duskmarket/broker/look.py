"""Effects of time on a broker: goods decay and spoil, the authorities forget or come."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

from google.protobuf.message import Message

from bus.event import Event
from schemas.gen.worldbus.broker.v1 import broker_pb2 as said
from schemas.gen.worldbus.broker.v1.types_pb2 import GoodCondition, LostGood
from schemas.gen.worldbus.payment.v1.payment_pb2 import ChargeRequested
from schemas.gen.worldbus.time.v1.time_pb2 import WakeFired, WakeRequested
from worlds.duskmarket.broker.state import LOOK, Broker, Held, roll
from worlds.duskmarket.broker.tables import FULL, Market, season_pace

MAX_CATCH_UP: Final = 48  # looks made up for at once; of a longer sleep only so many count
FINE: Final = "fine/"  # begins the request id of a fine


def looked(market: Market, event: Event, it: WakeFired, broker: Broker) -> Sequence[Message]:
    """A look is due: what has become of goods and heat since the last one."""
    if it.name != LOOK or not broker.watching:
        return ()
    looks = 1 + min(MAX_CATCH_UP - 1, max(0, it.now.world_ms - it.due_world_ms) // market.look_ms)
    kept, decay = _decay(market, it.now.season, looks, broker)
    heat = max(0, broker.heat - market.heat.fades * looks)
    faded = (said.HeatFaded(by=broker.heat - heat, heat=heat),) if heat < broker.heat else ()
    raid = _raid(market, event, looks, heat, kept, it.entity)
    for lost in raid.goods if raid else ():
        lost.thing = broker.goods[lost.good].thing
    left = len(kept) - (len(raid.goods) if raid else 0)
    going_on = left or (raid.heat if raid else heat)
    following = it.due_world_ms + looks * market.look_ms  # from when it was due, so that late wakes lose no time
    after: Message = WakeRequested(name=LOOK, at_world_ms=following) if going_on else said.BrokerIdled()
    return (*decay, *faded, *(_suffered(event, raid) if raid else ()), after)


def _decay(market: Market, season: str, looks: int, broker: Broker) -> tuple[dict[str, str], Sequence[Message]]:
    """The goods that are left (id → kind), and what is said about them."""
    pace = season_pace(market, season)
    now = {good: _condition(market, held, pace, looks) for good, held in broker.goods.items()}
    spoiled = [good for good, held in broker.goods.items() if _spoiled(market, held, now[good])]
    changed = [
        GoodCondition(good=good, condition=now[good])
        for good, held in broker.goods.items()
        if now[good] != held.condition and good not in spoiled
    ]
    kept = {good: held.kind for good, held in broker.goods.items() if good not in spoiled}
    decayed = (said.GoodsDecayed(goods=changed, season=season),) if changed else ()
    return kept, (
        *decayed,
        *(said.GoodSpoiled(good=good, kind=broker.goods[good].kind, thing=broker.goods[good].thing) for good in spoiled),
    )


def _condition(market: Market, held: Held, pace: int, looks: int) -> int:
    good = market.goods.get(held.kind)
    if good is None:
        return held.condition
    loss = -(-good.decay * held.pace * pace * looks // (FULL * FULL))  # rounded up: whatever decays does so
    return max(0, held.condition - loss)


def _spoiled(market: Market, held: Held, condition: int) -> bool:
    good = market.goods.get(held.kind)
    return good is not None and good.decay > 0 and condition <= good.spoils_at


def _raid(market: Market, event: Event, looks: int, heat: int, kept: dict[str, str], player: str) -> said.RaidSuffered | None:
    rules = market.heat
    if heat < rules.raid_from or rules.raid_from >= FULL:
        return None
    chance = rules.raid_chance * looks * (heat - rules.raid_from) // (FULL - rules.raid_from)
    if roll(event.id, player, "raid") % FULL >= chance:
        return None
    found = sorted(kept, key=lambda good: roll(event.id, player, good))[: -(-len(kept) * rules.takes // FULL)]
    return said.RaidSuffered(
        goods=[LostGood(good=good, kind=kept[good]) for good in found],
        currency=rules.currency,
        fine_minor=rules.fine_minor * heat // FULL,
        heat_before=heat,
        heat=heat * rules.keeps // FULL,
    )


def _suffered(event: Event, raid: said.RaidSuffered) -> Sequence[Message]:
    if not raid.fine_minor:
        return (raid,)
    request = FINE + blake2b(event.id.encode(), digest_size=16).hexdigest()
    return raid, ChargeRequested(
        request_id=request, currency=raid.currency, amount_minor=raid.fine_minor, to="city", reason="raid", up_to=True
    )
