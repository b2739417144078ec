"""The checker's own sums are those of the tables of a whole log, and name a table that says something else."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence

import asyncpg
import pytest
import pytest_asyncio

from bench.chaos import collect
from bench.chaos.checks.sums import QUERIES, Sums, of_the_log, tables_add_up
from bus.event import Event
from bus.testing import Rehearsal
from projections.projector import Projector
from projections.reader import Listed
from schemas.gen.worldbus.game.v1.game_pb2 import CreatureSlain, PlayerSpoke
from schemas.gen.worldbus.inventory.v1.inventory_pb2 import ItemUseRequested
from schemas.gen.worldbus.payment.v1 import payment_pb2 as said
from schemas.gen.worldbus.quest.v1.quest_pb2 import QuestAbandonRequested, QuestAcceptRequested
from tests.duskmarket import PROJECTIONS, inventory, payment, quest
from tests.projected import unreadable


def lived() -> Sequence[Event]:
    """Purchases, refunds, holds, quests that were finished, left and are open, and bytes that are no event."""
    town = Rehearsal(payment, inventory, quest, world="duskmarket")
    for player in ("mira", "tam"):
        town.say(said.PurchaseRequested(request_id="p1", sku="lantern", quantity=2), entity=player)
        town.say(said.RefundRequested(request_id="r1", purchase_id="p1", amount_minor=50), entity=player, subsystem="operator")
        town.say(said.HoldRequested(request_id="h1", currency="crowns", amount_minor=70), entity=player)
        town.say(ItemUseRequested(request_id="u1", sku="lantern"), entity=player)
        town.say(QuestAcceptRequested(quest="hounds-of-the-moor"), entity=player)
    town.say(CreatureSlain(creature="moor-hound", place="old-moor", quantity=12), entity="mira")
    town.say(PlayerSpoke(npc="warden-pell", place="old-moor"), entity="mira")
    town.say(QuestAbandonRequested(quest="hounds-of-the-moor"), entity="tam")
    town.say(QuestAcceptRequested(quest="hounds-of-the-moor"), entity="tam")
    return [*town.log, unreadable(len(town.log) + 1, name="TransferPosted")]


@pytest_asyncio.fixture
async def projected(fresh_database: str) -> AsyncIterator[str]:
    await Projector(fresh_database, PROJECTIONS).run(Listed(lived()), follow=False)
    yield fresh_database


async def test_tables_of_a_whole_log_add_up_to_it(projected: str) -> None:
    log, tables = of_the_log(lived()), await collect.sums(projected)

    assert tables_add_up(log, tables) == []
    assert {name for name in QUERIES if not log[name]} == set(), "every sum is of something"


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("UPDATE {} SET balance_minor = abs(balance_minor)", "balances"),
        ("UPDATE {} SET transfers = transfers + 1 WHERE account = 'house'", "transfers"),
        ("UPDATE {} SET quantity = came", "items"),
        ("UPDATE {} SET came = 0", "came"),
        ("DELETE FROM {} WHERE ended_at IS NULL", "quests begun"),
        ("UPDATE {} SET status = 'completed' WHERE status = 'abandoned'", "quests ended"),
        ("UPDATE {} SET amount_minor = amount_minor + 1", "quest rewards"),
    ],
)
async def test_a_table_that_says_something_else_is_named(projected: str, statement: str, name: str) -> None:
    table = {"balances": "balances", "transfers": "balances", "items": "items", "came": "items", "quest rewards": "quest_rewards"}
    connection = await asyncpg.connect(projected)
    try:
        where = await connection.fetchval(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname LIKE 'p\\_%' AND tablename = $1",
            table.get(name, "quests"),
        )
        await connection.execute(statement.format(where))
    finally:
        await connection.close()

    found = tables_add_up(of_the_log(lived()), await collect.sums(projected))

    assert {violation.rule for violation in found} == {"P7"}
    assert any(violation.what.startswith(f"{name} of duskmarket/") for violation in found), found


def test_a_sum_of_nothing_and_none_are_the_same() -> None:
    empty: Sums = {name: Counter() for name in QUERIES}

    assert tables_add_up(empty | {"items": Counter({("w", "mira", "pelt"): 0})}, empty) == []
    assert tables_add_up(empty | {"items": Counter({("w", "mira", "pelt"): 1})}, empty) != []
