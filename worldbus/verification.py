"""Deciding a log again: the events and whatever else the verifier asks for, read from the log."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bus.lane import Lane
    from bus.log import Log
    from bus.verify import Verifier


async def decide_again(
    log: Log, verifier: Verifier, *, after: int = 0, until: int, progress: Callable[[int], None] = lambda position: None
) -> None:
    """Hand the events behind `after` up to `until` to a verifier that was made for that beginning; `progress` is told the position.

    The log is only read.
    """
    if until <= after:
        return
    async for events in log.read(after=after, until=until):
        for event in events:
            for lane in verifier.unfolded(event):
                await _fold(log, lane, after)
            await _recall(log, verifier, verifier.missing(event))
            verifier.take(event)
            while stalled := verifier.stalled():
                await _recall(log, verifier, stalled)
                verifier.resume()
        progress(events[-1].position)


async def _fold(log: Log, lane: Lane[object], until: int) -> None:
    """Give a lane its history up to a position."""
    async for events in log.lane_pages(lane.filter):
        lane.extend(event for event in events if event.position <= until)
        if events[-1].position > until:
            return


async def _recall(log: Log, verifier: Verifier, positions: list[int]) -> None:
    for position in positions:
        verifier.recall(await log.get(position))
