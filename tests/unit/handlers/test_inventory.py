"""The rules of what players carry, one by one."""

from __future__ import annotations

from typing import Any

import pytest

from bus.testing import Case, Rehearsal, given
from handlers.inventory import Inventory
from handlers.inventory.decide import MAX_KINDS
from schemas.gen.worldbus.broker.v1.broker_pb2 import BargainStruck, GoodAcquired, GoodDiscarded, GoodSpoiled, RaidSuffered
from schemas.gen.worldbus.broker.v1.types_pb2 import LostGood
from schemas.gen.worldbus.game.v1.game_pb2 import GiftGiven, ItemCollected
from schemas.gen.worldbus.inventory.v1.inventory_pb2 import (
    ItemGranted,
    ItemGrantRequested,
    ItemRefused,
    ItemRemoved,
    ItemRequestRepeated,
    ItemUsed,
    ItemUseRequested,
)
from schemas.gen.worldbus.narrative.v1.narrative_pb2 import SceneRewarded
from schemas.gen.worldbus.narrative.v1.types_pb2 import SceneItem
from schemas.gen.worldbus.payment.v1.payment_pb2 import PurchaseCompleted, PurchaseRequested, RefundCompleted, RefundRequested
from schemas.gen.worldbus.payment.v1.types_pb2 import GrantedItem
from schemas.gen.worldbus.quest.v1.quest_pb2 import QuestRewarded
from schemas.gen.worldbus.quest.v1.types_pb2 import QuestItem
from schemas.gen.worldbus.request.v1.request_pb2 import RequestRefused
from tests.duskmarket import inventory, payment


def empty() -> Case[Inventory]:
    return given(inventory, entity="mira")


def holding(**items: int) -> Case[Inventory]:
    return given(inventory, *(ItemGranted(sku=sku, quantity=count, now=count) for sku, count in items.items()), entity="mira")


def good() -> Case[Inventory]:
    """Five plain pieces and a unique one."""
    return holding(oil=5).when(GoodAcquired(good="g1", kind="oil"), subsystem="broker")


def code(case: Case[Any]) -> str:
    (refused,) = case.said
    assert isinstance(refused, ItemRefused | RequestRefused)
    assert refused.request_event_id
    assert len(refused.reason) > 20
    return refused.code


