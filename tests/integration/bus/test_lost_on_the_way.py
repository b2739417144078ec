"""Deliveries and acknowledgements that are lost, doubled or swapped between us and the server cost no event, no effect and no order.

A nats-server that is killed loses them at a moment of its own choosing; here a line in between (bench/chaos/proxy.py) loses the very one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count, islice

import pytest

from bench.chaos.proxy import Carry, Frame, Proxy, all_of_it, proxied
from bus import group_commit, publisher
from bus.connection import connect
from bus.consumer import PullConsumer
from bus.errors import LogDamaged
from bus.event import Draft
from bus.group_commit import SINGLES
from bus.lane_run import Limits
from bus.log import PARTITIONS, Log, open_log
from bus.publisher import Publisher
from bus.runtime import Runtime, run_handlers
from bus.subjects import partition_of, stored_filter
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerMoved
from tests.integration.bus.test_runtime import WORLD, check_sequential, eventually, mover, own_nats, publish
from worldbus.embedded import NatsServer

__all__ = ["own_nats"]

KINDS = ["lost", "doubled", "swapped"]


@dataclass(slots=True)
class Once:
    """Does something to one delivery, of those whose payload holds `word`, and lets everything else pass."""

    kind: str
    word: bytes
    happened: bool = False
    held: list[Frame] = field(default_factory=list)

    def __call__(self, frame: Frame) -> Iterable[Frame]:
        if self.held and frame.delivery:
            behind, self.held = self.held, []
            return [frame, *behind]
        if self.happened or not frame.delivery or self.word not in frame.body:
            return (frame,)
        self.happened = True
        match self.kind:
            case "lost":
                return ()
            case "doubled":
                return (frame, frame)
            case _:
                self.held = [frame]
                return ()


def drop(wanted: Carry) -> tuple[Carry, list[Frame]]:
    """A line that loses what `wanted` keeps, and what it lost so far."""
    lost: list[Frame] = []

    def carry(frame: Frame) -> Iterable[Frame]:
        if any(wanted(frame)):
            lost.append(frame)
            return ()
        return (frame,)

    return carry, lost


def acknowledgements(frame: Frame) -> Iterable[Frame]:
    """Those of stored events."""
    return (frame,) if frame.answered else ()


@asynccontextmanager
async def behind(proxy: Proxy, limits: Limits | None = None) -> AsyncIterator[Runtime]:
    """A member whose whole traffic goes over the line."""
    async with connect(proxy.url, name="behind") as connection:
        log = await open_log(connection)
        try:
            async with run_handlers(connection, log, [mover], limits=limits) as runtime:
                yield runtime
        finally:
            await log.aclose()


@asynccontextmanager
async def straight(server: NatsServer) -> AsyncIterator[Log]:
    """The log as it is."""
    async with connect(server.url, name="straight") as connection:
        log = await open_log(connection)
        yield log
        await log.aclose()


@pytest.mark.parametrize("kind", KINDS)
async def test_an_input_whose_delivery_went_wrong_is_answered_in_its_turn(own_nats: NatsServer, kind: str) -> None:
    """An acknowledgement settles all that was delivered before it: a member that overlooks a gap loses the input for ever."""
    async with straight(own_nats) as log, proxied(own_nats.url) as proxy:
        await publish(log.connection, [("a", f"zone-{number}") for number in range(10)])
        proxy.down = once = Once(kind, b"zone-5")
        async with behind(proxy):
            lanes = await _answered(log, "zone-9")

    assert once.happened
    assert [event.data.zone.partition("/")[0] for event in lanes] == [f"zone-{number}" for number in range(10) for _ in range(2)]  # type: ignore[attr-defined]
    check_sequential({"a": lanes})


async def _answered(log: Log, zone: str) -> list:
    """The handler's events about entity a, once the answer to `zone` is whole."""
    outputs = 2
    while True:
        lanes = (await eventually(log, outputs))["a"]
        if sum(event.data.zone.startswith(f"{zone}/") for event in lanes) == 2:
            return lanes
        outputs = len(lanes) + 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("filters", [(), (stored_filter(entity="a"),), (stored_filter(entity="a"), stored_filter(entity="b"))])
