"""The handler runtime on a real server: order, resuming, sharing, handing over, parking."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from google.protobuf.message import Message

from bus.connection import Connection, connect, pub
from bus.consumer import PullConsumer
from bus.errors import BadSettings, BrokenRule
from bus.event import Draft, Event
from bus.handler import Handler, Subsystem
from bus.lane_run import Limits
from bus.log import Log, open_log
from bus.runtime import Runtime, run_handlers
from bus.session import Pace
from bus.verify import verify
from handlers.time_manager import time
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerEnteredZone, PlayerHeartbeat, PlayerMoved
from schemas.gen.worldbus.runtime.v1.runtime_pb2 import LaneRetryRequested
from worldbus.embedded import NatsServer

WORLD = "runtime-test"


@dataclass(frozen=True, slots=True)
class Moves:
    count: int = 0


class Panic(BaseException):
    """As extensions written in Rust raise it: no `Exception`."""


def _decide(event: Event, state: Moves) -> Sequence[Message]:
    match event.data:
        case PlayerMoved(zone=zone) if zone == "poison":
            raise BrokenRule("poison")
        case PlayerMoved(zone=zone) if zone == "bug":
            raise RuntimeError("a bug")
        case PlayerMoved(zone=zone) if zone == "panic":
            raise Panic("index out of bounds")
        case PlayerMoved(zone=zone):
            return [PlayerEnteredZone(zone=f"{zone}/{state.count}"), PlayerEnteredZone(zone=f"{zone}/{state.count + 1}")]
        case _:
            return []


def _evolve(state: Moves, event: Event) -> Moves:
    return replace(state, count=state.count + 1)


mover = Handler(
    name="mover",
    listens_to=(PlayerMoved, PlayerHeartbeat),
    emits=(PlayerEnteredZone,),
    initial=lambda entity: Moves(),
    decide=_decide,
    evolve=_evolve,
)


@pytest.fixture
def own_nats(data_folder: Path) -> Iterator[NatsServer]:
    """A server of this test's own: a server holds one log."""
    server = NatsServer(data_folder / "nats", password="only-for-tests", strict=False)
    server.start()
    yield server
    server.stop()


@asynccontextmanager
async def process(
    server: NatsServer, handler: Subsystem = mover, limits: Limits | None = None, known: Sequence[str] = ()
) -> AsyncIterator[tuple[Runtime, Log]]:
    """The holdings of one process: a connection, the log, the running handler."""
    async with connect(server.url, name="test") as connection:
        log = await open_log(connection)
        try:
            async with run_handlers(connection, log, [handler], limits=limits, known=known) as runtime:
                yield runtime, log
        finally:
            await log.aclose()


async def publish(connection: Connection, moves: Sequence[tuple[str, str]], start: int = 0) -> None:
    acks = asyncio.Semaphore(0)
    inbox = f"{connection.inbox}.fill{start}"
    listener = await connection.listen(inbox, lambda *_: acks.release())
    for number, (entity, zone) in enumerate(moves, start):
        draft = Draft(data=PlayerMoved(zone=zone), world=WORLD, entity=entity, id=f"move-{number}", time_ns=number)
        connection.write(pub(draft.subject.published().encode(), inbox.encode(), draft.encode()))
    for _ in moves:
        await acks.acquire()
    await listener.close()


async def answers(log: Log) -> dict[str, list[Event]]:
    return await eventually(log, 0)


async def eventually(log: Log, outputs: int) -> dict[str, list[Event]]:
    """All that the handler said, by entity, once there are so many."""
    lanes: dict[str, list[Event]] = defaultdict(list)
    seen, found = 0, -1
    while found < outputs:
        if seen:
            await asyncio.sleep(0.02)
        async for batch in log.read(after=seen):
            for event in batch:
                if event.subsystem == mover.name:
                    lanes[event.entity].append(event)
            seen = batch[-1].position
        found = sum(map(len, lanes.values()))
    return lanes


async def settled(log: Log) -> list[bool]:
    """For each partition, whether all that it holds has been acknowledged."""
    infos = [await PullConsumer(log.connection, log.name, f"{mover.name}_{number}").info() for number in range(log.partitions)]
    return [not info["num_pending"] and not info["num_ack_pending"] for info in infos]


def check_sequential(lanes: dict[str, list[Event]]) -> None:
    """Every lane counts 0, 1, 2 … in the order of its inputs: nothing lost, doubled, or decided on an old state."""
    for events in lanes.values():
        assert [event.data.zone.partition("/")[2] for event in events] == [str(number) for number in range(len(events))]  # type: ignore[attr-defined]
        marks = [(event.lane.position, event.lane.step) for event in events if event.lane]
        assert marks == sorted(set(marks))


