"""The clock's own events and the tickers' words, followed in the log while a ticker runs."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from bus.subjects import lane_filter, partition_of
from handlers.time_manager import CLOCK, calendar
from schemas.gen.worldbus.time.v1.time_pb2 import ClockStarted, RealTimePassed
from worldbus.ticker.begin import EDGE, fence, started
from worldbus.ticker.plan import Plan

if TYPE_CHECKING:
    from bus.event import Event
    from bus.log import Log


class Lane:
    """The events received so far.

    word      the last `RealTimePassed` of any ticker, and `word_ns`: when it came by the monotonic clock, 0 if that was before we listened
    farewell  it was the last one of a ticker that ended
    changed   set whenever something came
    """

    def __init__(self, log: Log, world: str) -> None:
        self.plan = Plan()
        self.word: Event | None = None
        self.word_ns = 0
        self.farewell = False
        self.changed = asyncio.Event()
        self._log = log
        self._world = world
        self._after = 0
        self._life_ns = 0

    async def open(self) -> None:
        """Find out where the log ends, and what was said before. Raises `Transient`."""
        self._after = (await self._log.state()).last
        found = await started(self._log, self._world)
        if found is not None and isinstance(found.data, ClockStarted):
            self.plan.calendar = calendar.from_proto(found.data.calendar)
        last = await self._log.last(fence(self._log, self._world))
        if last is not None and isinstance(last.data, RealTimePassed):
            self.word = last

    async def follow(self) -> None:
        """Hear what comes, until cancelled. Raises `LogDamaged`."""
        partition = partition_of(self._world, CLOCK, self._log.partitions)
        filters = [lane_filter(partition, self._world, "time", CLOCK), fence(self._log, self._world)]
        async for events in self._log.read(after=self._after, filters=filters, follow=True):
            for event in events:
                self._take(event)
            self.changed.set()

    def _take(self, event: Event) -> None:
        if event.subsystem != EDGE:
            self.plan.hear(event)
        elif isinstance(event.data, RealTimePassed):
            self.word, self.word_ns = event, time.monotonic_ns()
            self.farewell = rests_ms(event) == 0
            self.alive()

    def alive(self) -> None:
        """Note that a ticker speaks."""
        self._life_ns = time.monotonic_ns()

    def met(self) -> None:
        """Note that another ticker speaks, whatever was heard before."""
        self.farewell = False
        self.alive()

    def silent_s(self) -> float:
        """For how long nobody was heard to speak; for ever if nobody was."""
        return (time.monotonic_ns() - self._life_ns) / 1e9 if self._life_ns else float("inf")


def rests_ms(word: Event) -> int:
    """For how long whoever said it may be silent; 0: for ever."""
    return word.data.rests_ms if isinstance(word.data, RealTimePassed) else 0
