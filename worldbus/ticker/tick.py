"""One ticker: it stands by while another one speaks, and speaks when nobody does.

Every word is written under the fence of the one before it, so two tickers never count the same millisecond: the one that meets the fence
stands by. A farewell (`rests_ms` 0) lets the world stand still where it is; without one, what passed since the last word is counted, up to
what that word said it may be silent.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import structlog

from bus.connection import ApiError
from bus.errors import Conflict, Transient, WorldbusError
from bus.event import Draft
from bus.presence import Part
from handlers.time_manager import CLOCK
from handlers.time_manager.decide import MAX_REAL_MS
from inference.clock_offset import ServerClock
from schemas.gen.worldbus.time.v1.time_pb2 import RealTimePassed
from schemas.gen.worldbus.time.v1.types_pb2 import PresentMoment
from worldbus.ticker import present
from worldbus.ticker.begin import EDGE, fence
from worldbus.ticker.lane import Lane, rests_ms
from worldbus.ticker.term import MS, Term

if TYPE_CHECKING:
    from bus.log import Log
    from worldbus.ticker.begin import Publishes

NAME: Final = "ticker"
SPEAKS, STANDS_BY, WAITS = "speaks", "stands by", "waits"
REST_S: Final = 300.0
"""The longest silence while nothing is due."""
GRACE_MS: Final = 10_000  # beyond its rest, until a ticker that is silent counts as one that has ended
SILENT_S: Final = 3.0  # without a sign of life, until another ticker speaks
FIRST_S: Final = 0.6  # that a new ticker listens whether there is one
PAUSE_S: Final = 0.2  # before a word that was not recorded is tried again
FAREWELL_S: Final = 1.0  # that the last word may take

log_ = structlog.get_logger(__name__)


class Met(Exception):
    """Another ticker speaks."""


async def tick(log: Log, publisher: Publishes, world: str, *, every_s: float = REST_S, part: Part | None = None) -> None:
    """Say `RealTimePassed` when something is due or asked for, at least every `every_s` seconds, until cancelled; then a farewell.

    Outages of the log are waited out and told in the next word. `part` is told how it stands. Raises `LogDamaged`.
    """
    await _Ticker(log, publisher, world, round(every_s * 1000), part or Part(NAME)).run()


class _Ticker:
    def __init__(self, log: Log, publisher: Publishes, world: str, rest_ms: int, part: Part) -> None:
        self._log = log
        self._publisher = publisher
        self._world = world
        self._part = part
        self._gap_ms = min(rest_ms + GRACE_MS, MAX_REAL_MS)
        self._rest_ms = min(rest_ms, self._gap_ms - GRACE_MS // 2)
        self._lane = Lane(log, world)
        self._position = 0  # of the last word, ours or not: the fence of the next
        self._away = False  # the log is, and that is on record

    async def run(self) -> None:
        listener = await present.hear(self._log.connection, self._world, self._lane.alive)
        try:
            await self._open()
            async with asyncio.TaskGroup() as group:
                following = group.create_task(self._lane.follow(), name="ticker-lane")
                try:
                    await self._take_turns()
                finally:
                    following.cancel()
        finally:
            await listener.close()

    async def _open(self) -> None:
        while True:
            try:
                return await self._lane.open()
            except Transient as error:
                await self._pause(error)

    async def _take_turns(self) -> None:
        lane = self._lane
        if lane.word is not None and rests_ms(lane.word):
            await asyncio.sleep(FIRST_S)
        while True:
            await self._nobody_else()
            try:
                await self._speak()
            except (Conflict, Met):
                lane.met()
                log_.info("another_ticker_speaks", world=self._world)
            except Transient as error:
                await self._pause(error)

    async def _pause(self, error: Transient) -> None:
        if not self._away:
            log_.warning("ticker_waits", world=self._world, error=str(error))
        self._away = True
        self._part.stands(WAITS, str(error))
        await asyncio.sleep(PAUSE_S)

    async def _nobody_else(self) -> None:
        """Return when whoever spoke has been silent for too long, or has said farewell."""
        lane = self._lane
        while not lane.farewell and (left := SILENT_S - lane.silent_s()) > 0:
            self._part.stands(STANDS_BY, "another one speaks")
            lane.changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await lane.changed.wait()

    async def _speak(self) -> None:
        """Speak until another ticker is met. Raises `Conflict`, `Met`, `Transient`."""
        now_ns = time.monotonic_ns()
        since_ns = await self._since(now_ns)
        term = Term(self._lane.plan, since_ns=since_ns, now_ns=now_ns, rest_ms=self._rest_ms, gap_ms=self._gap_ms)
        showing: asyncio.Task[None] | None = None
        try:
            while True:
                await self._say(term, self._gap_ms)
                if showing is None:
                    log_.info("ticker_speaks", world=self._world)
                    showing = asyncio.create_task(present.show(self._log.connection, self._world, lambda: self._shown(term)))
                await self._until_due(term)
        except asyncio.CancelledError:
            await self._farewell(term)
            raise
        finally:
            if showing is not None:
                showing.cancel()

    def _shown(self, term: Term) -> PresentMoment:
        return present.shown(self._lane.plan, term.heard_ms(time.monotonic_ns()))

    async def _since(self, now_ns: int) -> int:
        """From when on the monotonic clock time is not told yet; sets the fence. Raises `Met`, `Transient`."""
        lane, last = self._lane, await self._log.last(fence(self._log, self._world))
        self._position = last.position if last is not None else 0
        if last is None or last.name != RealTimePassed.DESCRIPTOR.name:
            return now_ns
        if lane.word is None or last.position != lane.word.position:
            raise Met
        most_ns = rests_ms(last) * MS
        if lane.word_ns:  # seen as it came: exact, whatever the wall clocks say
            return max(lane.word_ns, now_ns - (most_ns or GRACE_MS * MS))
        if not most_ns:
            return now_ns
        clock = ServerClock(lambda: self._log.connection.api(f"STREAM.INFO.{self._log.name}"))
        try:
            await clock.measure()
        except ApiError as error:
            raise Transient(f"the server did not tell its time: {error}") from error
        least_ns = clock.now_ns() - clock.bound_ns() - last.recorded_ns  # that have passed for certain: nothing is told twice
        return time.monotonic_ns() - min(max(0, least_ns), most_ns)

    async def _say(self, term: Term, rests: int) -> None:
        """Record a word. Cancelled meanwhile, it still waits for a moment until it is known whether the word stands."""
        now_ns = time.monotonic_ns()
        passed = RealTimePassed(real_ms=max(1, term.passed_ms(now_ns)), rests_ms=rests)
        draft = Draft(data=passed, world=self._world, entity=CLOCK, subsystem=EDGE)
        recording = asyncio.create_task(self._record(draft), name="ticker-word")
        try:
            position = await asyncio.shield(recording)
        except asyncio.CancelledError:
            await asyncio.wait({recording}, timeout=FAREWELL_S)
            if recording.done() and not recording.cancelled() and recording.exception() is None:
                term.said(recording.result(), passed.real_ms, now_ns)
                self._position = recording.result()
            else:
                self._position = -1  # nobody knows where the next word belongs
                recording.cancel()
            raise
        term.said(position, passed.real_ms, now_ns)
        self._position = position

    async def _record(self, draft: Draft) -> int:
        while True:
            try:
                position = await self._publisher.publish(draft, expected=self._position)
            except Transient as error:
                await self._pause(error)
            else:
                self._away = False
                self._part.stands(SPEAKS)
                self._part.moved(position)
                return position

    async def _until_due(self, term: Term) -> None:
        lane = self._lane
        while True:
            lane.changed.clear()
            if lane.word is not None and lane.word.position > self._position:
                raise Met
            left_ns = term.next_ns() - time.monotonic_ns()
            if left_ns <= 0:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(left_ns / 1e9):
                    await lane.changed.wait()

    async def _farewell(self, term: Term) -> None:
        """The world stands still from here on. Best effort: without it, the next ticker counts what passed."""
        if self._position < 0:
            return
        with suppress(WorldbusError, TimeoutError):
            async with asyncio.timeout(FAREWELL_S):
                await self._say(term, 0)
                while self._lane.plan.answered < self._position:
                    self._lane.changed.clear()
                    await self._lane.changed.wait()
