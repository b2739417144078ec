"""The ticker: as many as like may run, one of them speaks, and no second is counted twice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from bus.connection import connect
from bus.event import Draft
from bus.log import Log, LogConfig, open_log
from bus.publisher import Publisher, open_publisher
from bus.subjects import stored_filter
from handlers.time_manager import CLOCK
from worldbus.embedded import NatsServer
from worldbus.ticker import EDGE, start_clock, tick


class Speaker:
    """A publisher that remembers what it was let say."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self.said: list[int] = []

    async def publish(self, draft: Draft, *, expected: int | None = None, once: bool = False) -> int:
        position = await self._publisher.publish(draft, expected=expected, once=once)
        self.said.append(position)
        return position


@asynccontextmanager
async def opened(server: NatsServer) -> AsyncIterator[tuple[Log, Publisher]]:
    async with connect(server.url, name="ticker-test") as connection:
        log = await open_log(connection, LogConfig())
        async with open_publisher(connection, log, "relaxed") as publisher:
            yield log, publisher
        await log.aclose()


async def test_one_of_two_tickers_speaks_and_the_other_takes_over(nats_server: NatsServer, unique: Callable[[str], str]) -> None:
    world, began = unique("ticked"), time.monotonic()
    async with opened(nats_server) as (log, publisher):
        speakers = [Speaker(publisher), Speaker(publisher)]
        tasks = [asyncio.create_task(tick(log, speaker, world, every_s=0.02)) for speaker in speakers]
        await _until(lambda: sum(len(speaker.said) for speaker in speakers) >= 10)
        first = max(range(2), key=lambda number: len(speakers[number].said))
        tasks[first].cancel()
        other, so_far = speakers[1 - first], len(speakers[1 - first].said)
        await _until(lambda: len(other.said) >= so_far + 5)
        tasks[1 - first].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        told = [event async for events in log.read(filters=[stored_filter(world=world, subsystem=EDGE)]) for event in events]

    assert so_far <= 1, "both spoke at once"
    assert [event.entity for event in told] == [CLOCK] * len(told)
    passed_ms = sum(event.data.real_ms for event in told)  # type: ignore[attr-defined]
    assert passed_ms <= (time.monotonic() - began) * 1000 + 1, "a stretch of time was told twice"


async def test_a_clock_is_started_once(nats_server: NatsServer, unique: Callable[[str], str]) -> None:
    world = unique("started")
    async with opened(nats_server) as (log, publisher):
        for scale in (60_000, 60_000):
            await start_clock(log, publisher, world, scale)
        asked = [event async for events in log.read(filters=[stored_filter(world=world)]) for event in events]

    assert [(event.name, event.data.scale) for event in asked] == [("ClockStartRequested", 60_000)]  # type: ignore[attr-defined]


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.01)
