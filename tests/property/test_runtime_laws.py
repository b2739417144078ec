"""Laws of the handler runtime under lost acknowledgements, late writes, deaths, sleepers, hand-overs and repeats (H1, H2, L1)."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.chaos.checks import handlers as checks
from bench.chaos.history import History
from bus.decision import decide as decide_lane
from bus.errors import BrokenRule
from bus.event import Draft, Event
from bus.handler import Handler, of_subject
from bus.lane import Lane
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerEnteredZone, PlayerMoved
from schemas.gen.worldbus.runtime.v1.runtime_pb2 import LaneDropRequested, LaneRetryRequested
from tests.laws import examples
from tests.simulator import PARTITIONS, WORLD, Member, World

LANES = ["a", "b", "c", "d", "e"]


@dataclass(frozen=True, slots=True)
class Counted:
    said: int = 0


def _wish(event: Event) -> tuple[str, list[str]]:
    kind, _, lanes = event.data.zone.partition("|")  # type: ignore[attr-defined]
    return kind, lanes.split(",")


def _decide(event: Event, state: Counted) -> Sequence[Message]:
    kind, _ = _wish(event)
    if kind == "!":
        raise BrokenRule("poison")
    if kind in "?~":  # speaks or is silent by how much was said before: silence on an old state, or on none, shows
        return [PlayerEnteredZone(zone=f"{event.id}/{state.said}/0")] if state.said % 2 == (kind == "~") else []
    # What it says depends on how much it has said before: a decision on an old state shows.
    return [PlayerEnteredZone(zone=f"{event.id}/{state.said}/{step}") for step in range(int(kind))]


def _evolve(state: Counted, event: Event) -> Counted:
    return replace(state, said=state.said + 1)


teller = Handler(
    name="teller",
    listens_to=(PlayerMoved,),
    emits=(PlayerEnteredZone,),
    initial=lambda entity: Counted(),
    decide=_decide,
    evolve=_evolve,
    entities=lambda event: _wish(event)[1],
)


def inputs_of(
    kinds: str, *, lanes: Sequence[str] = LANES, entities: Sequence[str] = LANES, least: int = 1
) -> st.SearchStrategy[list[tuple[str, list[str], str]]]:
    """Inputs: how many outputs each wants (or its kind), which lanes it concerns, and the entity in its subject, which decides its
    partition.
    """
    some = st.lists(st.sampled_from(lanes), min_size=1, max_size=2, unique=True)
    return st.lists(st.tuples(st.sampled_from(kinds), some, st.sampled_from(entities)), min_size=least, max_size=25 + least)


inputs = inputs_of("00112233!")  # "!" is poison
moody = inputs_of("00112233?~!")  # "?" and "~" want one or none
shared = inputs_of("12???~~~", lanes=LANES[:2], entities=LANES[:3], least=15)


def _publish(world: World, number: int, wish: tuple[str, list[str], str]) -> Event:
    kind, lanes, entity = wish
    return world.log.publish(
        Draft(data=PlayerMoved(zone=f"{kind}|{','.join(lanes)}"), world=WORLD, entity=entity, id=f"in-{number}", time_ns=number)
    )


async def _disturbed_run(world: World, wishes: Sequence[tuple[str, list[str], str]]) -> None:
    random = world.random
    members = [Member(world, range(PARTITIONS))]
    for number, wish in enumerate(wishes):
        _publish(world, number, wish)
        for member in members:
            for partition in member.partitions:
                member.read(partition, random.randrange(3))
        await world.turn(random.randrange(6))
        chance = random.random()
        if chance < 0.1 * world.trouble * 4:
            await members.pop(random.randrange(len(members))).die()
        elif chance < 0.2 * world.trouble * 4:
            members[0].sleep_over()
            members[0].partitions = []
        if len(members) < 2 or not any(member.partitions for member in members):
            members.append(Member(world, random.sample(range(PARTITIONS), random.randrange(1, PARTITIONS + 1))))
    for member in members:
        await world.turn(random.randrange(10))
        await member.die()


async def _shared_run(world: World, wishes: Sequence[tuple[str, list[str], str]]) -> None:
    """Two members share the partitions, each of which is held by one of them at a time. Partitions go to and fro; a member dies and another
    one comes; now and then one is alone for a while.
    """
    random = world.random
    members = [Member(world, []), Member(world, [])]
    for partition in range(PARTITIONS):
        random.choice(members).hold(partition)
    for number, wish in enumerate(wishes):
        _publish(world, number, wish)
        for member in members:
            for partition in member.partitions:
                member.read(partition, random.randrange(3))
        await world.turn(random.randrange(12))
        await _rebalance(world, members)
    for member in members:
        await world.turn(random.randrange(10))
        await member.die()


async def _rebalance(world: World, members: list[Member]) -> None:
    random, chance = world.random, world.random.random()
    if chance < 0.4:
        giver = random.choice(members)
        taker = next((member for member in members if member is not giver), giver)
        if giver.partitions:
            partition = random.choice(giver.partitions)
            giver.release(partition)
            taker.hold(partition)
    elif chance < 0.5 and len(members) == 2:  # killed, or gone: its partitions are the other one's
        dead = members.pop(random.randrange(2))
        held = list(dead.partitions)
        for partition in held:
            dead.release(partition)
        await dead.die()
        for partition in held:
            members[0].hold(partition)
        members[0].company(alone=True)
    elif chance < 0.7 and len(members) == 1:
        members[0].company(alone=False)
        members.append(Member(world, []))


def _answers(world: World) -> dict[str, list[Event]]:
    lanes: dict[str, list[Event]] = defaultdict(list)
    for event in world.log.events:
        if event.subsystem == teller.name:
            lanes[event.entity].append(event)
    return lanes


def _check_exactly_once(world: World) -> None:
    """Every input has its whole answer in each of its lanes once: the outputs, or the record that it was parked or deferred."""
    said: Counter[tuple[str, int, str, int]] = Counter()
    for entity, answers in _answers(world).items():
        for answer in answers:
            mark = answer.lane
            assert mark is not None
            said[(entity, mark.position, answer.name, mark.step)] += 1
    assert [key for key, times in said.items() if times > 1] == []
    ids = Counter(event.id for event in world.log.events)
    assert [event_id for event_id, times in ids.items() if times > 1] == []

    for event in world.log.events:
        if event.name != "PlayerMoved":
            continue
        kind, lanes = _wish(event)
        for lane in lanes:
            steps = sorted(
                step for (entity, position, name, step) in said if (entity, position, name) == (lane, event.position, "PlayerEnteredZone")
            )
            aside = [
                name
                for (entity, position, name, _) in said
                if (entity, position) == (lane, event.position) and name in ("EventParked", "EventDeferred")
            ]
            if kind == "!":
                assert aside, "a poison input was lost"
            elif kind not in "0?~" and not aside:
                assert steps == list(range(int(kind))), "an answer is missing"


def _check_lanes(world: World) -> None:
    """Each lane alone is a sequential history: inputs of a partition in log order, whole groups, each decided on the state before it."""
    for entity, answers in _answers(world).items():
        lane = Lane(world.handler, WORLD, entity, PARTITIONS)
        highest: dict[int, int] = {}
        at = 0
        while at < len(answers):
            mark = answers[at].lane
            assert mark is not None
            group = answers[at : at + mark.steps]
            assert [answer.lane and answer.lane.step for answer in group] == list(range(mark.steps))
            retried = group[-1].name == "LaneInputRetried"
            if not retried and group[0].name not in ("LaneRetryFailed", "LaneInputDropped"):
                assert mark.position > highest.get(mark.partition, 0), "answered out of order"
                highest[mark.partition] = mark.position
            if group[0].name in ("PlayerEnteredZone", "LaneInputRetried"):
                drafts = decide_lane(lane, world.log.events[mark.position - 1], retried=retried)
                assert [draft.encode() for draft in drafts] == [answer.raw for answer in group], "decided on another state"
            lane.extend(group)
            at += mark.steps


@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(wishes=moody, seed=st.integers(0, 2**32), trouble=st.sampled_from([0.0, 0.1, 0.25]))
def test_effects_are_exactly_once_and_in_order_whatever_dies_or_sleeps(
    wishes: list[tuple[str, list[str], str]], seed: int, trouble: float
) -> None:
    async def run() -> World:
        world = World(teller, seed, trouble)
        await _disturbed_run(world, wishes)
        await world.settle()
        return world

    world = asyncio.run(run())

    _check_exactly_once(world)
    _check_lanes(world)
    _check_silences(world)


@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(wishes=shared, seed=st.integers(0, 2**32), trouble=st.sampled_from([0.0, 0.1, 0.25]), home=st.booleans())
def test_members_that_share_the_partitions_decide_on_what_the_others_wrote(
    wishes: list[tuple[str, list[str], str]], seed: int, trouble: float, home: bool
) -> None:
    """Silence meets no fence: a member that speaks for a lane by what it remembers of it loses answers without any error."""
    handler = replace(teller, entities=of_subject) if home else teller
    wishes = [(kind, [entity] if home else lanes, entity) for kind, lanes, entity in wishes]

    async def run() -> World:
        world = World(handler, seed, trouble)
        await _shared_run(world, wishes)
        await world.settle()
        return world

    world = asyncio.run(run())

    _check_exactly_once(world)
    _check_lanes(world)
    _check_silences(world)


@settings(max_examples=examples(50), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(wishes=inputs, seed=st.integers(0, 2**32), trouble=st.sampled_from([0.0, 0.1, 0.25]))
def test_a_log_read_from_its_start_again_says_nothing_new(wishes: list[tuple[str, list[str], str]], seed: int, trouble: float) -> None:
    """Whatever was parked, deferred or dropped meanwhile."""

    async def run() -> tuple[int, World]:
        world = World(teller, seed, trouble)
        await _disturbed_run(world, wishes)
        await world.settle()
        for entity, position in _first_waiting(world).items():
            wish = LaneDropRequested(handler="teller", position=position, reason="test")
            world.log.publish(Draft(data=wish, world=WORLD, entity=entity, subsystem="operator", id=f"drop-{entity}"))
        await world.settle()
        said = len(world.log.events)
        world.floor.clear()
        await world.settle()
        return said, world

    said, world = asyncio.run(run())

    assert [str(event) for event in world.log.events[said:]] == []


@settings(max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(wishes=moody, seed=st.integers(0, 2**32), trouble=st.sampled_from([0.0, 0.1, 0.25]))
def test_a_parked_lane_waits_and_goes_on_in_order_after_its_poison_is_dropped(
    wishes: list[tuple[str, list[str], str]], seed: int, trouble: float
) -> None:
    async def run() -> World:
        world = World(teller, seed, trouble)
        await _disturbed_run(world, wishes)
        await world.settle()
        for attempt in range(len(wishes) + 1):
            parked = _first_waiting(world)
            if not parked:
                break
            for number, (entity, position) in enumerate(parked.items()):
                wish = LaneDropRequested(handler="teller", position=position, reason="test")
                world.log.publish(Draft(data=wish, world=WORLD, entity=entity, subsystem="operator", id=f"drop-{attempt}-{number}"))
            world.trouble = trouble
            await _disturbed_run(world, [])
            await world.settle()
        return world

    world = asyncio.run(run())

    assert _first_waiting(world) == {}
    _check_exactly_once(world)
    _check_lanes(world)
    _check_silences(world)
    for event in world.log.events:
        if event.name == "PlayerMoved" and _wish(event)[0] in "123":
            for entity in _wish(event)[1]:
                steps = [
                    answer.lane.step
                    for answer in _answers(world)[entity]
                    if answer.lane and answer.lane.position == event.position and answer.name == "PlayerEnteredZone"
                ]
                assert steps == list(range(int(_wish(event)[0])))


def _check_silences(world: World) -> None:
    """The checker of the chaos runs finds nothing either: whoever said nothing had nothing to say on the state at that moment."""
    assert [str(violation) for violation in checks.check(History(world.log.events), [world.handler])] == []


def _first_waiting(world: World) -> dict[str, int]:
    waiting = {}
    for entity, answers in _answers(world).items():
        lane = Lane(world.handler, WORLD, entity, PARTITIONS)
        lane.extend(answers)
        if lane.waiting:
            waiting[entity] = lane.waiting[0].position
    return waiting


def test_a_parked_lane_is_retried_with_rules_that_were_mended() -> None:
    healed = replace(teller, decide=lambda event, state: [] if _wish(event)[0] == "!" else _decide(event, state))

    async def run() -> World:
        world = World(teller, 1, 0.0)
        for number, wish in enumerate([("1", ["a"], "a"), ("!", ["a"], "a"), ("2", ["a"], "a"), ("1", ["b"], "a"), ("1", ["a"], "a")]):
            _publish(world, number, wish)
        await world.settle()
        world.handler = healed
        world.log.publish(Draft(data=LaneRetryRequested(handler="teller"), world=WORLD, entity="a", subsystem="operator", id="retry"))
        await world.settle()
        return world

    world = asyncio.run(run())

    assert _first_waiting(world) == {}
    assert [answer.name for answer in _answers(world)["b"]] == ["PlayerEnteredZone"]
    names = [answer.name for answer in _answers(world)["a"]]
    assert names[:2] == ["PlayerEnteredZone", "EventParked"]
    assert names[-6:] == [
        "LaneInputRetried",
        "PlayerEnteredZone",
        "PlayerEnteredZone",
        "LaneInputRetried",
        "PlayerEnteredZone",
        "LaneInputRetried",
    ]