MOVES = [(f"p{number % 40}", f"z{number}") for number in range(400)]


async def test_every_input_is_answered_once_and_in_order(own_nats: NatsServer) -> None:
    async with process(own_nats) as (_, log):
        await publish(log.connection, MOVES)
        lanes = await eventually(log, 2 * len(MOVES))

    check_sequential(lanes)
    assert sum(map(len, lanes.values())) == 2 * len(MOVES)


@pytest.mark.parametrize("together_from", [None, 16])
async def test_a_lane_with_more_waiting_than_a_session_holds_is_answered_to_the_end(
    own_nats: NatsServer, together_from: int | None
) -> None:
    hot = [("a", f"z{number}") for number in range(1500)]
    limits, pace = Limits(together_from=together_from), Pace(max_open=100)
    async with connect(own_nats.url, name="test") as connection:
        log = await open_log(connection)
        await publish(connection, hot)
        async with run_handlers(connection, log, [mover], limits=limits, pace=pace):
            lanes = await eventually(log, 2 * len(hot))
        await log.aclose()

    check_sequential(lanes)


async def test_a_subsystem_without_content_is_refused_before_it_takes_an_input(own_nats: NatsServer) -> None:
    with pytest.raises(BadSettings, match="wanted time with content"):
        async with process(own_nats, time):
            pass


async def test_a_new_process_goes_on_where_the_last_one_stopped(own_nats: NatsServer) -> None:
    async with process(own_nats) as (_, log):
        await publish(log.connection, MOVES[:150])
        await asyncio.sleep(0.05)  # somewhere in the middle
    async with process(own_nats) as (runtime, log):
        await publish(log.connection, MOVES[150:], start=150)
        lanes = await eventually(log, 2 * len(MOVES))
        await asyncio.sleep(0.2)
        assert runtime.runners["mover"].tally.parked == 0

    check_sequential(lanes)


async def test_a_log_read_from_its_start_again_answers_nothing_twice(own_nats: NatsServer) -> None:
    async with process(own_nats) as (_, log):
        await publish(log.connection, MOVES)
        await eventually(log, 2 * len(MOVES))
    async with connect(own_nats.url, name="wipe") as connection:
        for partition in range(8):
            await connection.api(f"CONSUMER.DELETE.LOG.mover_{partition}")
    async with process(own_nats) as (runtime, log):
        tally = runtime.runners["mover"].tally
        while tally.received < len(MOVES) or runtime.writes.in_flight:
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)
        lanes = await answers(log)

    assert sum(map(len, lanes.values())) == 2 * len(MOVES)
    check_sequential(lanes)
    assert tally.recognised == len(MOVES)


async def test_two_members_share_the_partitions_and_hand_over(own_nats: NatsServer) -> None:
    async with process(own_nats) as (first, log):
        await publish(log.connection, MOVES[:100])
        async with process(own_nats) as (second, _):
            while len(second._sessions) != 4 or len(first._sessions) != 5:
                await asyncio.sleep(0.02)
            await publish(log.connection, MOVES[100:300], start=100)
            await eventually(log, 600)
            assert second.runners["mover"].tally.emitted > 0
        await publish(log.connection, MOVES[300:], start=300)
        lanes = await eventually(log, 2 * len(MOVES))

    check_sequential(lanes)


async def test_what_a_dead_member_left_unsettled_is_answered_also_when_nothing_new_comes(own_nats: NatsServer) -> None:
    async with process(own_nats) as (_, log):  # makes the consumers
        await publish(log.connection, MOVES[:8])
        await eventually(log, 16)
    async with connect(own_nats.url, name="doomed") as connection:
        received = asyncio.Event()
        doomed = [PullConsumer(connection, "LOG", f"mover_{partition}") for partition in range(8)]
        for consumer in doomed:
            await consumer.start(lambda *_: received.set(), lambda _: None)
            consumer.request(100)
        await publish(connection, MOVES[8:40], start=8)
        await received.wait()
    async with process(own_nats) as (_, log):
        async with asyncio.timeout(0.8 * Pace().ack_wait_s):  # then the server would give it back anyway
            lanes = await eventually(log, 80)

    check_sequential(lanes)


