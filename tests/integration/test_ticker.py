"""The ticker: as many as like may run, one of them speaks, no millisecond is counted twice, and it speaks only when there is a reason."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from bus.connection import connect
from bus.event import Draft, Event
from bus.log import Log, LogConfig, open_log
from bus.publisher import Publisher, open_publisher
from bus.runtime import run_handlers
from bus.subjects import stored_filter
from handlers.time_manager import CLOCK
from schemas.gen.worldbus.time.v1.time_pb2 import (
    ClockAdvanced,
    ClockPaused,
    ClockPauseRequested,
    ClockScaleChanged,
    ClockScaleRequested,
    RealTimePassed,
    WakeFired,
    WakeRequested,
    WakeScheduled,
)
from schemas.gen.worldbus.time.v1.types_pb2 import PresentMoment
from tests.duskmarket import time as clock
from worldbus.embedded import NatsServer
from worldbus.ticker import EDGE, present, start_clock, tick

SLOW_S = 3600.0  # a ticker that rests so long never speaks in a test without a reason
TOLD = RealTimePassed.DESCRIPTOR.name


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


class World:
    """A world whose clock runs, and everything that was said in it."""

    def __init__(self, name: str, log: Log, publisher: Publisher) -> None:
        self.name = name
        self.log = log
        self.publisher = publisher
        self.events: list[Event] = []
        self._came = asyncio.Condition()

    async def follow(self) -> None:
        async for events in self.log.read(filters=[stored_filter(world=self.name)], follow=True):
            async with self._came:
                self.events += events
                self._came.notify_all()

    async def say(self, message: Any, *, entity: str = CLOCK, subsystem: str = "game") -> int:
        return await self.publisher.publish(Draft(data=message, world=self.name, entity=entity, subsystem=subsystem))

    def of(self, *kinds: type[Any]) -> list[Any]:
        return [event.data for event in self.events if isinstance(event.data, kinds)]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with self._came:
            await self._came.wait_for(condition)

    def told_ms(self) -> int:
        return sum(word.real_ms for word in self.of(RealTimePassed))


@asynccontextmanager
async def running(server: NatsServer, name: str, *, scale: int = 60_000) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        log, publisher = await stack.enter_async_context(opened(server))
        await stack.enter_async_context(run_handlers(log.connection, log, [clock]))
        world = World(name, log, publisher)
        following = asyncio.create_task(world.follow())
        await start_clock(log, publisher, name, scale)
        yield world
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


@asynccontextmanager
async def ticking(world: World, rest_s: float = SLOW_S) -> AsyncIterator[None]:
    task = asyncio.create_task(tick(world.log, world.publisher, world.name, every_s=rest_s))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


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


async def test_a_clock_that_was_only_asked_to_wake_somebody_has_not_been_started(
    nats_server: NatsServer, unique: Callable[[str], str]
) -> None:
    """The lane of the clock was taken for a clock that runs: a player who came before the first `up` kept the world from ever beginning."""
    async with opened(nats_server) as (log, publisher), run_handlers(log.connection, log, [clock]):
        world = World(unique("early"), log, publisher)
        following = asyncio.create_task(world.follow())
        await world.say(WakeRequested(name="presence-1", in_real_ms=60_000), entity="mira", subsystem="player")
        await world.until(lambda: bool(world.of(WakeScheduled)))
        await world.say(RealTimePassed(real_ms=5), subsystem=EDGE)  # and an older ticker told it the time
        await start_clock(log, publisher, world.name, 60_000)
        await world.until(lambda: any(event.name == "ClockStarted" for event in world.events))
        following.cancel()


async def test_a_ticker_speaks_when_something_is_due_and_else_not(nats_server: NatsServer, unique: Callable[[str], str]) -> None:
    async with running(nats_server, unique("due")) as world, ticking(world):
        await world.until(lambda: bool(world.of(ClockAdvanced)))
        await world.say(WakeRequested(name="later", in_real_ms=1500), entity="quay", subsystem="market")
        await world.until(lambda: bool(world.of(WakeFired)))
        await world.until(lambda: len(world.of(ClockAdvanced)) == len(world.of(RealTimePassed)))
        words, (asked,), (fired,) = world.of(RealTimePassed), world.of(WakeScheduled), world.of(WakeFired)

    assert len(words) == 3, "the first word, one for the wish, one for the wake"
    assert words[0].rests_ms == SLOW_S * 1000
    assert asked.from_next_step
    counted = [wish for step in world.of(ClockAdvanced) for wish in step.counted]
    assert [wish.due_real_ms for wish in counted] == [fired.due_real_ms]
    assert fired.due_real_ms >= words[0].real_ms + 1500
    assert sum(word.real_ms for word in words) >= fired.due_real_ms, "never early"


async def test_a_wish_counts_from_when_it_was_heard_however_long_the_clock_had_been_silent(
    nats_server: NatsServer, unique: Callable[[str], str]
) -> None:
    """Measured by the log's own clock: not earlier than asked, although the last word was a second old."""
    async with running(nats_server, unique("now")) as world, ticking(world):
        await world.until(lambda: bool(world.of(ClockAdvanced)))
        await asyncio.sleep(1.0)
        await world.say(WakeRequested(name="n", in_real_ms=700), entity="quay", subsystem="market")
        await world.until(lambda: bool(world.of(WakeFired)))

    when = {type(event.data): event.recorded_ns for event in world.events}
    assert when[WakeFired] - when[WakeRequested] >= 700_000_000


