"""The newest part of the log, kept in memory: what subscribers follow, and which event ids are taken that the archive does not know yet.

One reader serves everybody. Nothing waits for a slow subscriber: each one walks along at its own position, and whoever falls off the kept
part goes on from the log itself. So memory is bounded, whoever reads how slowly.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

import structlog

from bus.errors import Transient
from bus.lookup import quick_id

if TYPE_CHECKING:
    from bus.event import Event
    from bus.log import Log

KEPT: Final = 20_000  # events
KEPT_BYTES: Final = 32 << 20
IDS: Final = 1_000_000  # that may be remembered; about 200 bytes each
LOOK_S: Final = 0.5  # between two looks at how long the log is

log_ = structlog.get_logger(__name__)


class Feed:
    """Follows the log from behind `after`; `run` does the work.

    head      the last position that was seen
    floor     events above it, up to the head, are kept
    ids_floor ids of events above it, up to the head, are remembered
    doubled   ids that the log turned out to hold twice: always 0, or a promise was broken
    """

    def __init__(self, log: Log, *, after: int = 0, kept: int = KEPT, ids: int = IDS) -> None:
        self._log = log
        self._kept = kept
        self._most_ids = ids
        self._events: deque[Event] = deque()
        self._sizes: deque[int] = deque()  # of the events, in bytes
        self._bytes = 0
        self._ids: dict[str, int] = {}
        self._order: deque[tuple[int, str]] = deque()
        self._wake: asyncio.Future[None] | None = None
        self._complete_at = -1e9
        self.head = self.floor = self.ids_floor = after
        self.doubled = 0

    async def run(self) -> None:
        """Follow the log until cancelled. Raises `LogDamaged`."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch(), name="gateway-feed-watch")
            async for events in self._log.read(after=self.head, follow=True):
                self._take(events)

    def _take(self, events: list[Event]) -> None:
        for event in events:
            size = event.size  # now: its headers go when it is read
            self._bytes += size
            self._sizes.append(size)
            self._remember(event)
        self._events.extend(events)
        self.head = events[-1].position
        while len(self._events) > self._kept or self._bytes > KEPT_BYTES:
            oldest = self._events.popleft()
            self._bytes -= self._sizes.popleft()
            self.floor = oldest.position
        if len(self._ids) > self._most_ids:
            self.forget(self._order[len(self._ids) - self._most_ids][0])
        self._tell()

    def _remember(self, event: Event) -> None:
        known = quick_id(event)
        first = self._ids.setdefault(known, event.position)
        if first == event.position:
            self._order.append((first, known))
        elif known:
            self.doubled += 1
            log_.error("id_recorded_twice", id=known, first=first, second=event.position)

    def forget(self, upto: int) -> None:
        """The ids up to this position are remembered by somebody else, or there are too many."""
        order, ids = self._order, self._ids
        while order and order[0][0] <= upto:
            del ids[order.popleft()[1]]
        self.ids_floor = max(self.ids_floor, min(upto, self.head))

    def position_of(self, id: str) -> int:
        """The position of the event with this id, 0 if it is not among those remembered."""
        return self._ids.get(id, 0)

    def after(self, position: int, most: int = 500) -> list[Event]:
        """The next kept events behind `position`, which is at least `floor`."""
        first = position - self.floor
        events = self._events
        return [events[index] for index in range(first, min(first + most, len(events)))]

    async def beyond(self, position: int) -> None:
        """Return once the head is past `position`."""
        while self.head <= position:
            if self._wake is None:
                self._wake = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._wake)

    def _tell(self) -> None:
        wake, self._wake = self._wake, None
        if wake is not None and not wake.done():
            wake.set_result(None)

    @property
    def stale_s(self) -> float:
        """Events recorded longer ago than this have been seen, every one of them."""
        return asyncio.get_running_loop().time() - self._complete_at

    async def catch_up(self) -> None:
        """Return once everything that is in the log now has been seen. Raises `Transient`."""
        began = asyncio.get_running_loop().time()
        last = (await self._log.state(timeout=5)).last
        await self.beyond(last - 1)
        self._complete_at = max(self._complete_at, began)

    async def _watch(self) -> None:
        while True:
            try:
                await self.catch_up()
            except Transient as error:
                log_.debug("feed_cannot_look", reason=str(error))
            await asyncio.sleep(LOOK_S)
