"""Laws of the handler runtime while releases change: what one of them cannot fold waits for the other, in order, and exactly once."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bus.decision import decide as decide_lane
from bus.event import Draft, Event
from bus.handler import Handler
from bus.lane import Lane
from bus.quarantine import QUARANTINE
from bus.rules import producer
from bus.verify import verify
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerEnteredZone, PlayerLeftZone
from schemas.gen.worldbus.runtime.v1.runtime_pb2 import LaneRetryRequested
from tests.property.test_runtime_laws import Counted, _answers, _decide, _first_waiting, _publish, _wish, inputs, teller
from tests.simulator import PARTITIONS, WORLD, Member, World

Wishes = list[tuple[str, list[str], str]]
ANSWERS = frozenset({"PlayerEnteredZone", "PlayerLeftZone"})


def _decide_newly(event: Event, state: Counted) -> Sequence[Message]:
    """As the old release, but to a wish for two or three it begins with an event of a type that the old one does not know."""
    said = _decide(event, state)
    return [PlayerLeftZone(zone=f"{event.id}/{state.said}/new"), *said[1:]] if len(said) > 1 else said


old = teller
new = replace(teller, emits=(PlayerEnteredZone, PlayerLeftZone), decide=_decide_newly, version=2)
RELEASES: dict[str, Handler[Counted]] = {producer(one): one for one in (old, new)}


async def _run_with_releases(world: World, wishes: Wishes) -> None:
    """Members of both releases come, go, sleep and die; now and then an operator asks for a retry, whoever it is that answers."""
    random = world.random
    members: list[Member] = []
    for number, wish in enumerate(wishes):
        if len(members) < 2:
            partitions = random.sample(range(PARTITIONS), random.randrange(1, PARTITIONS + 1))
            members.append(Member(world, partitions, random.choice((old, new))))
        _publish(world, number, wish)
        if random.random() < 0.1:
            retry = LaneRetryRequested(handler=teller.name)
            world.log.publish(Draft(data=retry, world=WORLD, entity=random.choice(wish[1]), subsystem="operator", id=f"retry-{number}"))
        for member in members:
            for partition in member.partitions:
                member.read(partition, random.randrange(3))
        await world.turn(random.randrange(8))
        chance = random.random()
        if chance < 0.25:
            await members.pop(random.randrange(len(members))).die()
        elif chance < 0.35:
            members[0].sleep_over()
            members[0].partitions = []
            members.append(members.pop(0))
            if len(members) > 2:
                await members.pop(0).die()
    for member in members:
        await world.turn(random.randrange(10))
        await member.die()


def _lived(wishes: Wishes, seed: int, trouble: float) -> World:
    async def run() -> World:
        world = World(new, seed, trouble)
        await _run_with_releases(world, wishes)
        await world.settle()
        return world

    return asyncio.run(run())


def _folded(world: World, entity: str) -> Lane[Counted]:
    lane = Lane(new, WORLD, entity, PARTITIONS)
    lane.extend(_answers(world)[entity])
    return lane


QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
RUNS = {"wishes": inputs, "seed": st.integers(0, 2**32), "trouble": st.sampled_from([0.0, 0.1, 0.25])}


@QUICK
@given(**RUNS)
def test_a_release_that_can_fold_every_lane_leaves_none_in_quarantine(wishes: Wishes, seed: int, trouble: float) -> None:
    world = _lived(wishes, seed, trouble)

    for entity in _answers(world):
        lane = _folded(world, entity)
        assert lane.fault is None
        assert lane.group is None or lane.group.put_aside
        assert not (lane.waiting and lane.cause in QUARANTINE)


@QUICK
@given(**RUNS)
def test_every_input_has_its_whole_answer_once_whichever_release_gave_it(wishes: Wishes, seed: int, trouble: float) -> None:
    world = _lived(wishes, seed, trouble)

    steps: dict[tuple[str, int], list[int]] = defaultdict(list)
    ids = Counter(event.id for event in world.log.events)
    assert [event_id for event_id, times in ids.items() if times > 1] == []
    for entity, answers in _answers(world).items():
        for answer in answers:
            if answer.name in ANSWERS and answer.lane is not None:
                steps[entity, answer.lane.position].append(answer.lane.step)
    for event in world.log.events:
        if event.name != "PlayerMoved":
            continue
        kind, lanes = _wish(event)
        for entity in lanes:
            waits = _folded(world, entity).waiting.has(event.position)
            wanted = list(range(int(kind))) if kind != "!" and not waits else []
            assert steps[entity, event.position] == wanted, f"{event} in lane {entity}"
            assert kind != "!" or waits, "a poison input was lost"


@QUICK
@given(**RUNS)
def test_every_lane_decides_in_order_and_each_time_on_the_state_before(wishes: Wishes, seed: int, trouble: float) -> None:
    world = _lived(wishes, seed, trouble)

    for entity, answers in _answers(world).items():
        lane = Lane(new, WORLD, entity, PARTITIONS)
        highest: dict[int, int] = {}
        drafts: list[Draft] = []
        for answer in answers:
            mark = answer.lane
            assert mark is not None
            if answer.name in ANSWERS:
                if mark.step == 0:
                    assert mark.position > highest.get(mark.partition, 0), "decided out of order"
                    highest[mark.partition] = mark.position
                    release, retried = RELEASES[answer.producer_version], lane.waiting.has(mark.position)
                    lane.handler = release
                    drafts = decide_lane(lane, world.log.events[mark.position - 1], retried=retried)
                    lane.handler = new
                assert drafts[mark.step].data == answer.data, "decided on another state"
                assert drafts[mark.step].lane == str(mark)
            lane.extend([answer])


@QUICK
@given(**RUNS)
def test_verify_finds_no_difference_in_what_the_new_release_decided(wishes: Wishes, seed: int, trouble: float) -> None:
    world = _lived(wishes, seed, trouble)

    report = verify([new], world.log.events, partitions=PARTITIONS, settled=lambda handler, partition: 1 << 60)

    by_old = {
        (event.entity, event.lane.position)
        for event in world.log.events
        if event.lane is not None and event.name in ANSWERS and event.producer_version == producer(old)
    }
    assert {(one.entity, one.input) for one in report.differences} <= by_old
    records = ("LaneInputRetried", "LaneRetryFailed")
    inputs_ = sum(len(_wish(event)[1]) for event in world.log.events if event.name == "PlayerMoved")
    assert report.decisions + report.open == inputs_ + sum(event.name in records for event in world.log.events)


@QUICK
@given(**RUNS)
def test_verify_of_the_old_release_tells_that_it_cannot_judge(wishes: Wishes, seed: int, trouble: float) -> None:
    world = _lived(wishes, seed, trouble)

    report = verify([old], world.log.events, partitions=PARTITIONS, settled=lambda handler, partition: 1 << 60)

    for one in report.differences:
        lane = Lane(old, WORLD, one.entity, PARTITIONS)
        lane.extend(_answers(world)[one.entity])
        assert lane.fault is not None


def test_half_a_decision_of_the_new_release_is_finished_by_it_alone() -> None:
    async def run() -> World:
        world = World(new, 1, 0.0)
        asked = _publish(world, 0, ("3", ["a"], "a"))
        lane = Lane(new, WORLD, "a", PARTITIONS)
        first = decide_lane(lane, asked)[0]
        world.log.publish(first)  # and then it died
        _publish(world, 1, ("1", ["a"], "a"))
        member = Member(world, range(PARTITIONS), old)
        for partition in range(PARTITIONS):
            member.read(partition, 10)
        assert await member.runner.quiesce(5.0)
        await member.die()
        assert _first_waiting(world) == {"a": asked.position}
        await world.settle()
        return world

    world = asyncio.run(run())

    assert [answer.name for answer in _answers(world)["a"]] == [
        "PlayerLeftZone",
        "EventParked",
        "EventDeferred",
        "PlayerEnteredZone",
        "PlayerEnteredZone",
        "LaneInputRetried",
        "PlayerEnteredZone",
        "LaneInputRetried",
    ]
    parked = _answers(world)["a"][1].data
    assert parked.code == "LANE_HISTORY"  # type: ignore[attr-defined]
    assert "worldbus.player.v1.PlayerLeftZone" in parked.reason  # type: ignore[attr-defined]
