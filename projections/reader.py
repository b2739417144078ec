"""Sources of events: the log, or anything else that yields them in order."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from bus.event import Event


class Reader(Protocol):
    """Batches of consecutive events, in log order."""

    def read(self, *, after: int, follow: bool = ...) -> AsyncIterator[Sequence[Event]]:
        """Every event whose position is greater than `after`. `follow` waits for new ones at the end, else the iterator ends there."""
        ...


@asynccontextmanager
async def reading(reader: Reader, *, after: int, follow: bool = False) -> AsyncIterator[AsyncIterator[Sequence[Event]]]:
    """Read from `reader`, and give its connection back at the end, however that comes."""
    batches = reader.read(after=after, follow=follow)
    try:
        yield batches
    finally:
        if isinstance(batches, AsyncGenerator):
            await batches.aclose()


class Listed:
    """Events that are at hand already."""

    def __init__(self, events: Iterable[Event], batch: int = 500) -> None:
        self._events = list(events)
        self._batch = batch

    async def read(self, *, after: int, follow: bool = False) -> AsyncIterator[Sequence[Event]]:
        """The events past `after`; there is nothing to follow."""
        events = [event for event in self._events if event.position > after]
        for start in range(0, len(events), self._batch):
            yield events[start : start + self._batch]
