"""P7: the tables add up to what the log adds up to.

P1 compares the tables with another fold by the projections' own code: where that is wrong, both are wrong alike. Here the log's raw events
are reckoned by code that shares nothing with it, and held against what anybody reads in SQL.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from bench.chaos.history import Violation
from bus.errors import BadEvent
from bus.event import Event
from schemas.gen.worldbus.inventory.v1.inventory_pb2 import ItemGiven, ItemGranted, ItemRemoved, ItemUsed
from schemas.gen.worldbus.payment.v1.payment_pb2 import TransferPosted
from schemas.gen.worldbus.quest.v1.quest_pb2 import QuestAbandoned, QuestAccepted, QuestCompleted, QuestFailed, QuestRewarded

Sums = Mapping[str, Counter[tuple[str, ...]]]

QUERIES: Mapping[str, str] = {
    "balances": "SELECT world, account, currency, balance_minor FROM world.balances",
    "transfers": "SELECT world, account, currency, transfers FROM world.balances",
    "items": "SELECT world, player, sku, quantity FROM world.items",
    "came": "SELECT world, player, sku, came FROM world.items",
    "quests begun": "SELECT world, quest, count(*) FROM world.quests GROUP BY 1, 2",
    "quests ended": "SELECT world, quest, status, count(*) FROM world.quests WHERE ended_at IS NOT NULL GROUP BY 1, 2, 3",
    "quest rewards": "SELECT world, player, currency, sum(amount_minor)::bigint FROM world.quest_rewards GROUP BY 1, 2, 3",
}
"""For each sum, what says it in SQL; the last column is the sum, those before it its key."""
SAID_BY = {
    **dict.fromkeys((ItemGranted, ItemRemoved, ItemUsed, ItemGiven), "inventory"),
    **dict.fromkeys((QuestAccepted, QuestCompleted, QuestFailed, QuestAbandoned, QuestRewarded), "quest"),
    TransferPosted: "payment",
}
NAMES = {kind.DESCRIPTOR.name for kind in SAID_BY}


def of_the_log(events: Iterable[Event]) -> Sums:
    """The sums of the events."""
    sums: dict[str, Counter[tuple[str, ...]]] = {name: Counter() for name in QUERIES}
    for event in events:
        if event.name not in NAMES:
            continue
        try:
            data = event.data
        except BadEvent:
            continue
        if SAID_BY.get(type(data)) == event.subsystem:
            _add(sums, event, data)
    return sums


def _add(sums: Mapping[str, Counter[tuple[str, ...]]], event: Event, data: object) -> None:
    world = event.world
    match data:
        case TransferPosted() as it:
            for leg in it.entries:
                sums["balances"][world, leg.account, leg.currency] += leg.amount_minor
                sums["transfers"][world, leg.account, leg.currency] += 1
        case ItemGranted() as it:
            sums["items"][world, event.entity, it.sku] += it.quantity
            sums["came"][world, event.entity, it.sku] += it.quantity
        case ItemRemoved() | ItemUsed() as it:
            sums["items"][world, event.entity, it.sku] -= it.quantity
        case ItemGiven() as it:
            sums["items"][world, event.entity, it.sku] -= 1
        case QuestAccepted() as it:
            sums["quests begun"][world, it.quest] += 1
        case QuestCompleted(party="") as it:
            sums["quests ended"][world, it.quest, "completed"] += 1
        case QuestFailed() as it:
            sums["quests ended"][world, it.quest, "failed"] += 1
        case QuestAbandoned() as it:
            sums["quests ended"][world, it.quest, "abandoned"] += 1
        case QuestRewarded() as it:
            sums["quest rewards"][world, it.player, it.currency] += it.amount_minor
        case _:
            pass


def tables_add_up(log: Sums, tables: Sums) -> list[Violation]:
    """P7. Every sum of the tables is the log's, and none is missing. A sum of 0 and none at all are the same."""
    return [
        Violation("P7", f"{name} of {'/'.join(key)}: the log adds up to {log[name][key]}, the table says {tables[name][key]}")
        for name in QUERIES
        for key in sorted({*log[name], *tables[name]})
        if log[name][key] != tables[name][key]
    ]
