"""The knowledge base beside the projector: vectors for what comes, answers for who asks."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

import asyncpg
import structlog

from bus.errors import BadSettings, StoreUnavailable
from projections.knowledge.embedders import EmbedderFailed
from projections.knowledge.embedding import embed_missing
from projections.knowledge.recall import open_recall
from projections.knowledge.search import Query, open_search
from projections.knowledge.serving import Serving, open_serving
from projections.store import TROUBLE, connected
from worldbus.edges.recall import serve_recall
from worldbus.edges.search import serve_search

if TYPE_CHECKING:
    from worldbus.compose import World

LOOK_S: Final = 0.2
AGAIN_S: Final = 1.0
EMBEDDER_AGAIN_S: Final = 30.0

log = structlog.get_logger(__name__)


async def serve_knowledge(world: World) -> None:
    """Run until cancelled. An embedder is opened when there is something to embed; without one, searches go by words alone."""
    while True:
        try:
            await _until_something_is_known(world.servers.postgres_dsn)
            await _serve(world)
        except (*TROUBLE, StoreUnavailable, BadSettings) as error:  # the projector says more, and ends the world if it must
            log.warning("knowledge_waits", error=str(error) or repr(error))
            await asyncio.sleep(AGAIN_S)


async def _serve(world: World) -> None:
    dsn, settings = world.servers.postgres_dsn, world.settings
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
        await stack.enter_async_context(serve_search(world.connection, search, world.publisher))
        recall = await stack.enter_async_context(open_recall(dsn, serving))
        await stack.enter_async_context(serve_recall(world.connection, recall))
        if serving is not None:
            await embed_missing(dsn, serving)
        await asyncio.sleep(EMBEDDER_AGAIN_S)


async def _until_something_is_known(dsn: str) -> None:
    async with connected(dsn) as connection:
        while True:
            try:
                if await connection.fetchval("SELECT EXISTS (SELECT FROM world.passages)"):
                    return
            except asyncpg.UndefinedTableError:  # the projector has not made its tables yet
                pass
            await asyncio.sleep(LOOK_S)
