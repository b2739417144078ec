"""The service beside the projector that gives passages their vectors, and searches what they need to be quick.

It looks where the checkpoint is when that has moved, and embeds what came since: a passage is found by its words at once, and by its
meaning a moment later. Of several processes one does the work; when it ends, another takes over.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import asyncpg
import structlog

from bus.errors import BadSettings, StoreUnavailable
from projections.checkpoints import moves
from projections.hold import holding
from projections.knowledge import tuning, unlike, vectors
from projections.knowledge.embedders import EmbedderFailed
from projections.knowledge.serving import Serving
from projections.store import TROUBLE, connected

if TYPE_CHECKING:
    from asyncpg import Connection

LEAST_S: Final = 0.05  # between two looks, however much is projected
EVERY_S: Final = 2.0  # between two looks whether searches were switched to another model
AGAIN_S: Final = 1.0  # while another process does the work, or after the embedder or Postgres failed
LOCK: Final = "worldbus embedding"
_HEAD: Final = "SELECT position, epoch FROM worldbus.checkpoint"

log = structlog.get_logger(__name__)


async def embed_missing(dsn: str, serving: Serving) -> None:
    """Run until cancelled; outages of Postgres and of the embedder are waited out."""
    while True:
        try:
            async with holding(dsn, LOCK) as mine:
                if mine:
                    async with connected(dsn) as connection:
                        await _Embedding(connection, serving).run()
        except (*TROUBLE, StoreUnavailable, BadSettings, EmbedderFailed) as error:  # searches go on by words, and so does the world
            log.warning("embedding_waits", error=str(error) or repr(error))
        await asyncio.sleep(AGAIN_S)


class _Embedding:
    """One connection's worth of service."""

    def __init__(self, connection: Connection, serving: Serving) -> None:
        self._connection = connection
        self._serving = serving
        self._seen: tuple[int, int] | None = None  # checkpoint up to which every passage has its vector
        self._after = 0
        self._since_tuned = 0

    async def run(self) -> None:
        async with moves(self._connection) as moved:
            await unlike.measure(self._connection, self._serving)
            while True:
                if await self._serving.follow(self._connection):
                    self._seen, self._after = None, 0
                    await unlike.measure(self._connection, self._serving)
                head = await self._connection.fetchrow(_HEAD)
                now = (head["position"], head["epoch"])
                if now != self._seen:
                    await self._catch_up(now)
                await asyncio.sleep(LEAST_S)
                await moved.again(EVERY_S)

    async def _catch_up(self, now: tuple[int, int]) -> None:
        if self._seen is None or self._seen[1] != now[1]:
            self._after = 0  # the tables may be others than before
        try:
            new = await vectors.fill(self._connection, self._serving, self._after)
        except asyncpg.UndefinedTableError:  # the projector has not made its tables yet
            return
        if new or self._seen is None:
            self._since_tuned += new
            if self._seen is None or await tuning.worth(self._connection, self._serving.model, self._since_tuned):
                await tuning.tune(self._connection, self._serving.model)
                self._since_tuned = 0
        self._seen, self._after = now, now[0]
