"""One end of a request, whoever writes it when: by the fence, not by the two minutes for which the log remembers ids."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from bus.connection import Connection
from bus.event import Draft, Event
from bus.log import Log, LogConfig, attach
from bus.publisher import open_publisher
from inference.outcome import EDGE, Outcomes
from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceCompleted, InferenceDegraded, InferenceRequested, InferenceStarted
from tests.integration.inference.conftest import WORLD


@asynccontextmanager
async def forgetful(connection: Connection) -> AsyncIterator[tuple[Log, Outcomes, Outcomes]]:
    """A log that forgets ids after 100 ms, and two workers' pens."""
    await connection.api("STREAM.CREATE.LOG", LogConfig().stream() | {"duplicate_window": 100_000_000})
    log = await attach(connection, LogConfig())
    async with open_publisher(connection, log, "relaxed") as one, open_publisher(connection, log, "relaxed") as other:
        yield log, Outcomes(log, one), Outcomes(log, other)
    await log.aclose()


async def asked(log: Log, request_id: str) -> Event:
    async with open_publisher(log.connection, log, "relaxed") as publisher:
        request = InferenceRequested(request_id=request_id, tier="gold", kind="npc_line")
        position = await publisher.publish(Draft(data=request, world=WORLD, entity="mira", subsystem="npc"))
    return await log.get(position)


async def ends(log: Log) -> list[tuple[str, str]]:
    found = [event async for events in log.read() for event in events if event.subsystem == EDGE]
    return [(event.name, cast(Any, event.data).request_id) for event in found if event.name != "InferenceStarted"]


async def _forget(log: Log) -> None:
    """Return when the log has forgotten every id so far."""
    async with open_publisher(log.connection, log, "relaxed") as publisher:
        draft = Draft(data=InferenceStarted(request_id="clock"), world=WORLD, entity="clock", subsystem="test")
        recorded = await publisher.publish(draft)
        while recorded == await publisher.publish(draft):
            await asyncio.sleep(0.05)


async def test_who_comes_second_with_an_end_drops_it_however_much_later(connection: Connection) -> None:
    async with forgetful(connection) as (log, first, second):
        request = await asked(log, "r1")
        assert await second.started(request, InferenceStarted(request_id="r1", attempt=1, worker="second"))
        assert await first.end(request, InferenceCompleted(request_id="r1", text="Good evening."))
        await _forget(log)

        assert not await second.end(request, InferenceDegraded(request_id="r1", text="Later, maybe."))
        assert await ends(log) == [("InferenceCompleted", "r1")]


async def test_of_two_who_end_at_once_one_stands_and_both_know(connection: Connection) -> None:
    async with forgetful(connection) as (log, first, second):
        requests = [await asked(log, f"r{number}") for number in range(20)]
        for number, request in enumerate(requests):
            completed = InferenceCompleted(request_id=f"r{number}", text="Good evening.")
            degraded = InferenceDegraded(request_id=f"r{number}", text="Later, maybe.")
            stands = await asyncio.gather(first.end(request, completed), second.end(request, degraded))
            assert sorted(stands) == [False, True]

        assert sorted(request_id for _, request_id in await ends(log)) == sorted(f"r{number}" for number in range(20))


async def test_ends_of_other_requests_about_the_same_entity_are_in_nobodys_way(connection: Connection) -> None:
    async with forgetful(connection) as (log, first, second):
        requests = [await asked(log, f"r{number}") for number in range(2)]
        assert await second.started(requests[1], InferenceStarted(request_id="r1", attempt=1, worker="second"))
        assert await first.end(requests[0], InferenceCompleted(request_id="r0", text="Good evening."))
        assert await second.end(requests[1], InferenceCompleted(request_id="r1", text="And to you."))

        assert await ends(log) == [("InferenceCompleted", "r0"), ("InferenceCompleted", "r1")]
