"""Publishing under ids of one's own: the same id is the same event, in this process and in any other, now and at any time later.

The log remembers ids for two minutes. Older ones are looked up before anything is sent: in the archive's index, and for what it does not
have yet in the newest part of the log, which is read once and then followed (docs/adr/0075). Without an archive that part is the whole log,
as far as memory goes; beyond, each event costs a look through what its subsystem said about its entity.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

from bus import lookup
from bus.envelope import MAX_EVENT
from bus.publication import pack
from worldbus.gateway.feed import Feed
from worldbus.gateway.known import Archive, Known, open_archive
from worldbus.gateway.limits import Limits

if TYPE_CHECKING:
    from bus.draft import Draft
    from bus.publisher import Publisher
    from worldbus.opening import World


class Placed(NamedTuple):
    """The position of an event, and whether it was there before."""

    position: int
    replayed: bool


class Once:
    """Publishes each id once, for ever. Made by `open_once`."""

    def __init__(self, world: World, feed: Feed, known: Known) -> None:
        self._log = world.log
        self._publisher: Publisher = world.publisher
        self._feed = feed
        self._known = known

    async def submit(self, drafts: Sequence[Draft], *, own: Collection[str], expected: int | None = None) -> list[asyncio.Future[Placed]]:
        """Send what is not recorded yet, in order; each future ends with its place, or raises as `Publisher.publish` does.

        `own` are the ids that were not made a moment ago. One that another event has raises `IdReused`. Raises `Transient` while it cannot
        be told which of them are taken.
        """
        known = await self._known.find([draft.id for draft in drafts if draft.id in own])
        await self._publisher.room()
        before = self._feed.head
        work = []
        for draft in drafts:
            position = known.found.get(draft.id) or self._feed.position_of(draft.id)
            if position:
                work.append(self._recorded(draft, position))
            elif known.sure or draft.id not in own:
                work.append(_placed(self._publisher.submit(draft, expected=expected), before))
            else:
                work.append(_placed(asyncio.ensure_future(self._publisher.publish(draft, expected=expected, once=True)), before))
        return [asyncio.ensure_future(one) for one in work]

    async def _recorded(self, draft: Draft, position: int) -> Placed:
        """The place of an event whose id is taken; raises `IdReused` if another event has it."""
        event = await self._log.get(position)
        parcel = pack(draft, 2 * MAX_EVENT)
        if not lookup.same(event, parcel):
            raise lookup.id_reused(draft.id, event, parcel)
        return Placed(position, True)


async def _placed(future: asyncio.Future[int], before: int) -> Placed:
    position = await future
    return Placed(position, position <= before)


@asynccontextmanager
async def open_once(world: World) -> AsyncIterator[Once]:
    """For the block; begins when all that was in the log at its beginning has been seen. Raises `LogDamaged`, `Transient`."""
    async with AsyncExitStack() as stack:
        pool, after = await open_archive(stack, world.servers.reader_dsn)
        feed = Feed(world.log, after=after)
        known = Known(feed, Archive(pool) if pool is not None else None, Limits().stale_s)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(feed.run(), name="ids"), group.create_task(known.keep_short(), name="ids-trim")]
            await feed.catch_up()
            try:
                yield Once(world, feed, known)
            finally:
                for task in tasks:
                    task.cancel()
