"""Two releases beside each other on a real server: what the older one cannot fold waits for the newer one, and nobody else waits."""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from bus import lane_store
from bus.connection import pub
from bus.consumer import PullConsumer
from bus.event import Draft, Event
from bus.lane_run import Limits
from bus.log import Log
from bus.subjects import stored_filter
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerEnteredZone
from schemas.gen.worldbus.runtime.v1.runtime_pb2 import LaneRetryRequested
from tests.integration.bus.next_release import FLEW
from tests.integration.bus.test_runtime import WORLD, Moves, check_sequential, eventually, mover, own_nats, process, publish
from worldbus.embedded import NatsServer

__all__ = ["own_nats"]

FLYERS = [f"flyer{number}" for number in range(16)]  # in all partitions
WALKERS = [f"walker{number}" for number in range(100)]
LIMITS = Limits(snapshot_every=16)


@asynccontextmanager
async def next_release(server: NatsServer) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process of the next release, killed at the end if it has not ended before."""
    command = (sys.executable, "-m", "tests.integration.bus.next_release", server.url)
    running = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[3])
    assert running.stdout is not None
    while (line := await running.stdout.readline()) != b"running\n":
        assert line, "the next release ended before it ran"
    drain = asyncio.create_task(running.stdout.read())
    try:
        yield running
    finally:
        if running.returncode is None:
            running.kill()
        await running.wait()
        await drain


def zone(event: Event) -> str:
    """The zone in an event of either release; the new type is read by hand."""
    if event.type == FLEW:
        return event.envelope.proto_data.value[2:].decode()
    return str(getattr(event.data, "zone", ""))


def check_flights(lanes: dict[str, list[Event]], moves: dict[str, list[str]], entities: Iterable[str]) -> None:
    """Every lane has its whole history once, each answer counting on from the one before it, in the order of its inputs."""
    for entity in entities:
        said = [zone(event) for event in lanes[entity] if event.name in ("PlayerEnteredZone", "PlayerFlew")]
        wanted = [f"{one}/{2 * number + step}" for number, one in enumerate(moves[entity]) for step in (0, 1)]
        assert said == wanted, entity


async def until(condition: Callable[[], Any]) -> None:
    while not await condition():
        await asyncio.sleep(0.05)


async def lanes_of(log: Log) -> dict[str, list[Event]]:
    return await eventually(log, 0)


async def settled(log: Log) -> bool:
    """Return whether every partition's floor has reached what the log held when we looked."""
    inputs = await asyncio.gather(*(log.last(stored_filter(partition=number, name="PlayerMoved")) for number in range(log.partitions)))
    infos = await asyncio.gather(*(PullConsumer(log.connection, log.name, f"mover_{number}").info() for number in range(log.partitions)))
    return all(last is None or info["ack_floor"]["stream_seq"] >= last.position for last, info in zip(inputs, infos, strict=True))


class Journal:
    """The published events, by entity."""

    def __init__(self) -> None:
        self.moves: dict[str, list[str]] = defaultdict(list)
        self.count = 0

    async def publish(self, log: Log, moves: list[tuple[str, str]]) -> None:
        for entity, where in moves:
            self.moves[entity].append(where)
        await publish(log.connection, moves, start=self.count)
        self.count += len(moves)


async def flown(log: Log, entities: int) -> bool:
    found = await lanes_of(log)
    return sum(any(event.name == "PlayerFlew" for event in events) for events in found.values()) >= entities


def waiting(events: list[Event]) -> list[int]:
    """The inputs of a lane that are put aside and not taken up."""
    aside: list[int] = []
    for event in events:
        if event.lane and event.name in ("EventParked", "EventDeferred"):
            aside.append(event.lane.position)
        elif event.lane and event.name == "LaneInputRetried":
            aside.remove(event.lane.position)
    return aside


async def test_ten_thousand_inputs_pass_by_lanes_that_only_the_next_release_can_fold(own_nats: NatsServer) -> None:
    journal = Journal()
    async with process(own_nats, replace(mover, name="bystander")) as (_, log), AsyncExitStack() as ours:
        old, _ = await ours.enter_async_context(process(own_nats, limits=LIMITS))
        async with next_release(own_nats):  # a rolling upgrade
            await until(lambda: _shared(old))
            await journal.publish(log, [(flyer, "fly") for flyer in FLYERS] * 2)
            await until(lambda: settled(log))
        # Rolled back: the next release was killed, and this one has to go on with what it wrote to.
        await journal.publish(log, [(WALKERS[number % 100], f"z{number}") for number in range(4000)])
        await journal.publish(log, [(flyer, "walk") for flyer in FLYERS])
        await journal.publish(log, [(WALKERS[number % 100], f"y{number}") for number in range(2000)])
        await until(lambda: settled(log))
        _check_quarantined(await lanes_of(log))
        async with next_release(own_nats):  # rolled out again
            await until(lambda: _shared(old))
            await journal.publish(log, [(WALKERS[number % 100], f"x{number}") for number in range(4000)])
            await journal.publish(log, [(flyer, "walk") for flyer in FLYERS])
            await until(lambda: settled(log))
            check_flights(await lanes_of(log), journal.moves, WALKERS)
            await ours.aclose()
            await until(lambda: _nothing_waits(log))
        lanes = await lanes_of(log)

    check_flights(lanes, journal.moves, [*WALKERS, *FLYERS])


