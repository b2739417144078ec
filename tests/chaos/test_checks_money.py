"""The checker of money passes a whole history and names the one that breaks its law."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from google.protobuf.message import Message

from bench.chaos.checks.money import check
from bus.event import Event
from bus.testing import Rehearsal
from schemas.gen.worldbus.broker.v1.broker_pb2 import BargainStruck
from schemas.gen.worldbus.inventory.v1.inventory_pb2 import ItemGranted, ItemRemoved, ItemUsed
from schemas.gen.worldbus.payment.v1 import payment_pb2 as said
from schemas.gen.worldbus.payment.v1.types_pb2 import LedgerEntry
from schemas.gen.worldbus.quest.v1.quest_pb2 import QuestRewarded
from schemas.gen.worldbus.quest.v1.types_pb2 import QuestItem
from tests.duskmarket import inventory, payment
from tests.projected import event

History = list[Event]


def whole() -> History:
    town = Rehearsal(payment, inventory, world="duskmarket")
    town.say(said.PurchaseRequested(request_id="p1", sku="lantern"), entity="mira")
    town.say(said.RefundRequested(request_id="r1", purchase_id="p1", amount_minor=50), entity="mira", subsystem="operator")
    town.say(said.HoldRequested(request_id="h1", currency="crowns", amount_minor=70), entity="mira")
    town.say(said.HoldReleaseRequested(request_id="h2", hold="h1"), entity="mira")
    items = [QuestItem(sku="pelt", quantity=1)]
    town.say(QuestRewarded(player="mira", quest="q", currency="crowns", amount_minor=9, items=items), entity="mira", subsystem="quest")
    town.say(BargainStruck(player="mira", good="g-1", kind="g", currency="teeth", price_minor=5), entity="mira", subsystem="broker")
    return town.log


def test_a_whole_history_breaks_nothing() -> None:
    assert check(whole()) == []


def one(history: History, kind: type[Message], number: int = 0) -> Event:
    return [event for event in history if isinstance(event.data, kind)][number]


def said_also(message: Message) -> Callable[[History], History]:
    """Payment says one more thing."""
    return lambda history: [*history, event(len(history) + 1, message, subsystem="payment")]


def twice(kind: type[Message]) -> Callable[[History], History]:
    return lambda history: [*history, one(history, kind)]


def without(kind: type[Message], number: int = 0) -> Callable[[History], History]:
    return lambda history: [event for event in history if event is not one(history, kind, number)]


def moved(*legs: tuple[str, int]) -> said.TransferPosted:
    entries = [LedgerEntry(account=account, currency="crowns", amount_minor=amount) for account, amount in legs]
    return said.TransferPosted(transfer_id="doctored", entries=entries)


@pytest.mark.parametrize(
    ("rule", "doctor"),
    [
        ("M1", said_also(moved(("player:mira", 5), ("house", -4)))),
        ("M1", said_also(moved())),
        ("M2", said_also(moved(("player:mira", -(10**6)), ("house", 10**6)))),
        ("M2", said_also(moved(("escrow:mira", -1), ("house", 1)))),
        ("M2", said_also(said.CreditLineChanged(currency="crowns", limit_minor=-(10**6)))),
        ("M3", said_also(moved(("player:tam", 5), ("house", -5)))),
        ("M3", twice(said.TransferPosted)),
        ("M4", twice(said.PurchaseCompleted)),
        ("M4", said_also(said.PurchaseDeclined(request_id="p1", request_digest="x"))),
        ("M5", said_also(said.RefundCompleted(request_id="r9", purchase_id="p1", amount_minor=900, refunded_minor=950))),
        ("M5", said_also(said.RefundCompleted(request_id="r9", purchase_id="p9", amount_minor=1, refunded_minor=1))),
        ("M5", said_also(said.RefundCompleted(request_id="r9", purchase_id="p1", amount_minor=60, refunded_minor=60))),
        ("M6", without(said.CreditGranted)),
        ("M6", twice(said.CreditGranted)),
    ],
)
def test_a_broken_law_is_named(rule: str, doctor: Callable[[History], History]) -> None:
    assert rule in {violation.rule for violation in check(doctor(whole()))}


def test_a_reward_whose_items_never_came_or_came_twice_is_named() -> None:
    for number in range(2):
        granted = [event for event in whole() if event.name in ("ItemGranted", "ItemRemoved") and event.depth == 1][-1 - number]
        short = [event for event in whole() if event.id != granted.id]
        assert {violation.rule for violation in check(short)} == {"M6"}
        assert "M6" in {violation.rule for violation in check([*whole(), granted])}


def test_a_stack_that_is_not_what_came_less_what_went_is_named() -> None:
    for it in (
        ItemGranted(sku="pelt", quantity=2, now=2),
        ItemRemoved(sku="pelt", quantity=2, now=0),
        ItemRemoved(sku="pelt", quantity=2, now=-1),
        ItemUsed(sku="pelt", quantity=1, now=1),
    ):
        found = check([*whole(), event(99, it, subsystem="inventory")])
        assert [(one.rule, "pelt" in one.what) for one in found] == [("M7", True)]
    assert check([*whole(), event(99, ItemUsed(sku="pelt", quantity=1, now=0), subsystem="inventory")]) == []
