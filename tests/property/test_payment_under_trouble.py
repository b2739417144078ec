"""Money under lost acknowledgements, late writes, deaths, sleepers and repeats: a request has one answer, and the ledger balances."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bus.event import Draft, LaneMark
from schemas.gen.worldbus.broker.v1.broker_pb2 import BargainStruck
from schemas.gen.worldbus.payment.v1 import payment_pb2 as said
from schemas.gen.worldbus.quest.v1.quest_pb2 import QuestRewarded
from tests.duskmarket import payment
from tests.laws import examples
from tests.ledger import check_ledger
from tests.simulator import PARTITIONS, WORLD, Member, World

PLAYERS = ("mira", "tam", "ida")
ids = st.sampled_from(["a", "b", "c", "d", "e", "f", "g", "h"])
wishes: st.SearchStrategy[tuple[str, Message]] = st.one_of(
    st.builds(lambda id_, count: ("game", said.PurchaseRequested(request_id=id_, sku="lantern", quantity=count)), ids, st.integers(1, 4)),
    st.builds(
        lambda id_, of, some: ("operator", said.RefundRequested(request_id=id_, purchase_id=of, amount_minor=some)),
        ids,
        ids,
        st.integers(0, 500),
    ),
    st.builds(
        lambda id_, some: ("game", said.HoldRequested(request_id=id_, currency="crowns", amount_minor=some)), ids, st.integers(1, 900)
    ),
    st.builds(lambda id_, of: ("game", said.HoldCaptureRequested(request_id=id_, hold=of, amount_minor=1)), ids, ids),
    st.builds(lambda some: ("quest", QuestRewarded(quest="q", currency="crowns", amount_minor=some)), st.integers(1, 50)),
    st.builds(lambda some: ("broker", BargainStruck(good="g", currency="teeth", price_minor=some)), st.integers(1, 50)),
)
lives = st.lists(st.tuples(st.sampled_from(PLAYERS), wishes), min_size=1, max_size=25)


async def trouble(world: World, said_in_order: list[tuple[str, tuple[str, Message]]]) -> None:
    """Members come and go while players spend."""
    random = world.random
    members = [Member(world, range(PARTITIONS))]
    for number, (player, (edge, message)) in enumerate(said_in_order):
        if isinstance(message, QuestRewarded):
            message = QuestRewarded(player=player, quest="q", currency=message.currency, amount_minor=message.amount_minor)
        world.log.publish(Draft(data=message, world=WORLD, entity=player, subsystem=edge, id=f"in-{number}", time_ns=number))
        for member in members:
            for partition in member.partitions:
                member.read(partition, random.randrange(3))
        await world.turn(random.randrange(6))
        fate = random.random()
        if fate < world.trouble * 0.4:
            await members.pop(random.randrange(len(members))).die()
        elif fate < world.trouble * 0.8:
            members[0].sleep_over()
            members[0].partitions = []
        if len(members) < 2 or not any(member.partitions for member in members):
            members.append(Member(world, random.sample(range(PARTITIONS), random.randrange(1, PARTITIONS + 1))))
    for member in members:
        await world.turn(random.randrange(10))
        await member.die()


@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(said_in_order=lives, seed=st.integers(0, 2**32), share=st.sampled_from([0.0, 0.15, 0.3]))
def test_nobody_is_charged_or_paid_twice_whatever_dies_or_sleeps(
    said_in_order: list[tuple[str, tuple[str, Message]]], seed: int, share: float
) -> None:
    async def run() -> World:
        world = World(payment, seed, share)
        await trouble(world, said_in_order)
        await world.settle()
        return world

    log = asyncio.run(run()).log.events
    balances = check_ledger(log)

    answered: Counter[Any] = Counter()
    for event in log:
        if event.subsystem == "payment" and not isinstance(event.data, said.AccountOpened):
            mark = event.lane
            assert isinstance(mark, LaneMark)
            answered[mark.position, event.name, mark.step] += 1
    assert [key for key, times in answered.items() if times > 1] == [], "one input was answered twice"
    inputs = {event.position for event in log if event.subsystem != "payment"}
    assert {position for position, _, _ in answered} == inputs, "an input has no answer"
    earned = sum(event.data.amount_minor for event in log if isinstance(event.data, QuestRewarded))
    opened = sum(isinstance(event.data, said.AccountOpened) for event in log)
    assert -balances.get(("mint", "crowns"), 0) == earned + 5000 * opened, "a reward was paid twice or not at all"
    sold = sum(event.data.price_minor for event in log if isinstance(event.data, BargainStruck))
    assert -balances.get(("market", "teeth"), 0) == sold