def _check_quarantined(lanes: dict[str, list[Event]]) -> None:
    quarantined = [flyer for flyer in FLYERS if any(event.name == "PlayerFlew" for event in lanes[flyer])]
    assert quarantined, "the next release answered nobody"
    for flyer in quarantined:
        assert waiting(lanes[flyer]), "its inputs are decided by a release that cannot know its state"
        parked: Any = next(event.data for event in lanes[flyer] if event.name == "EventParked")
        assert parked.code == "LANE_HISTORY"
        assert FLEW in parked.reason


async def _shared(old: Any) -> bool:
    return len(old._sessions) in (4, 5)


async def _nothing_waits(log: Log) -> bool:
    return not any(waiting(events) for events in (await lanes_of(log)).values())


async def test_a_lane_of_the_next_release_is_taken_up_beside_this_one_when_it_is_asked_for(own_nats: NatsServer) -> None:
    journal = Journal()
    async with process(own_nats, replace(mover, name="bystander")) as (_, log):
        async with next_release(own_nats):
            await journal.publish(log, [(flyer, "fly") for flyer in FLYERS])
            await until(lambda: flown(log, len(FLYERS)))
            await until(lambda: settled(log))
        async with process(own_nats) as (_, log2):
            await journal.publish(log2, [(flyer, "walk") for flyer in FLYERS])
            await until(lambda: settled(log2))
            lanes = await lanes_of(log2)
            assert all(waiting(lanes[flyer]) for flyer in FLYERS)
            await _retry(log2, FLYERS)
            await until(lambda: _failed_again(log2, len(FLYERS)))
        async with next_release(own_nats):
            await until(lambda: _nothing_waits(log))
        lanes = await lanes_of(log)

    check_flights(lanes, journal.moves, FLYERS)


async def _retry(log: Log, entities: list[str]) -> None:
    for entity in entities:
        retry = Draft(data=LaneRetryRequested(handler="mover"), world=WORLD, entity=entity, subsystem="operator")
        log.connection.write(pub(retry.subject.published().encode(), b"nobody", retry.encode()))


async def _failed_again(log: Log, entities: int) -> bool:
    found = await lanes_of(log)
    return sum(any(event.name == "LaneRetryFailed" for event in events) for events in found.values()) == entities


# -- snapshots ---------------------------------------------------------------------------------------------------------------------


async def test_snapshots_of_the_next_release_stop_nobody_and_neither_do_ours(own_nats: NatsServer) -> None:
    journal = Journal()
    async with process(own_nats, replace(mover, name="bystander")) as (_, log):
        for turn in range(3):
            async with next_release(own_nats):
                await journal.publish(log, [(walker, f"n{turn}") for walker in WALKERS[:8]] * 12)
                await until(lambda: settled(log))
            async with process(own_nats, limits=LIMITS) as (_, log2):
                await journal.publish(log2, [(walker, f"o{turn}") for walker in WALKERS[:8]] * 12)
                await until(lambda: settled(log2))
        lanes = await lanes_of(log)

    check_flights(lanes, journal.moves, WALKERS[:8])
    assert not any(event.name == "EventParked" for events in lanes.values() for event in events)


@dataclass(frozen=True, slots=True)
class Other:
    """A state of another shape."""

    count: str


@dataclass(frozen=True, slots=True)
class Backwards:
    """A state of the same shape that counts from the other end."""

    count: int = 0


@pytest.mark.parametrize("shape", [Other("many"), Backwards(-1), ("a", "tuple"), None])
async def test_a_snapshot_that_only_seems_to_fit_is_given_up_for_the_log(
    own_nats: NatsServer, shape: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing tells such a snapshot but that it cannot be read, or that the history behind it cannot be folded upon it."""

    def evolve(state: Moves, event: Event) -> Moves:
        if state.count < 0:
            raise ValueError(f"counted down to {state.count}")
        return replace(state, count=state.count + 1)

    strict = replace(mover, evolve=evolve)
    async with process(own_nats, strict) as (_, log):
        await publish(log.connection, [("a", f"z{number}") for number in range(5)])
        await eventually(log, 10)
        store = lane_store.LogLaneStore(log, strict)
        lane = lane_store.Lane(strict, WORLD, "a", log.partitions)
        await store.load(lane, at_least=0)
        history = (await lanes_of(log))["a"]
        lane.loaded, lane.state, lane.position = True, shape, history[5].position
        store.save(lane)
        while not await store._read(store._subject(lane)):
            await asyncio.sleep(0.01)
    async with process(own_nats, strict) as (_, log):
        await publish(log.connection, [("a", "later")], start=5)
        lanes = await eventually(log, 12)

    check_sequential(lanes)
    assert {event.name for event in lanes["a"]} == {PlayerEnteredZone.DESCRIPTOR.name}


async def test_a_snapshot_of_another_log_is_given_up_for_the_log(own_nats: NatsServer) -> None:
    async with process(own_nats) as (_, log):
        await publish(log.connection, [("a", f"z{number}") for number in range(5)])
        await eventually(log, 10)
        store = lane_store.LogLaneStore(log, mover)
        lane = lane_store.Lane(mover, WORLD, "a", log.partitions)
        await store.load(lane, at_least=0)
        lane.loaded, lane.state, lane.position, lane.done = True, Moves(700), 7_000, {lane.partition: 6_999}
        store.save(lane)
        while not await store._read(store._subject(lane)):
            await asyncio.sleep(0.01)
    async with process(own_nats) as (_, log):
        await publish(log.connection, [("a", "later")], start=5)
        lanes = await eventually(log, 12)

    check_sequential(lanes)