async def test_speed_and_pause_change_at_the_present_moment(nats_server: NatsServer, unique: Callable[[str], str]) -> None:
    async with running(nats_server, unique("speed"), scale=1000) as world, ticking(world):
        await world.until(lambda: bool(world.of(ClockAdvanced)))
        await asyncio.sleep(0.5)
        await world.say(ClockScaleRequested(scale=3_000_000))
        await world.until(lambda: bool(world.of(ClockScaleChanged)))
        await world.say(ClockPauseRequested(reason="lunch"))
        await world.until(lambda: bool(world.of(ClockPaused)))

    (scaled,), (paused,) = world.of(ClockScaleChanged), world.of(ClockPaused)
    words = world.of(RealTimePassed)
    assert scaled.now.world_ms == words[0].real_ms + words[1].real_ms, "at the old speed until then"
    assert paused.now.world_ms >= scaled.now.world_ms + 3000 * words[2].real_ms
    assert scaled.request_event_id in {event.id for event in world.events if event.name == "ClockScaleRequested"}


async def test_who_ends_says_farewell_and_the_world_stands_still_until_somebody_speaks(
    nats_server: NatsServer, unique: Callable[[str], str]
) -> None:
    async with running(nats_server, unique("night"), scale=1000) as world:
        async with ticking(world):
            await world.until(lambda: bool(world.of(ClockAdvanced)))
        await world.until(lambda: world.of(RealTimePassed)[-1].rests_ms == 0)
        ended_ms = world.told_ms()
        await asyncio.sleep(1.0)
        async with ticking(world):
            await world.until(lambda: world.of(RealTimePassed)[-1].rests_ms > 0)
        await world.until(lambda: world.of(ClockAdvanced)[-1].real_ms == world.told_ms())

    farewell, again = [event for event in world.events if event.name == TOLD][1:3]
    assert again.data.real_ms <= (again.recorded_ns - farewell.recorded_ns) / 1e6 - 1000, "the night is not felt"  # type: ignore[attr-defined]
    assert world.told_ms() >= ended_ms


async def test_what_passed_since_the_last_word_of_a_ticker_that_died_is_told_once(
    nats_server: NatsServer, unique: Callable[[str], str]
) -> None:
    async with running(nats_server, unique("died"), scale=1000) as world, AsyncExitStack() as stack:
        log, publisher = await stack.enter_async_context(opened(nats_server))
        began = time.monotonic()
        first = asyncio.create_task(tick(log, publisher, world.name, every_s=SLOW_S))
        await world.until(lambda: bool(world.of(ClockAdvanced)))
        async with ticking(world):  # stands by
            await asyncio.sleep(1.0)
            await log.connection.aclose()  # without a farewell
            first.cancel()
            await world.until(lambda: len(world.of(RealTimePassed)) == 2)
            passed_ms = (time.monotonic() - began) * 1000
        await asyncio.gather(first, return_exceptions=True)

    words = world.of(RealTimePassed)
    assert words[0].real_ms + words[1].real_ms <= passed_ms + 1, "a stretch of time was told twice"
    assert words[1].real_ms >= 3000, "the silence is not lost"


async def test_a_new_ticker_counts_from_the_last_word_by_the_logs_clock(nats_server: NatsServer, unique: Callable[[str], str]) -> None:
    """Nobody stood by when the last one died; this machine's wall clock may be anything."""
    async with running(nats_server, unique("alone"), scale=1000) as world:
        await world.until(lambda: any(event.name == "ClockStarted" for event in world.events))
        await world.say(RealTimePassed(real_ms=5, rests_ms=310_000), subsystem=EDGE)
        await asyncio.sleep(1.5)
        async with ticking(world):
            await world.until(lambda: len(world.of(RealTimePassed)) == 2)

    first, second = (event.recorded_ns for event in world.events if event.name == TOLD and event.data.rests_ms)  # type: ignore[attr-defined]
    told_ms = world.of(RealTimePassed)[1].real_ms
    assert 1500 <= told_ms <= (second - first) / 1e6 + 1


async def test_a_gap_is_felt_up_to_what_the_last_word_promised(nats_server: NatsServer, unique: Callable[[str], str]) -> None:
    async with running(nats_server, unique("gap"), scale=1000) as world:
        await world.until(lambda: any(event.name == "ClockStarted" for event in world.events))
        await world.say(RealTimePassed(real_ms=5, rests_ms=300), subsystem=EDGE)
        await asyncio.sleep(1.0)
        async with ticking(world):
            await world.until(lambda: len(world.of(RealTimePassed)) == 2)

    assert world.of(RealTimePassed)[1].real_ms >= 300
    words = [event for event in world.events if event.name == TOLD]
    assert world.of(RealTimePassed)[1].real_ms < (words[1].recorded_ns - words[0].recorded_ns) / 1e6


async def test_the_present_moment_is_shown_as_a_signal(nats_server: NatsServer, unique: Callable[[str], str]) -> None:
    shown: list[PresentMoment] = []
    async with running(nats_server, unique("shown")) as world:
        listener = await world.log.connection.listen(
            present.subject(world.name), lambda subject, reply, header, payload: shown.append(PresentMoment.FromString(payload))
        )
        async with ticking(world):
            await _until(lambda: sum(one.HasField("now") for one in shown) >= 5)
            assert len(world.of(RealTimePassed)) == 1, "nothing of it is in the log"
        await listener.close()

    seen = [one for one in shown if one.HasField("now")]
    moments = [one.now.world_ms for one in seen]
    assert moments == sorted(moments)
    assert moments[-1] > moments[0]
    assert (seen[-1].scale, seen[-1].running) == (60_000, True)


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.01)
