"""A member that gets a partition back decides on what others wrote meanwhile, also where its decision is to say nothing.

Found by `bench chaos` (seed 8): an answer that is missing meets no fence, so a lane kept in memory from an earlier hold lost effects
silently.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from google.protobuf.message import Message

from bus.connection import connect
from bus.consumer import PullConsumer
from bus.event import Draft, Event
from bus.handler import Handler
from bus.log import Log, open_log
from bus.publisher import open_publisher
from bus.runtime import Runtime, run_handlers
from bus.session import STANDBY_S
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerEnteredZone, PlayerMoved
from worldbus.embedded import NatsServer

WORLD = "handover"
ENTITIES = [f"e{number}" for number in range(24)]


@dataclass(frozen=True, slots=True)
class Where:
    zone: str = ""


def _decide(event: Event, state: Where) -> Sequence[Message]:
    zone = event.data.zone  # type: ignore[attr-defined]
    return [PlayerEnteredZone(zone=zone)] if zone != state.zone else []


def _evolve(state: Where, event: Event) -> Where:
    return replace(state, zone=event.data.zone)  # type: ignore[attr-defined]


place = Handler(
    name="place", listens_to=(PlayerMoved,), emits=(PlayerEnteredZone,), initial=lambda entity: Where(), decide=_decide, evolve=_evolve
)


@pytest.fixture
def own_nats(data_folder: Path) -> Iterator[NatsServer]:
    """A server of this test's own: a server holds one log."""
    server = NatsServer(data_folder / "nats", password="only-for-tests", strict=False)
    server.start()
    yield server
    server.stop()


@asynccontextmanager
async def member(server: NatsServer) -> AsyncIterator[tuple[Runtime, Log]]:
    async with connect(server.url, name="test") as connection:
        log = await open_log(connection)
        try:
            async with run_handlers(connection, log, [place]) as runtime:
                yield runtime, log
        finally:
            await log.aclose()


async def move_all(log: Log, zone: str) -> None:
    async with open_publisher(log.connection, log, "relaxed") as publisher:
        for entity in ENTITIES:
            await publisher.publish(Draft(data=PlayerMoved(zone=zone), world=WORLD, entity=entity))


async def heard(log: Log, zone: str) -> set[str]:
    """The entities for which the handler said `zone` last, once all of them are there; or some of them, when whoever has no request at the
    server would ask again anyway."""
    until = asyncio.get_running_loop().time() + 0.8 * STANDBY_S
    while True:
        last: dict[str, str] = {}
        async for batch in log.read():
            last |= {event.entity: event.data.zone for event in batch if event.subsystem == "place"}  # type: ignore[attr-defined]
        there = {entity for entity, found in last.items() if found == zone}
        if len(there) == len(ENTITIES) or asyncio.get_running_loop().time() > until:
            return there
        await asyncio.sleep(0.05)


async def sessions(runtime: Runtime, held: int) -> None:
    while len(runtime._sessions) != held:
        await asyncio.sleep(0.02)


async def test_a_partition_that_comes_back_is_decided_on_what_the_other_member_wrote(own_nats: NatsServer) -> None:
    async with member(own_nats) as (first, log):
        await move_all(log, "a")
        assert await heard(log, "a") == set(ENTITIES)
        async with member(own_nats) as (second, _):
            await sessions(second, 4)
            await sessions(first, 5)
            await move_all(log, "b")
            assert await heard(log, "b") == set(ENTITIES)
        await sessions(first, 9)
        await move_all(log, "a")

        assert await heard(log, "a") == set(ENTITIES)


async def test_a_partition_that_comes_back_while_a_third_member_stays_is_decided_on_what_was_written(own_nats: NatsServer) -> None:
    """Nobody is alone at any time: only the hand-over itself can say that others have written."""
    async with member(own_nats) as (first, log), member(own_nats) as (second, _):
        await sessions(first, 5)
        await sessions(second, 4)
        await move_all(log, "a")
        assert await heard(log, "a") == set(ENTITIES)
        async with member(own_nats) as (third, _):
            for one in (first, second, third):
                await sessions(one, 3)
            await move_all(log, "b")
            assert await heard(log, "b") == set(ENTITIES)
        await sessions(first, 5)
        await sessions(second, 4)
        await move_all(log, "a")

        assert await heard(log, "a") == set(ENTITIES)


async def test_an_input_after_a_quick_restart_of_the_server_is_answered_soon(own_nats: NatsServer) -> None:
    """A restart quicker than anybody looks must not leave a partition without a request at the server."""
    async with member(own_nats) as (_, log):
        await move_all(log, "a")
        assert await heard(log, "a") == set(ENTITIES)
        async with member(own_nats) as (second, _):
            await sessions(second, 4)
            for zone in ("b", "c"):
                await asyncio.to_thread(own_nats.kill)
                await asyncio.to_thread(own_nats.start)
                while not log.connection.connected:
                    await asyncio.sleep(0.02)
                await move_all(log, zone)

                assert await heard(log, zone) == set(ENTITIES)


async def test_an_ack_floor_that_went_astray_hides_no_input(own_nats: NatsServer) -> None:
    """One flipped bit in a consumer's file moves its floor forward without any error; a reset beyond the end does the same to it."""
    async with member(own_nats) as (_, log):
        await move_all(log, "a")
        assert await heard(log, "a") == set(ENTITIES)
        await asyncio.sleep(0.1)  # settled
    async with connect(own_nats.url, name="test") as connection:
        log = await open_log(connection)
        await move_all(log, "b")
        for partition in range(log.partitions):
            await PullConsumer(connection, log.name, f"place_{partition}").reset(10_000 if partition % 2 else (await log.state()).last)
        await log.aclose()
    async with member(own_nats) as (_, log):
        assert await heard(log, "b") == set(ENTITIES)


async def test_a_member_that_slept_settles_nothing_before_it_holds_its_partition_anew(
    own_nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it slept another one may have taken the partition, and what it was silent about may have an answer by now."""
    settled: list[bytes] = []
    acknowledge = PullConsumer.ack
    monkeypatch.setattr(PullConsumer, "ack", lambda self, reply: (settled.append(reply), acknowledge(self, reply)))
    async with member(own_nats) as (runtime, log):
        await move_all(log, "a")
        assert await heard(log, "a") == set(ENTITIES)
        while not (waiting := [one for one, _ in runtime._sessions.values() if one._settled_reply]):
            await move_all(log, "a")  # there is nothing to say to it
        before = len(settled)
        time.sleep(2 * waiting[0]._pace.pin_timeout_s)  # noqa: ASYNC251 - the process stands still, and its event loop with it
        for _ in range(3):
            await asyncio.sleep(0)

        assert len(settled) == before
        await move_all(log, "b")
        assert await heard(log, "b") == set(ENTITIES)
