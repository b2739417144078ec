"""Members are killed while bots trade, in small; `python -m bench.chaos.trades` is the long run. And a proof that the checker can fail."""

from __future__ import annotations

import pytest

from bench.chaos import trades
from bench.chaos.checks.owners import check
from bus.testing import recorded
from schemas.gen.worldbus.inventory.v1.inventory_pb2 import ItemGiven, ItemGranted, ItemRemoved


@pytest.mark.timeout(300)
async def test_killed_members_leave_one_owner_for_every_thing() -> None:
    found = await trades.run(trades=60, kills=3, seed=20261130)

    assert found.violations == []
    assert found.kills == 3
    assert found.settled > 0
    assert found.cancelled > 0


def test_the_checker_notices() -> None:
    jar = ItemGranted(sku="jar", quantity=1, now=1, reason="acquired", reference="jar-1", thing="a/jar-1")
    first = recorded(jar, entity="a", subsystem="inventory", position=1)
    again = recorded(jar, entity="b", subsystem="inventory", position=2)
    away = recorded(ItemGiven(to="c", sku="jar", thing="a/jar-1"), entity="a", subsystem="inventory", position=3)
    gone = recorded(ItemRemoved(sku="jar", quantity=1, reason="sold", thing="a/jar-1"), entity="b", subsystem="inventory", position=4)

    assert check([first]) == []
    assert [found.rule for found in check([first, again])] == ["O1"]
    assert [found.rule for found in check([first, away])] == ["O3"]
    assert {found.rule for found in check([first, gone])} == {"O1", "O2"}