async def test_a_reader_reads_again_what_went_wrong_on_the_way(own_nats: NatsServer, kind: str, filters: tuple[str, ...]) -> None:
    async with straight(own_nats) as log, proxied(own_nats.url) as proxy:
        await publish(log.connection, [("ab"[number % 2], f"zone-{number}") for number in range(40)])
        wanted = [event.position async for batch in log.read(filters=filters) for event in batch]
        proxy.down = once = Once(kind, b"zone-20")
        async with connect(proxy.url, name="behind") as connection:
            behind_the_line = await open_log(connection)
            found = [event.position async for batch in behind_the_line.read(filters=filters) for event in batch]
            await behind_the_line.aclose()

    assert once.happened
    assert found == wanted
    assert len(found) == (20 if len(filters) == 1 else 40)


@dataclass(slots=True)
class Hole:
    """The server hands over everything but one event and counts on as if nothing were missing: what one flipped bit on its disk does."""

    word: bytes
    missing: int = 0

    def __call__(self, frame: Frame) -> Iterable[Frame]:
        if not frame.delivery:
            return (frame,)
        if not self.missing and self.word in frame.body:
            self.missing = 1
            return ()
        tokens = frame.reply.split(b".")
        tokens[6] = b"%d" % (int(tokens[6]) - self.missing)
        return (frame._replace(raw=frame.raw.replace(frame.reply, b".".join(tokens))),)


async def test_a_hole_that_the_server_passes_over_is_damage(own_nats: NatsServer) -> None:
    async with straight(own_nats) as log, proxied(own_nats.url) as proxy:
        await publish(log.connection, [("a", f"zone-{number}") for number in range(40)])
        proxy.down = hole = Hole(b"zone-20")
        async with connect(proxy.url, name="behind") as connection:
            behind_the_line = await open_log(connection)
            found: list[int] = []
            with pytest.raises(LogDamaged, match="goes on at position 22, wanted 21: 1 events are lost"):
                await _read_into(found, behind_the_line)
            await behind_the_line.aclose()

    assert hole.missing
    assert found == list(range(1, 21))


async def _read_into(found: list[int], log: Log) -> None:
    async for batch in log.read():
        found += [event.position for event in batch]


@asynccontextmanager
async def publishing(proxy: Proxy, durability: str) -> AsyncIterator[Publisher]:
    """A publisher with the shipped patience, over the line."""
    async with connect(proxy.url, name="behind") as connection:
        log = await open_log(connection)
        made = Publisher(connection, log, durability)  # type: ignore[arg-type] - a word of Durability
        await made.open()
        yield made
        await made.aclose()
        await log.aclose()


def drafts(number: int) -> list[Draft]:
    return [Draft(data=PlayerMoved(zone=f"zone-{n}"), world=WORLD, entity=f"e{n}", id=f"id-{n}", time_ns=n) for n in range(number)]


async def _holds(log: Log, events: int) -> None:
    while (await log.state()).last < events:
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("durability", ["relaxed", "strict"])
@pytest.mark.parametrize("number", [SINGLES, 10 * SINGLES])
async def test_what_is_sent_again_after_a_broken_connection_is_recorded_once(own_nats: NatsServer, durability: str, number: int) -> None:
    """The connection breaks after the log has stored everything, and before anybody was told."""
    async with straight(own_nats) as log, proxied(own_nats.url) as proxy, publishing(proxy, durability) as behind_the_line:
        proxy.down, lost = drop(acknowledgements)
        futures = [behind_the_line.submit(draft) for draft in drafts(number)]
        await _holds(log, number if durability == "relaxed" else min(number, SINGLES))
        while not lost:
            await asyncio.sleep(0.01)
        proxy.down = all_of_it
        proxy.cut()
        positions = await asyncio.gather(*futures)
        there = [event.id async for batch in log.read() for event in batch]

    assert there == [f"id-{n}" for n in range(number)]
    assert positions == list(range(1, number + 1))


