"""The knowledge base beside the projector: vectors for what comes, answers for who asks.

While nothing is known, questions are answered all the same: with nothing, and by words alone from the first passage on until an embedder is
open. What is known is looked for when the projector has moved, or somebody asks; an idle world costs Postgres next to nothing.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

import asyncpg
import structlog

from bus.errors import BadSettings, StoreUnavailable
from bus.presence import Part
from projections.checkpoints import moves
from projections.knowledge.embedders import EmbedderFailed
from projections.knowledge.embedding import embed_missing
from projections.knowledge.recall import Found, Recall, Wanted, open_recall
from projections.knowledge.search import Answer, Query, Search, check, open_search
from projections.knowledge.serving import Serving, open_serving
from projections.store import TROUBLE, connected, in_our_words
from worldbus.edges.recall import serve_recall
from worldbus.edges.search import serve_search
from worldbus.games import current

if TYPE_CHECKING:
    from projections.checkpoints import Moves
    from worldbus.opening import World

LEAST_S: Final = 0.5  # between two looks for something to know, however much is projected
AGAIN_S: Final = 1.0
EMBEDDER_AGAIN_S: Final = 30.0
ASKED: Final = "the knowledge base was asked"

log = structlog.get_logger(__name__)


async def serve_knowledge(world: World) -> None:
    """Run until cancelled. An embedder is opened when there is something to embed; without one, searches go by words alone."""
    with world.presence.part("knowledge") as part:
        await _serve_for_ever(world, part)


async def _serve_for_ever(world: World, part: Part) -> None:
    while True:
        try:
            part.stands("serves", "nothing is known yet")
            async with AsyncExitStack() as beginning:
                await _begin(world, beginning)
                await _serve(world, beginning, part)
        except (*TROUBLE, StoreUnavailable, BadSettings) as error:  # the projector says more, and ends the world if it must
            part.stands("waits", str(error) or repr(error))
            log.warning("knowledge_waits", error=str(error) or repr(error))
            await asyncio.sleep(AGAIN_S)


async def _begin(world: World, stack: AsyncExitStack) -> None:
    """Return when something is known; until the stack is closed, questions are answered without an embedder."""
    dsn, worlds = world.servers.postgres_dsn, current().plays
    connection = await stack.enter_async_context(connected(dsn))
    moved = await stack.enter_async_context(moves(connection))
    search = await stack.enter_async_context(open_search(dsn, None))
    recall = await stack.enter_async_context(open_recall(dsn, None))
    beginning = Beginning(connection, moved, search, recall)
    if await beginning.known():
        return
    await stack.enter_async_context(serve_search(world.connection, beginning, world.publisher, worlds))
    await stack.enter_async_context(serve_recall(world.connection, beginning, worlds))
    while not await beginning.known():
        await asyncio.sleep(LEAST_S)
        await moved.again()


class Beginning:
    """Answers while nothing is known, and for the moment in which that changes. Made with a connection of its own."""

    def __init__(self, connection: asyncpg.Connection, moved: Moves, search: Search, recall: Recall) -> None:
        self._connection = connection
        self._moved = moved
        self._search = search
        self._recall = recall
        self._lock = asyncio.Lock()

    async def known(self) -> bool:
        """True if there is a passage, or there was one."""
        async with self._lock:
            try:
                return bool(await self._connection.fetchval("SELECT EXISTS (SELECT FROM world.passages)"))
            except asyncpg.UndefinedTableError:  # the projector has not made its tables yet
                return False

    async def search(self, query: Query) -> Answer:
        """Search like `Search.search`: nothing is found where nothing is known."""
        check(query)
        began = time.perf_counter()
        if not await self._asked():
            at = await self._position() if query.as_of is None else query.as_of
            took_us = round((time.perf_counter() - began) * 1e6)
            return Answer(hits=(), answered=False, mode=query.mode, model="", as_of=at, took_us=took_us, embed_us=0)
        if query.mode == "vector":
            raise StoreUnavailable("the first passages have just come, and have no vectors yet: ask again, or search by `text`")
        return await self._search.search(query)

    async def passages(self, wanted: Wanted) -> list[Found]:
        """Find passages like `Recall.passages`."""
        return await self._recall.passages(wanted) if await self._asked() else []

    async def _asked(self) -> bool:
        """Ask `known` for a caller who waits, and wake whoever waits for something to be known."""
        with in_our_words(ASKED, self._connection, at_work=True):
            known = await self.known()
        if known:
            self._moved.tell()
        return known

    async def _position(self) -> int:
        with in_our_words(ASKED, self._connection, at_work=True):
            async with self._lock:
                return int(await self._connection.fetchval("SELECT position FROM worldbus.checkpoint"))


async def _serve(world: World, beginning: AsyncExitStack, part: Part) -> None:
    """Answer with vectors; what answered in the beginning ends once this does."""
    dsn, settings, worlds = world.servers.postgres_dsn, world.settings, current().plays
    async with AsyncExitStack() as stack:
        connection = await stack.enter_async_context(connected(dsn))
        serving: Serving | None = None
        try:
            opening = open_serving(connection, first=settings.embedder, key=settings.embedder_key or "")
            serving = await stack.enter_async_context(opening)
        except (BadSettings, EmbedderFailed) as error:
            log.warning("knowledge_by_words_alone", error=str(error), again_s=EMBEDDER_AGAIN_S)
        search = await stack.enter_async_context(open_search(dsn, serving))
        await search.search(
            Query(world=settings.world, text="Who is there?")
        )  # so that the first who asks does not wait for plans and pages
        await stack.enter_async_context(serve_search(world.connection, search, world.publisher, worlds))
        part.stands("serves", "" if serving is not None else "by words alone: no embedder")
        recall = await stack.enter_async_context(open_recall(dsn, serving))
        await stack.enter_async_context(serve_recall(world.connection, recall, worlds))
        await beginning.aclose()
        if serving is not None:
            await embed_missing(dsn, serving)
        await asyncio.sleep(EMBEDDER_AGAIN_S)
