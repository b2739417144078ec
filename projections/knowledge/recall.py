"""The knowledge for a prompt: passages of lore that the audience may know, and the owner's own memories, best first.

Both are asked with one vector; while it is computed, the owner's mind is brought up to date and the lore's words are looked up. Of each
kind the best come first, in turns, beginning with memories: ranks of two kinds can be compared where scores cannot. What has hardly to do
with the question is left out: a prompt is better short than padded.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Final

import asyncpg

from bus.errors import StoreUnavailable
from projections.knowledge.embedders import EmbedderFailed, Vectors
from projections.knowledge.minds import Asked, Minds, Ready
from projections.knowledge.search import MOST, MixedModels, Query, by_words, fetch
from projections.knowledge.serving import Serving
from projections.store import in_our_words, open_pool

CONNECTIONS: Final = 4
LEAST_SCORE: Final = 0.05
"""On the sample world's labelled questions 317 of 318 passages that answer have it, and 8 of 104 where nothing answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A question like `worldbus.inference.v1.Knowledge`, in one world, as of a position."""

    world: str
    query: str
    audience: tuple[str, ...]
    as_of: int
    owner: str = ""
    player: str = ""
    most: int = 4
    world_ms: int = 0
    exclude: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One passage, with where it stands. For a memory the document is its owner, and there are no lines."""

    id: str
    kind: str
    document: str
    heading: tuple[str, ...]
    line_from: int
    line_to: int
    content_hash: str
    score: float
    position: int
    text: str


class Recall:
    """Answers one wish after the other, or several at once. Made by `open_recall`; belongs to one event loop."""

    def __init__(self, pool: asyncpg.Pool, serving: Serving | None, minds: Minds | None = None) -> None:
        self._pool = pool
        self._serving = serving
        self._minds = minds or Minds()

    async def passages(self, wanted: Wanted) -> list[Found]:
        """The passages that fit, best first, at most `wanted.most`; by words alone while no vectors can be had.

        Raises `StoreUnavailable`, also for a database that has no knowledge base yet.
        """
        try:
            with in_our_words("passages were recalled", at_work=True):
                async with self._pool.acquire() as connection:
                    try:
                        return await self._both(connection, wanted)
                    except MixedModels:  # searches were switched to another model since we looked
                        if self._serving is None or not await self._serving.follow(connection):
                            raise
                        return await self._both(connection, wanted)
        except asyncpg.UndefinedTableError as error:
            raise StoreUnavailable(f"wanted the knowledge base, found {error}: does a projector run?") from error

    async def _both(self, connection: asyncpg.Connection, wanted: Wanted) -> list[Found]:
        model = self._serving.model if self._serving is not None else ""
        lore = _lore_query(wanted)
        embedding = asyncio.create_task(self._vector(wanted.query))
        try:
            ready = await self._ready(connection, wanted, model)
            words = await by_words(connection, lore) if lore.tokens else None
            made_with, vector = await embedding
        finally:
            embedding.cancel()
        if made_with != model:
            ready = await self._ready(connection, wanted, made_with)
        memories = [] if ready is None else _memories(ready, wanted, vector)
        numbers = None if vector is None else vector.tolist()
        rows = await fetch(connection, lore, "text" if vector is None else "hybrid", made_with, numbers, words) if words else []
        told = [_found(row) for row in rows if row["passage_id"] not in wanted.exclude and _matters(row)]
        return list(_in_turns(memories, told))[: wanted.most]

    async def _vector(self, query: str) -> tuple[str, Vectors | None]:
        """The model and the vector of the question; neither if there is no embedder, or it fails."""
        if self._serving is None:
            return "", None
        try:
            return await self._serving.question(query)
        except EmbedderFailed:
            return "", None

    async def _ready(self, connection: asyncpg.Connection, wanted: Wanted, model: str) -> Ready | None:
        """The owner's mind; it is brought up to date while the question gets its vector."""
        if not wanted.owner:
            return None
        dimension = self._serving.dimension if self._serving is not None and model else 1
        return await self._minds.ready(connection, wanted.world, wanted.owner, model=model, dimension=dimension)


def _lore_query(wanted: Wanted) -> Query:
    most = min(MOST, wanted.most + len(wanted.exclude))
    return Query(world=wanted.world, text=wanted.query, tokens=wanted.audience, most=most, as_of=wanted.as_of, kinds=("lore",))


def _memories(ready: Ready, wanted: Wanted, vector: Vectors | None) -> list[Found]:
    asked = Asked(wanted.query, vector, wanted.as_of, wanted.world_ms, wanted.player, wanted.most, wanted.exclude)
    return [
        Found(
            id=one.id,
            kind="memory",
            document=wanted.owner,
            heading=(),
            line_from=0,
            line_to=0,
            content_hash=one.content_hash,
            score=one.score,
            position=one.added,
            text=one.text,
        )
        for one in ready.recall(asked)
    ]


def _matters(row: Any) -> bool:
    """True if it may have to do with the question; much less than `ANSWERS`, since a prompt can pass over what does not help."""
    return bool(row["score"] >= LEAST_SCORE)


def _found(row: Any) -> Found:
    return Found(
        id=row["passage_id"],
        kind="lore",
        document=row["document"],
        heading=tuple(row["heading"]),
        line_from=row["line_from"],
        line_to=row["line_to"],
        content_hash=row["content_hash"],
        score=row["score"],
        position=row["added"],
        text=row["body"],
    )


def _in_turns(*kinds: Sequence[Found]) -> Iterator[Found]:
    return (one for turn in zip_longest(*kinds) for one in turn if one is not None)


@asynccontextmanager
async def open_recall(dsn: str, serving: Serving | None) -> AsyncIterator[Recall]:
    """A recall with connections of its own. Raises `StoreUnavailable` or `StoreRefused` if Postgres cannot be reached."""
    async with open_pool(dsn, name="worldbus-recall", most=CONNECTIONS) as connections:
        yield Recall(connections, serving)