@pytest.mark.parametrize("durability", ["relaxed", "strict"])
@pytest.mark.parametrize("number", [SINGLES, 10 * SINGLES])
async def test_what_is_sent_again_for_want_of_an_answer_is_recorded_once(
    own_nats: NatsServer, durability: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "ANSWER_TIMEOUT", 0.5)
    monkeypatch.setattr(group_commit, "BATCH_TIMEOUT", 0.3)
    async with straight(own_nats) as log, proxied(own_nats.url) as proxy, publishing(proxy, durability) as behind_the_line:
        proxy.down, lost = drop(acknowledgements)
        futures = [behind_the_line.submit(draft) for draft in drafts(number)]
        await _holds(log, min(number, SINGLES))
        while not lost:
            await asyncio.sleep(0.01)
        proxy.down = all_of_it
        positions = await asyncio.gather(*futures)
        there = {event.id: event.position async for batch in log.read() for event in batch}

    assert positions == [there[f"id-{n}"] for n in range(number)]
    assert sorted(there.values()) == list(range(1, number + 1))


async def test_a_fenced_event_or_a_group_whose_acknowledgement_was_lost_is_known_again(own_nats: NatsServer) -> None:
    """The conflict that the second sending meets is with the first one."""
    async with straight(own_nats) as log, proxied(own_nats.url) as proxy, publishing(proxy, "relaxed") as behind_the_line:
        proxy.down, lost = drop(acknowledgements)
        one, *group = drafts(4)
        fenced = asyncio.ensure_future(behind_the_line.publish(one, expected=0))
        grouped = asyncio.ensure_future(behind_the_line.publish_group(group, expected=0))
        await _holds(log, 4)
        while len(lost) < 2:
            await asyncio.sleep(0.01)
        proxy.down = all_of_it
        proxy.cut()
        positions = [await fenced, *await grouped]
        there = {event.id: event.position async for batch in log.read() for event in batch}

    assert positions == [there[f"id-{number}"] for number in range(4)]
    assert len(there) == 4


@pytest.mark.parametrize("together_from", [None, 2])
async def test_an_answer_whose_acknowledgement_was_lost_is_given_once(own_nats: NatsServer, together_from: int | None) -> None:
    async with straight(own_nats) as log, proxied(own_nats.url) as proxy, behind(proxy, Limits(together_from=together_from)):
        await publish(log.connection, [("a", f"zone-{number}") for number in range(3)])
        await eventually(log, 6)
        proxy.down, lost = drop(acknowledgements)
        await publish(log.connection, [("a", f"zone-{number}") for number in range(3, 9)], start=3)
        while not lost:
            await asyncio.sleep(0.01)
        proxy.down = all_of_it
        lanes = await eventually(log, 18)

    check_sequential(lanes)


async def test_what_is_still_open_is_not_settled_with_what_came_after_it(own_nats: NatsServer) -> None:
    """One entity's answer cannot be written; those of its neighbours in the partition can. Its member dies."""
    stuck, free, later = islice((name for n in count() if partition_of(WORLD, name := f"e{n}", PARTITIONS) == 3), 3)

    def not_about_the_stuck_one(frame: Frame) -> Iterable[Frame]:
        return (frame,) if frame.published and f".mover.{stuck}.".encode() in frame.subject else ()

    async with straight(own_nats) as log, proxied(own_nats.url) as proxy:
        proxy.up, lost = drop(not_about_the_stuck_one)
        async with behind(proxy):
            consumer = PullConsumer(log.connection, log.name, f"mover_{partition_of(WORLD, stuck, log.partitions)}")
            await publish(log.connection, [(free, "zone-0"), (stuck, "zone-1"), (later, "zone-2")])
            await eventually(log, 4)
            while (floor := (await consumer.info())["ack_floor"]["stream_seq"]) == 0 or not lost:
                await asyncio.sleep(0.01)
            assert floor == 1
            proxy.cut()
        async with run_handlers(log.connection, log, [mover]):
            lanes = await eventually(log, 6)

    assert {name: len(events) for name, events in lanes.items()} == {free: 2, stuck: 2, later: 2}
