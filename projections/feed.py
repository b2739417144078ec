"""The events that have arrived and are not yet taken: filled by a task of its own, bounded."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from types import TracebackType

from bus.event import Event
from projections.reader import Reader, reading


class Feed:
    """Reads on from `after` while at most about `limit` events wait. What the reader raises is raised by `wait`."""

    def __init__(self, reader: Reader, *, after: int, follow: bool, limit: int) -> None:
        self.events: deque[Event] = deque()
        self._reader, self._after, self._follow, self._limit = reader, after, follow, limit
        self._ready = asyncio.Event()
        self._room = asyncio.Event()
        self._ended = False
        self._error: BaseException | None = None

    async def __aenter__(self) -> Feed:
        self._task = asyncio.create_task(self._read(), name="feed")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def wait(self) -> bool:
        """Wait until there are events or `wake` was called. False: there are none and there will be none."""
        if not self.events and not self._ended:
            self._ready.clear()
            await self._ready.wait()
        if self.events:
            return True
        if self._error is not None:
            raise self._error
        return not self._ended

    def wake(self, _: object = None) -> None:
        """Let `wait` return."""
        self._ready.set()

    def pop(self, most: int) -> list[Event]:
        """Take at most `most` events."""
        events = self.events
        taken = [events.popleft() for _ in range(min(most, len(events)))]
        if len(events) < self._limit:
            self._room.set()
        return taken

    async def _read(self) -> None:
        try:
            async with reading(self._reader, after=self._after, follow=self._follow) as batches:
                async for batch in batches:
                    self.events.extend(batch)
                    self._ready.set()
                    while len(self.events) >= self._limit:
                        self._room.clear()
                        await self._room.wait()
        except Exception as error:
            self._error = error
        finally:
            self._ended = True
            self._ready.set()