async def test_a_poison_event_parks_its_lane_alone_until_it_is_retried(own_nats: NatsServer) -> None:
    healed = replace(mover, decide=lambda event, state: _decide(event, state) if event.data.zone != "poison" else [])  # type: ignore[attr-defined]
    async with process(own_nats) as (_, log):
        await publish(log.connection, [("a", "z"), ("a", "poison"), ("b", "z"), ("a", "z2"), ("b", "z2")])
        lanes = await eventually(log, 8)

        assert [event.name for event in lanes["a"]] == ["PlayerEnteredZone", "PlayerEnteredZone", "EventParked", "EventDeferred"]
        assert len(lanes["b"]) == 4
        parked = lanes["a"][2].data
        assert (parked.code, parked.reason, parked.event_id) == ("BROKEN_RULE", "poison", "move-1")  # type: ignore[attr-defined]
    async with process(own_nats, healed) as (_, log):
        retry = Draft(data=LaneRetryRequested(handler="mover"), world=WORLD, entity="a", subsystem="operator")
        log.connection.write(pub(retry.subject.published().encode(), b"nobody", retry.encode()))
        lanes = await eventually(log, 12)

    assert [event.name for event in lanes["a"][4:]] == ["LaneInputRetried", "PlayerEnteredZone", "PlayerEnteredZone", "LaneInputRetried"]
    assert [event.data.zone for event in lanes["a"] if event.name == "PlayerEnteredZone"] == ["z/0", "z/1", "z2/2", "z2/3"]  # type: ignore[attr-defined]


async def test_a_failing_decision_is_tried_again_before_it_is_parked(own_nats: NatsServer) -> None:
    async with process(own_nats, limits=Limits(attempts=3, first_retry_s=0.01)) as (_, log):
        await publish(log.connection, [("a", "bug")])
        lanes = await eventually(log, 1)

    parked = lanes["a"][0].data
    assert (parked.code, parked.attempts) == ("HANDLER_FAILED", 3)  # type: ignore[attr-defined]


async def test_what_rules_raise_that_is_no_exception_parks_its_lane_alone(own_nats: NatsServer) -> None:
    async with process(own_nats) as (_, log):
        await publish(log.connection, [("a", "panic"), ("b", "z")])
        lanes = await eventually(log, 3)
        await publish(log.connection, [("a", "z2"), ("b", "z2")], start=2)
        lanes = await eventually(log, 6)

    assert [event.name for event in lanes["a"]] == ["EventParked", "EventDeferred"]
    assert len(lanes["b"]) == 4
    parked = lanes["a"][0].data
    assert (parked.code, parked.attempts) == ("BROKEN_RULE", 1)  # type: ignore[attr-defined]
    assert "index out of bounds" in parked.reason  # type: ignore[attr-defined]


async def test_garbage_of_a_handler_parks_only_the_lane_it_points_to(own_nats: NatsServer) -> None:
    async with process(own_nats, known=["weather"]) as (_, log):
        for payload in (b"", b"\xff\xff", b"\x0a\x03abc"):
            log.connection.write(pub(f"evt.{WORLD}.weather.broken.PlayerMoved".encode(), b"nobody", payload))
        log.connection.write(pub(b"evt.w*.game.>.PlayerMoved", b"nobody", b"junk"))
        await publish(log.connection, [("fine", "z")])
        lanes = await eventually(log, 5)
        stored = (await log.get(4)).subject

    assert stored.name == "evt.w*.game.>.PlayerMoved"  # in no partition: it concerns nobody, and stops nobody
    assert [event.name for event in lanes["broken"]] == ["EventParked", "EventDeferred", "EventDeferred"]
    assert len(lanes["fine"]) == 2


GARBAGE = {
    "nothing": b"",
    "no message": b"\xff\xff",
    "half an envelope": b"\x0a\x03abc",
    "no JSON": b"{this is no JSON",
    "a batch": b'[{"type": "PlayerMoved", "data": {"zone": "z"}}]',
    "words": b"hello, world",
    "not UTF-8": b'{"type": "PlayerMoved", "data": {"zone": "\xff"}}',
    "a field that it does not have": b'{"data": {"zonne": "z"}}',
    "a field of another type": b'{"data": {"zone": 5}}',
    "a type of somebody else": b'{"type": "com.example.PlayerMoved", "data": {"zone": "z"}}',
    "another type than its subject": b'{"type": "PlayerHeartbeat", "data": {}}',
    "a time that never was": b'{"time": "2026-02-30T00:00:00Z", "data": {"zone": "z"}}',
    "no number": b'{"data": {"zone": "z", "x": NaN}}',
    "a payload that is none": Draft(data=PlayerMoved(zone="quay"), world=WORLD, entity="e").encode().replace(b"quay", b"\xff\xff\xff\xff"),
    "a payload of another type": Draft(data=PlayerHeartbeat(), world=WORLD, entity="e").encode(),
    "an unknown type": Draft(data=PlayerMoved(), world=WORLD, entity="e").encode().replace(b".player.", b".plaier."),
}


