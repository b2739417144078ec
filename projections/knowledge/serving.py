"""The embedder that serves: the one with which the vectors that searches use were made, whichever that is at the moment."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import structlog

from projections.knowledge import vectors
from projections.knowledge.embedders import DEFAULT, Embedder, Kind, Vectors, open_embedder
from projections.knowledge.vectors import Model

if TYPE_CHECKING:
    from asyncpg import Connection

REMEMBERED: Final = 1024  # questions whose vectors are kept: what players ask, they ask again
GRACE_S: Final = 30.0  # after a switch, for who still embeds with the old one

log = structlog.get_logger(__name__)


class Serving:
    """An `Embedder` that follows the database. Its `model` and `dimension` change when searches are switched to another model.

    Made by `open_serving`; belongs to one event loop.
    """

    def __init__(self, embedder: Embedder, key: str) -> None:
        self._embedder = embedder
        self._key = key
        self._lock = asyncio.Lock()
        self._questions: OrderedDict[str, Vectors] = OrderedDict()
        self._leaving: set[asyncio.Task[None]] = set()

    @property
    def model(self) -> str:
        return self._embedder.model

    @property
    def dimension(self) -> int:
        return self._embedder.dimension

    @property
    def query_prefix(self) -> str:
        return self._embedder.query_prefix

    @property
    def passage_prefix(self) -> str:
        return self._embedder.passage_prefix

    async def embed(self, texts: Sequence[str], kind: Kind) -> Vectors:
        return await self._embedder.embed(texts, kind)

    async def question(self, text: str) -> tuple[str, Vectors]:
        """The vector of a question, and the model it was made with. The last thousand questions are remembered."""
        embedder = self._embedder
        if (known := self._questions.get(text)) is not None:
            self._questions.move_to_end(text)
            return embedder.model, known
        (vector,) = await embedder.embed([text], "query")
        if embedder is self._embedder:
            self._questions[text] = vector
            if len(self._questions) > REMEMBERED:
                self._questions.popitem(last=False)
        return embedder.model, vector

    async def follow(self, connection: Connection) -> bool:
        """Take up the model that serves now; returns whether it is another one. Raises `EmbedderFailed`, `BadSettings`."""
        async with self._lock:
            now = await vectors.serving(connection)
            if now is None or now.model == self._embedder.model:
                return False
            came = await _open(now, self._key)
            old, self._embedder = self._embedder, came
            self._questions.clear()
            log.info("embedder_switched", was=old.model, now=came.model)
            task = asyncio.create_task(_leave(old), name="embedder-leaves")
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)
            return True

    async def aclose(self) -> None:
        for task in self._leaving:
            task.cancel()
        await asyncio.gather(*self._leaving, return_exceptions=True)
        await self._embedder.aclose()


async def _leave(embedder: Embedder) -> None:
    try:
        await asyncio.sleep(GRACE_S)
    finally:
        await embedder.aclose()


async def _open(row: Model, key: str) -> Embedder:
    return await open_embedder(row.embedder, key=key)


@asynccontextmanager
async def open_serving(connection: Connection, *, first: str = DEFAULT, key: str = "") -> AsyncIterator[Serving]:
    """The embedder of the model that serves; where none does yet, `first` is put on record and serves.

    Raises `BadSettings`, `EmbedderFailed`.
    """
    row = await vectors.serving(connection)
    embedder = await open_embedder(first if row is None else row.embedder, key=key)
    serving = Serving(embedder, key)
    try:
        if row is None:
            async with connection.transaction():
                await connection.execute("LOCK TABLE worldbus.embedding_models IN SHARE ROW EXCLUSIVE MODE")
                if await vectors.serving(connection) is None:
                    await vectors.register(connection, embedder, first, state="serving")
            await serving.follow(connection)
        yield serving
    finally:
        await serving.aclose()
