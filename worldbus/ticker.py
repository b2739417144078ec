"""The edge that tells the world how much real time went by. As many as like may run; one of them speaks.

Every tick is written under the fence of the one before it, so two tickers never count the same second: the one that meets the fence
stands by, and speaks again when the other has been silent for `SILENT_S`.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

import structlog

from bus.errors import Conflict, Transient
from bus.event import Draft
from bus.presence import Part
from bus.subjects import lane_filter, partition_of
from handlers.time_manager import CLOCK
from schemas.gen.worldbus.time.v1.time_pb2 import ClockStartRequested, RealTimePassed

if TYPE_CHECKING:
    from bus.log import Log

EDGE = "ticker"
EVERY_S = 0.25
SILENT_S = 3.0  # a ticker that said nothing for so long has ended
MAX_GAP_MS = 10_000  # real time beyond that (a night, a crash) is not felt by the world
PAUSE_S = 0.2  # before a tick that was not recorded is tried again
TICK = RealTimePassed.DESCRIPTOR.name
_MS = 1_000_000  # nanoseconds

log_ = structlog.get_logger(__name__)


class Publishes(Protocol):
    """The part of a publisher that a ticker needs."""

    async def publish(self, draft: Draft, *, expected: int | None = None, once: bool = False) -> int:
        """As `bus.publisher.Publisher.publish`."""


async def start_clock(log: Log, publisher: Publishes, world: str, scale: int) -> None:
    """Start the world's clock unless it runs; `scale` is world milliseconds per real second."""
    if await log.last(lane_filter(partition_of(world, CLOCK, log.partitions), world, "time", CLOCK)) is None:
        draft = Draft(data=ClockStartRequested(scale=scale), world=world, entity=CLOCK, subsystem=EDGE)
        with suppress(Conflict):  # it was asked for already
            await publisher.publish(draft, expected=0)


async def tick(log: Log, publisher: Publishes, world: str, *, every_s: float = EVERY_S, part: Part | None = None) -> None:
    """Say `RealTimePassed` every `every_s` seconds, until cancelled. Outages of the log are waited out and told in the next tick.

    `part` is told how it stands.
    """
    part = part or Part("ticker")
    fence = lane_filter(partition_of(world, CLOCK, log.partitions), world, EDGE, CLOCK)
    while True:
        try:
            last = await log.last(fence)
            spoken_ns = last.recorded_ns if last is not None and last.name == TICK else 0
            if time.time_ns() - spoken_ns > SILENT_S * 1e9:
                await _speak(publisher, world, every_s, last.position if last else 0, spoken_ns, part)
            part.stands("stands by", "another one speaks")
        except Conflict:
            part.stands("stands by", "another one speaks")
            log_.info("another_ticker_speaks", world=world)
        except Transient as error:
            part.stands("waits", str(error))
            log_.warning("ticker_waits", world=world, error=str(error))
        await asyncio.sleep(every_s)


async def _speak(publisher: Publishes, world: str, every_s: float, position: int, since_ns: int, part: Part) -> None:
    """Tick until another ticker is met. `position` and `since_ns` are those of the last tick there was."""
    told = _start(since_ns)
    while True:
        await asyncio.sleep(max(0.0, every_s - (time.monotonic_ns() - told) / 1e9))
        passed_ms = (time.monotonic_ns() - told) // _MS
        told += passed_ms * _MS
        draft = Draft(data=RealTimePassed(real_ms=max(1, min(passed_ms, MAX_GAP_MS))), world=world, entity=CLOCK, subsystem=EDGE)
        position = await _record(publisher, draft, position, part)
        part.stands("speaks")
        part.moved(position)


def _start(since_ns: int) -> int:
    """Where counting starts, on the monotonic clock: at the last tick if that is not long ago, else now."""
    gap_ns = time.time_ns() - since_ns
    return time.monotonic_ns() - (gap_ns if 0 < gap_ns < MAX_GAP_MS * _MS else 0)


async def _record(publisher: Publishes, draft: Draft, position: int, part: Part) -> int:
    while True:
        try:
            return await publisher.publish(draft, expected=position)
        except Transient as error:
            part.stands("waits", str(error))
            log_.warning("tick_not_recorded", world=draft.world, error=str(error))
            await asyncio.sleep(PAUSE_S)