async def test_garbage_of_an_edge_costs_nobody_but_itself(own_nats: NatsServer) -> None:
    """Not its entity either: what comes behind it is answered, and the partition's floor moves over it."""
    async with process(own_nats) as (runtime, log):
        for payload in GARBAGE.values():
            log.connection.write(pub(f"evt.{WORLD}.game.e.PlayerMoved".encode(), b"nobody", payload))
        await publish(log.connection, [("e", "z"), ("fine", "z")])
        lanes = await eventually(log, 4)
        while not all(await settled(log)):
            await asyncio.sleep(0.05)
        skipped = runtime.runners["mover"].tally.skipped

    assert [event.name for event in lanes["e"]] == ["PlayerEnteredZone"] * 2
    assert skipped == len(GARBAGE)


async def test_garbage_of_an_edge_is_skipped_by_a_parked_lane_too(own_nats: NatsServer) -> None:
    """Inputs behind a parked one wait to be decided; what never will be would stop the lane again. And `verify` agrees."""
    async with process(own_nats) as (_, log):
        await publish(log.connection, [("e", "poison")])
        for payload in GARBAGE.values():
            log.connection.write(pub(f"evt.{WORLD}.game.e.PlayerMoved".encode(), b"nobody", payload))
        await publish(log.connection, [("e", "z")], start=1)
        lanes = await eventually(log, 2)
        while not all(await settled(log)):
            await asyncio.sleep(0.05)
        events = [event async for batch in log.read() for event in batch]
        report = verify([mover], events, partitions=log.partitions, settled=lambda *_: events[-1].position)

    assert [event.name for event in lanes["e"]] == ["EventParked", "EventDeferred"]
    assert (report.different, report.open, report.decisions) == (0, 0, len(GARBAGE) + 2)


async def test_a_later_version_of_a_type_waits_for_the_release_that_knows_it(own_nats: NatsServer) -> None:
    """During a rolling upgrade an edge may be ahead of a handler: what that listens to is parked, not lost."""
    later = Draft(data=PlayerMoved(zone="z"), world=WORLD, entity="e").encode().replace(b".player.v1.", b".player.v2.")
    document = b'{"type": "worldbus.player.v2.PlayerMoved", "data": {"zone": "z"}}'
    async with process(own_nats) as (_, log):
        for payload in (later, document):
            log.connection.write(pub(f"evt.{WORLD}.game.e.PlayerMoved".encode(), b"nobody", payload))
        lanes = await eventually(log, 2)

    assert [event.name for event in lanes["e"]] == ["EventParked", "EventDeferred"]
    assert lanes["e"][0].data.code == "UNSUPPORTED_VERSION"  # type: ignore[attr-defined]


async def test_a_restarted_server_costs_nothing(own_nats: NatsServer) -> None:
    async with process(own_nats) as (_, log):
        await publish(log.connection, MOVES[:200])
        await asyncio.to_thread(own_nats.kill)
        await asyncio.sleep(0.3)
        await asyncio.to_thread(own_nats.start)
        while not log.connection.connected:
            await asyncio.sleep(0.02)
        await publish(log.connection, MOVES[200:], start=200)
        lanes = await eventually(log, 2 * len(MOVES))

    check_sequential(lanes)


@pytest.mark.parametrize("turns", [0, 1, 3, 5])
async def test_whoever_is_stopped_while_a_hold_is_made_ready_stops(own_nats: NatsServer, turns: int) -> None:
    """Between the server's pin and the first request lie a few round trips; a stop that comes then must not be forgotten."""
    async with connect(own_nats.url, name="test") as connection:
        log = await open_log(connection)
        await publish(connection, [(f"e{number}", "quay") for number in range(24)])
        await log.aclose()
    async with process(own_nats) as (runtime, _):
        while not any(session._consumer.pin for session, _ in runtime._sessions.values()):
            await asyncio.sleep(0)
        await asyncio.sleep(turns / 1000)
        held = list(runtime._sessions.values())
        await asyncio.gather(*(session.stop() for session, _ in held))
        await asyncio.gather(*(task for _, task in held))

        assert not any(session.active for session, _ in held)