@pytest.mark.parametrize(
    ("speaker", "news", "expected"),
    [
        ("payment", PurchaseCompleted(request_id="p1", items=[GrantedItem(sku="oil", quantity=2)]), ("oil", 2, "purchase", "p1")),
        ("quest", QuestRewarded(player="mira", quest="q1", items=[QuestItem(sku="oil", quantity=3)]), ("oil", 3, "reward", "q1")),
        ("narrative", SceneRewarded(player="mira", scene="s1", items=[SceneItem(sku="oil", quantity=4)]), ("oil", 4, "reward", "s1")),
        ("broker", GoodAcquired(good="g1", kind="oil"), ("oil", 1, "acquired", "g1", "mira/g1")),
        ("game", ItemCollected(item="oil", place="quay"), ("oil", 1, "collected", "quay")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_brings_items_and_whose_word_counts(speaker: str, news: Any, expected: Any) -> None:
    sku, quantity, reason, reference, *thing = expected
    holding(oil=5).when(news, subsystem=speaker).then(
        ItemGranted(sku=sku, quantity=quantity, now=5 + quantity, reason=reason, reference=reference, thing="".join(thing))
    ).then_state(items={"oil": 5 + quantity})
    holding(oil=5).when(news, subsystem="weather").then_state(items={"oil": 5})


@pytest.mark.parametrize(
    ("speaker", "news", "reason"),
    [
        ("payment", RefundCompleted(purchase_id="g1", items=[GrantedItem(sku="oil", quantity=1)]), "refund"),
        ("broker", BargainStruck(good="g1", kind="oil"), "sold"),
        ("broker", GoodSpoiled(good="g1", kind="oil"), "spoiled"),
        ("broker", GoodDiscarded(good="g1", kind="oil"), "discarded"),
        ("broker", RaidSuffered(goods=[LostGood(good="g1", kind="oil")]), "confiscated"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_takes_items_and_whose_word_counts(speaker: str, news: Any, reason: str) -> None:
    thing = "" if reason == "refund" else "mira/g1"
    case = good().when(news, subsystem=speaker)

    case.then(ItemRemoved(sku="oil", quantity=1, now=5, reason=reason, reference="g1", thing=thing)).then_state(items={"oil": 5})
    case.then_state(things={} if thing else {"mira/g1": "oil"})
    holding(oil=5).when(news, subsystem="weather").then_state(items={"oil": 5})


def test_several_of_one_kind_count_on_from_each_other() -> None:
    case = empty().when(
        PurchaseCompleted(items=[GrantedItem(sku="oil", quantity=2), GrantedItem(sku="oil", quantity=3)]), subsystem="payment"
    )
    case.then_state(items={"oil": 5})
    for name in "ab":
        case = case.when(GoodAcquired(good=name, kind="oil"), subsystem="broker")

    goods = [LostGood(good="a", kind="oil"), LostGood(good="b", kind="oil")]
    case.when(RaidSuffered(goods=goods), subsystem="broker").then_state(items={"oil": 5})


def test_a_refund_takes_back_what_is_still_there_and_says_what_is_missing() -> None:
    refund = RefundCompleted(purchase_id="p1", items=[GrantedItem(sku="oil", quantity=5)])
    case = holding(oil=2).when(refund, subsystem="payment")

    case.then(ItemRemoved(sku="oil", quantity=2, now=0, reason="refund", reference="p1", missing=3)).then_state(items={"oil": 0})


def test_using_takes_from_the_stack_once_per_request() -> None:
    use = ItemUseRequested(request_id="u1", sku="oil", quantity=2, target="lamp-3")
    case = holding(oil=3).when(use).then_types(ItemUsed).then_state(items={"oil": 1}).when(use, id="again")

    case.then(ItemRequestRepeated(request_id="u1", request="ItemUseRequested", request_event_id="again")).then_state(items={"oil": 1})
    assert code(case.when(ItemUseRequested(request_id="u1", sku="oil"))) == "IDEMPOTENCY_CONFLICT"


def test_a_refused_use_stays_refused() -> None:
    use = ItemUseRequested(request_id="u1", sku="oil")
    case = empty().when(use)
    assert code(case) == "NOT_ENOUGH"

    case = case.when(ItemCollected(item="oil")).when(use, id="late")
    case.then(ItemRequestRepeated(request_id="u1", request="ItemUseRequested", code="NOT_ENOUGH", request_event_id="late"))


@pytest.mark.parametrize(
    ("speaker", "wish", "expected"),
    [
        ("game", ItemUseRequested(sku="No Good"), "BAD_SKU"),
        ("game", ItemUseRequested(sku="oil", quantity=-1), "BAD_QUANTITY"),
        ("game", ItemUseRequested(sku="oil", quantity=6), "NOT_ENOUGH"),
        ("game", ItemUseRequested(sku="oil", target="a.b"), "BAD_TARGET"),
        ("game", ItemUseRequested(sku="oil", request_id="x" * 129), "BAD_REQUEST_ID"),
        ("game", ItemGrantRequested(sku="oil", quantity=1), "NOT_ALLOWED"),
        ("operator", ItemGrantRequested(sku="oil"), "BAD_QUANTITY"),
        ("operator", ItemGrantRequested(sku="oil", quantity=1_000_001), "BAD_QUANTITY"),
        ("operator", ItemGrantRequested(sku="oil", quantity=1, reason="x" * 257), "TOO_LONG"),
        ("game", ItemCollected(item="", quantity=1), "BAD_SKU"),
        ("game", ItemCollected(item="oil", quantity=-1), "IMPLAUSIBLE"),
        ("game", GiftGiven(item="salt", npc="widow-hask"), "NOT_ENOUGH"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(speaker: str, wish: Any, expected: str) -> None:
    case = holding(oil=5).when(wish, subsystem=speaker)

    assert code(case) == expected
    case.then_state(items={"oil": 5})


def test_an_operator_gives_once_per_request() -> None:
    grant = ItemGrantRequested(request_id="g1", sku="oil", quantity=7)
    case = empty().when(grant, subsystem="operator").when(grant, subsystem="operator")

    case.then_types(ItemRequestRepeated).then_state(items={"oil": 7})


def test_a_full_inventory_has_room_for_what_was_paid_for_and_not_for_finds() -> None:
    case: Case[Inventory] = Case(handler=inventory, entity="mira", state=Inventory(items=dict.fromkeys(map(str, range(MAX_KINDS)), 1)))

    assert code(case.when(ItemCollected(item="oil"))) == "INVENTORY_FULL"
    case.when(ItemCollected(item="7")).then_types(ItemGranted)
    case.when(PurchaseCompleted(items=[GrantedItem(sku="oil", quantity=1)]), subsystem="payment").then_types(ItemGranted)


def test_a_purchase_brings_its_items_and_a_whole_refund_takes_them() -> None:
    town = Rehearsal(payment, inventory)
    town.say(PurchaseRequested(request_id="p1", sku="night-kit"), entity="mira")
    assert town.state(inventory, "mira").items == {"lantern": 1, "embalming-salts": 5, "ferryman-token": 2}

    town.say(RefundRequested(request_id="r1", purchase_id="p1", amount_minor=1), entity="mira", subsystem="operator")
    assert town.state(inventory, "mira").items["lantern"] == 1
    town.say(RefundRequested(request_id="r2", purchase_id="p1"), entity="mira", subsystem="client")
    assert town.state(inventory, "mira").items == {"lantern": 0, "embalming-salts": 0, "ferryman-token": 0}
    assert town.state(inventory, "mira").reserves == {}
    assert not [removed for removed in town.said(ItemRemoved) if removed.missing]
