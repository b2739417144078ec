"""Laws of what players carry, whatever comes and goes in whatever order."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.testing import Rehearsal
from handlers.inventory import Inventory
from schemas.gen.worldbus.broker.v1.broker_pb2 import BargainStruck, GoodAcquired
from schemas.gen.worldbus.game.v1.game_pb2 import GiftGiven, ItemCollected
from schemas.gen.worldbus.inventory.v1 import inventory_pb2 as said
from schemas.gen.worldbus.payment.v1.payment_pb2 import PurchaseCompleted, PurchaseRequested, RefundCompleted, RefundRequested
from tests.duskmarket import inventory, payment

ids = st.sampled_from(["a", "b", "c", "d", "e", "f"])
skus = st.sampled_from(["lantern", "embalming-salts", "ferryman-token", "No Good"])
counts = st.integers(-2, 8)
steps: st.SearchStrategy[tuple[str, Message]] = st.one_of(
    st.builds(lambda request, sku, count: ("game", said.ItemUseRequested(request_id=request, sku=sku, quantity=count)), ids, skus, counts),
    st.builds(
        lambda request, sku, count: ("operator", said.ItemGrantRequested(request_id=request, sku=sku, quantity=count)), ids, skus, counts
    ),
    st.builds(lambda sku, count: ("game", ItemCollected(item=sku, quantity=count)), skus, counts),
    st.builds(lambda sku: ("game", GiftGiven(item=sku, npc="orla")), skus),
    st.builds(lambda sku: ("broker", GoodAcquired(good="g1", kind=sku)), skus),
    st.builds(lambda sku: ("broker", BargainStruck(good="g1", kind=sku)), skus),
    st.builds(
        lambda request, sku: ("game", PurchaseRequested(request_id=request, sku=sku)),
        ids,
        st.sampled_from(["lantern", "night-kit", "moon"]),
    ),
    st.builds(lambda request, of: ("operator", RefundRequested(request_id=request, purchase_id=of)), st.sampled_from("xyz"), ids),
)


def live(wishes: list[tuple[str, Message]]) -> Rehearsal:
    town = Rehearsal(payment, inventory)
    for speaker, message in wishes:
        town.say(message, entity="mira", subsystem=speaker)
    return town


@given(st.lists(steps, max_size=60))
@settings(deadline=None)
def test_a_stack_is_what_came_less_what_went_and_never_below_zero(wishes: list[tuple[str, Message]]) -> None:
    town = live(wishes)
    stacks: Counter[str] = Counter()
    for event in town.log:
        match event.data:
            case said.ItemGranted() as it:
                stacks[it.sku] += it.quantity
            case said.ItemRemoved() | said.ItemUsed() as it:
                stacks[it.sku] -= it.quantity
            case _:
                continue
        assert stacks[it.sku] == it.now >= 0

    state: Inventory = town.state(inventory, "mira")
    assert {sku: count for sku, count in state.items.items() if count} == {sku: count for sku, count in stacks.items() if count}
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=Inventory) == state
    assert town.refold()["inventory", "mira"] == state if ("inventory", "mira") in town.refold() else state == Inventory(owner="mira")


@given(st.lists(steps, max_size=60))
@settings(deadline=None)
def test_every_purchase_brings_its_items_once_and_every_refund_takes_them_once(wishes: list[tuple[str, Message]]) -> None:
    town = live(wishes)
    bought: Counter[Any] = Counter()
    for purchase in town.said(PurchaseCompleted):
        bought.update({("purchase", purchase.request_id, item.sku): item.quantity for item in purchase.items})
    for refund in town.said(RefundCompleted):
        bought.update({("refund", refund.purchase_id, item.sku): item.quantity for item in refund.items})
    moved: Counter[Any] = Counter()
    for it in town.said(said.ItemGranted, said.ItemRemoved):
        if it.reason in ("purchase", "refund"):
            moved[it.reason, it.reference, it.sku] += it.quantity + getattr(it, "missing", 0)

    assert moved == bought


@given(st.lists(steps, max_size=25), st.data())
@settings(deadline=None)
def test_asking_everything_again_changes_nothing(wishes: list[tuple[str, Message]], data: Any) -> None:
    requests = [step for step in wishes if isinstance(step[1], said.ItemUseRequested | said.ItemGrantRequested)]
    town = live([("game", ItemCollected(item="lantern", quantity=5)), *requests])
    before = town.state(inventory, "mira").items
    for speaker, message in data.draw(st.permutations(requests)):
        town.say(message, entity="mira", subsystem=speaker)

    assert town.state(inventory, "mira").items == before
