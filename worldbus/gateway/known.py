"""The event ids that are taken, for ever: by the newest part of the log, or by the archive.

The archive has an index on the id, and lags behind the log by however long the projector does; the feed knows what lies between the
archive's end and the log's. What was recorded in the last moments, by another gateway, is recognised by the log's own memory of ids (two
minutes). So an id is told apart safely while the feed has seen all that is older than one minute; otherwise nobody is told anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import asyncpg
import structlog

from bus.errors import StoreUnavailable, Transient, WorldbusError
from projections.store import TROUBLE, migrated, open_pool

if TYPE_CHECKING:
    from worldbus.gateway.feed import Feed

T = TypeVar("T")
TIMEOUT_S: Final = 3.0  # for one question
TRIM_S: Final = 1.0  # between two looks at how far the archive is
MOST: Final = 2000  # ids in one question

_FIND: Final = "SELECT event_id, min(position) FROM world.events WHERE event_id = ANY($1::text[]) GROUP BY event_id"
_CHECKPOINT: Final = "SELECT position FROM world.checkpoint"

log = structlog.get_logger(__name__)


class OutOfSight(Transient):
    """Ids cannot be told apart at the moment."""

    code = "LOG_OUT_OF_SIGHT"


class Recognised(NamedTuple):
    """`found`: position by id. `sure`: every other id is new; if not, they may be old ones."""

    found: dict[str, int]
    sure: bool


class Archive:
    """Asks the archive for ids. Questions that come while another is being answered go together in the next one.

    After a question without an answer none is asked until `checkpoint` has had one: a database that hangs would hold up every request.
    """

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._waiting: dict[str, asyncio.Future[int]] = {}
        self._asking: asyncio.Task[None] | None = None
        self._given_up: set[asyncio.Future[Any]] = set()
        self.asked = 0
        self.away = False

    async def checkpoint(self) -> int:
        """The position up to which everything is in the archive. Raises `StoreUnavailable`."""
        try:
            found = await self._checkpoint()
        except StoreUnavailable:
            self.away = True
            raise
        self.away = False
        return found

    async def _checkpoint(self) -> int:
        try:
            found: int = await self._within(self._pool.fetchval(_CHECKPOINT))
        except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError) as error:
            raise StoreUnavailable(str(migrated(error))) from error
        except TROUBLE as error:
            raise _away(error) from error
        return found

    async def find(self, ids: Sequence[str]) -> dict[str, int]:
        """The position of each id that the archive has. Raises `StoreUnavailable`."""
        if self.away:
            raise StoreUnavailable("the archive did not answer just now: retry")
        loop = asyncio.get_running_loop()
        futures = [self._waiting[one] if one in self._waiting else self._waiting.setdefault(one, loop.create_future()) for one in ids]
        if self._asking is None:
            self._asking = loop.create_task(self._ask(), name="gateway-archive")
        pending = [future for future in futures if not future.done()]
        if pending:
            await asyncio.wait(pending)
        return {one: position for one, future in zip(ids, futures, strict=True) if (position := future.result())}

    async def _ask(self) -> None:
        try:
            while self._waiting:
                asked = {one: self._waiting[one] for one in list(self._waiting)[:MOST]}
                for one in asked:
                    del self._waiting[one]
                await self._answer(asked)
        finally:
            self._asking = None

    async def _answer(self, asked: dict[str, asyncio.Future[int]]) -> None:
        try:
            if self.away:  # since these were put to it
                raise TimeoutError
            self.asked += 1
            rows = await self._within(self._pool.fetch(_FIND, list(asked)))
        except Exception as error:
            if not self.away:
                log.warning("archive_away", reason=repr(error))
            self.away = True
            for future in asked.values():
                future.set_exception(_away(error))
                future.exception()  # whoever waits raises it; if nobody does any more, it is no news
            return
        found = {row[0]: row[1] for row in rows}
        for one, future in asked.items():
            future.set_result(found.get(one, 0))

    async def _within(self, question: Coroutine[Any, Any, T]) -> T:
        """The answer, or `TimeoutError` after `TIMEOUT_S`. What is given up puts its connection in order by itself, in its own time."""
        task = asyncio.ensure_future(question)
        try:
            done, _ = await asyncio.wait((task,), timeout=TIMEOUT_S)
        finally:
            if not task.done():
                self._given_up.add(task)
                task.add_done_callback(self._forget)
                task.cancel()
        if not done:
            raise TimeoutError(f"no answer within {TIMEOUT_S:g} s")
        return task.result()

    def _forget(self, task: asyncio.Future[Any]) -> None:
        self._given_up.discard(task)
        if not task.cancelled():
            task.exception()


def _away(error: BaseException) -> StoreUnavailable:
    return StoreUnavailable(f"the archive cannot be asked at the moment ({type(error).__name__}): retry")


class Known:
    """Feed and archive together."""

    def __init__(self, feed: Feed, archive: Archive | None, stale_s: float) -> None:
        self._feed = feed
        self._archive = archive
        self._stale_s = stale_s
        self._archived = feed.ids_floor  # the archive reaches at least this far

    async def keep_short(self) -> None:
        """Let the feed forget what the archive has, until cancelled."""
        while self._archive is not None:
            away = self._archive.away
            try:
                self._archived = max(self._archived, await self._archive.checkpoint())
                self._feed.forget(self._archived)
                if away:
                    log.info("archive_back", position=self._archived)
            except WorldbusError as error:
                if not away:
                    log.warning("archive_away", reason=str(error))
            await asyncio.sleep(TRIM_S)

    async def find(self, ids: Sequence[str]) -> Recognised:
        """The positions of events with these ids. Raises `Transient` while that cannot be told."""
        if not ids:
            return Recognised({}, True)
        found: dict[str, int] = {}
        others: list[str] = []
        for one in ids:  # before the archive is asked: what the feed forgets meanwhile is in the archive by then
            position = self._feed.position_of(one)
            if position:
                found[one] = position
            else:
                others.append(one)
        if not others or self._feed.ids_floor == 0:
            self._look_sharp()
            return Recognised(found, True)
        sure = False
        if self._archive is not None:
            floor = self._feed.ids_floor
            with suppress(StoreUnavailable):  # said once, by whoever noticed it
                found |= await self._archive.find(others)
                sure = floor <= self._archived
        self._look_sharp()
        return Recognised(found, sure)

    def _look_sharp(self) -> None:
        if self._feed.stale_s > self._stale_s:
            raise OutOfSight(
                f"the newest part of the log is out of sight since {min(self._feed.stale_s, 86_400):.0f} s, so it cannot be told whether "
                "these events are recorded already; nothing was recorded: send them again with the same ids",
            )


async def open_archive(stack: AsyncExitStack, dsn: str) -> tuple[asyncpg.Pool | None, int]:
    """A pool of readers, and how far the archive is: 0 while it cannot be asked. No pool without a database."""
    if not dsn:
        return None, 0
    pool = await stack.enter_async_context(open_pool(dsn, name="worldbus-gateway", most=4, timeout_s=5, patient=True))
    try:
        return pool, await Archive(pool).checkpoint()
    except StoreUnavailable as error:
        log.warning("archive_away", reason=str(error))
        return pool, 0
