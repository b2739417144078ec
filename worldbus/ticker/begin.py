"""Starting a world's clock."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

from bus.errors import Conflict
from bus.event import Draft
from bus.subjects import lane_filter, partition_of, stored_filter
from handlers.time_manager import CLOCK
from schemas.gen.worldbus.time.v1.time_pb2 import ClockStarted, ClockStartRequested

if TYPE_CHECKING:
    from bus.event import Event
    from bus.log import Log

EDGE: Final = "ticker"


class Publishes(Protocol):
    """The part of a publisher that a ticker needs."""

    async def publish(self, draft: Draft, *, expected: int | None = None, once: bool = False) -> int:
        """Publish like `bus.publisher.Publisher.publish`."""


def fence(log: Log, world: str) -> str:
    """All that tickers have said: who writes there next is the one who speaks."""
    return lane_filter(partition_of(world, CLOCK, log.partitions), world, EDGE, CLOCK)


async def started(log: Log, world: str) -> Event | None:
    """The start of the world's clock, if it was started."""
    partition = partition_of(world, CLOCK, log.partitions)
    name = ClockStarted.DESCRIPTOR.name
    return await log.last(stored_filter(partition=partition, world=world, subsystem="time", entity=CLOCK, name=name))


async def start_clock(log: Log, publisher: Publishes, world: str, scale: int) -> None:
    """Start the world's clock unless it runs; `scale` is world milliseconds per real second."""
    if await started(log, world) is None:
        last = await log.last(fence(log, world))
        draft = Draft(data=ClockStartRequested(scale=scale), world=world, entity=CLOCK, subsystem=EDGE)
        with suppress(Conflict):  # somebody else speaks already, or asked for it
            if last is None or last.name != draft.subject.name:
                await publisher.publish(draft, expected=last.position if last else 0)
