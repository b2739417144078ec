"""Searching the knowledge base: what somebody may know, as of a position, best first.

Words and meaning are searched apart and weighed together, in one SQL function (`world.kb_search`) that readers can call as well. Here the
words are looked up while the question gets its vector: each takes about as long.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal

import asyncpg

from bus.errors import Rejected, StoreUnavailable
from projections.knowledge.embedders import EmbedderFailed, Vectors
from projections.knowledge.serving import Serving
from projections.store import in_our_words, open_pool

Mode = Literal["hybrid", "vector", "text"]
PUBLIC: Final = "public"
MAX_QUESTION: Final = 1024  # characters
MAX_TOKENS: Final = 64
MOST: Final = 100
ANSWERS: Final = 0.5
"""The score from which on a passage probably answers the question; a best hit below it: probably nothing does."""
SNIPPET: Final = 240  # characters
CONNECTIONS: Final = 4
_WORD: Final = re.compile(r"\w{3,}")
_OTHER_MODEL: Final = "KB001"
_NO_VECTOR: Final = "KB002"
_SEARCH: Final = """
    SELECT *
      FROM world.kb_search($1, $2, $3, $4, mode => $5, as_of => $6, tags => $7, kinds => $8, owner => $9,
                           vector => $10, model => $11, by_words => $12)
"""
_BY_WORDS: Final = "SELECT at_position, by_words FROM worldbus.kb_by_words($1, $2, $3, $4, $5, $6, $7, $8)"


class MixedModels(Rejected):
    """The vector of a question was made with another model than those it would be compared with."""

    code = "MIXED_MODELS"


class BadQuery(Rejected):
    """Not a question that can be searched for."""

    code = "BAD_QUERY"


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A question: its text, its asker, the position that it is as of."""

    world: str
    text: str
    tokens: Sequence[str] = (PUBLIC,)
    """Tokens of the asker: any of them in a passage's audience is enough."""
    mode: Mode = "hybrid"
    tags: Sequence[str] = ()
    """Any of them; empty for all passages."""
    kinds: Sequence[str] = ()
    owner: str = ""
    most: int = 5
    as_of: int | None = None
    """Position; None for now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A passage that was found, and where it stands."""

    passage_id: str
    kind: str
    document: str
    title: str
    heading: tuple[str, ...]
    line_from: int
    line_to: int
    snippet: str
    body: str
    content_hash: str
    tags: tuple[str, ...]
    audience: tuple[str, ...]
    score: float
    """The likelihood that it answers the question, from 0 to 1."""
    ranks: dict[str, int]
    """Ranks by `text` and by `vector`, where it was among the best."""
    position: int
    """At which it was recorded; where it waits for something, it counts from a later one on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The hits, best first; `as_of` is the position that they were true at, `model` that of the vectors (empty: words alone).

    `answered` says whether one of them probably answers; otherwise they are what comes nearest.
    """

    hits: tuple[Hit, ...]
    answered: bool
    mode: Mode
    model: str
    as_of: int
    took_us: int
    embed_us: int


@dataclass(frozen=True, slots=True)
class ByWords:
    """The findings by words, in the database's own form, and the position that they are as of."""

    at: int
    found: str


class Search:
    """Answers questions, several at once. Made by `open_search`; belongs to one event loop."""

    def __init__(self, pool: asyncpg.Pool, serving: Serving | None) -> None:
        self._pool = pool
        self._serving = serving

    async def search(self, query: Query) -> Answer:
        """Answer. While no vectors can be had, a hybrid search is one by words (`Answer.mode` says so).

        Raises `BadQuery`, `MixedModels`, `EmbedderFailed` (of a search by vectors alone), `StoreUnavailable`.
        """
        check(query)
        with in_our_words("the knowledge base was asked", at_work=True):
            try:
                return await self._search(query)
            except MixedModels:
                if self._serving is None:
                    raise
                async with self._pool.acquire() as connection:  # searches were switched to another model since we looked
                    if not await self._serving.follow(connection):
                        raise
                return await self._search(query)

    async def _search(self, query: Query) -> Answer:
        began = time.perf_counter()
        words = asyncio.create_task(self._words(query), name="search-by-words")
        try:
            mode, model, vector = await self._vector(query)
            embedded = time.perf_counter()
            found = await words
        finally:
            words.cancel()
        async with self._pool.acquire() as connection:
            rows = await fetch(connection, query, mode, model, None if vector is None else vector.tolist(), found)
            position = rows[0]["at_position"] if rows else await _position(connection, query)
        took = time.perf_counter() - began
        return Answer(
            hits=tuple(_hit(row, query.text) for row in rows),
            answered=any(row["score"] >= ANSWERS for row in rows),
            mode=mode,
            model=model,
            as_of=position,
            took_us=round(took * 1e6),
            embed_us=round((embedded - began) * 1e6),
        )

    async def _words(self, query: Query) -> ByWords | None:
        """Find by words for a hybrid search; None where there is no vector to wait for, or nothing was projected yet."""
        if query.mode != "hybrid" or self._serving is None:
            return None
        async with self._pool.acquire() as connection:
            return await by_words(connection, query)

    async def _vector(self, query: Query) -> tuple[Mode, str, Vectors | None]:
        if query.mode == "text" or (self._serving is None and query.mode == "hybrid"):
            return "text", "", None
        if self._serving is None:
            raise BadQuery("wanted an embedder for a search by vectors, found none: search by `text`")
        try:
            model, vector = await self._serving.question(query.text)
        except EmbedderFailed:
            if query.mode == "vector":
                raise
            return "text", "", None
        return query.mode, model, vector


def check(query: Query) -> None:
    """Raise `BadQuery` for what cannot be asked."""
    problems = [
        *([] if query.text.strip() else ["wanted a question, found none"]),
        *([] if len(query.text) <= MAX_QUESTION else [f"wanted at most {MAX_QUESTION} characters, found {len(query.text)}"]),
        *(
            ["a question has no NUL characters"]
            if "\0" in "".join((query.text, query.world, query.owner, *query.tokens, *query.tags, *query.kinds))
            else []
        ),
        *([] if 1 <= query.most <= MOST else [f"wanted 1 to {MOST} hits, found {query.most}"]),
        *(
            []
            if max(len(query.tokens), len(query.tags), len(query.kinds)) <= MAX_TOKENS
            else [f"wanted at most {MAX_TOKENS} tokens and tags"]
        ),
        *([] if query.as_of is None or 0 <= query.as_of < 2**62 else [f"wanted a position as as_of, found {query.as_of}"]),
        *([] if query.mode in ("hybrid", "vector", "text") else [f"wanted the mode hybrid, vector or text, found {query.mode!r}"]),
    ]
    if problems:
        raise BadQuery("; ".join(problems))


async def by_words(connection: Any, query: Query) -> ByWords | None:
    """The half of a hybrid search that needs no vector, for `fetch`; None before the first event was projected."""
    with _in_our_words():
        row = await connection.fetchrow(
            *(_BY_WORDS, query.world, query.text, list(query.tokens), query.most, query.as_of),
            *(list(query.tags) or None, list(query.kinds) or None, query.owner or None),
        )
    return None if row is None or row["at_position"] is None else ByWords(row["at_position"], row["by_words"])


async def fetch(
    connection: Any, query: Query, mode: Mode, model: str, vector: list[float] | None, found: ByWords | None = None
) -> list[Any]:
    """The rows of `world.kb_search`; its errors in our words. With `found`, as of its position."""
    with _in_our_words():
        rows: list[Any] = await connection.fetch(
            *(_SEARCH, query.world, query.text, list(query.tokens), query.most, mode, query.as_of if found is None else found.at),
            *(list(query.tags) or None, list(query.kinds) or None, query.owner or None, vector, model or None),
            None if found is None else found.found,
        )
    return rows


@contextmanager
def _in_our_words() -> Iterator[None]:
    try:
        yield
    except (asyncpg.UndefinedTableError, asyncpg.UndefinedFunctionError) as error:
        raise StoreUnavailable(f"wanted the knowledge base, found {error}: does a projector run (`worldbus up`)?") from error
    except asyncpg.PostgresError as error:
        if error.sqlstate == _OTHER_MODEL:
            raise MixedModels(f"{error}") from error
        if error.sqlstate == _NO_VECTOR:
            raise BadQuery(f"{error}") from error
        raise


async def _position(connection: Any, query: Query) -> int:
    head: int = await connection.fetchval("SELECT position FROM worldbus.checkpoint")
    return head if query.as_of is None else query.as_of


def _hit(row: Any, question: str) -> Hit:
    ranks = {"text": row["text_rank"], "vector": row["vector_rank"]}
    return Hit(
        passage_id=row["passage_id"],
        kind=row["kind"],
        document=row["document"],
        title=row["title"],
        heading=tuple(row["heading"]),
        line_from=row["line_from"],
        line_to=row["line_to"],
        snippet=snippet(row["body"], question),
        body=row["body"],
        content_hash=row["content_hash"],
        tags=tuple(row["tag"]),
        audience=tuple(row["audience"]),
        score=row["score"],
        ranks={name: rank for name, rank in ranks.items() if rank is not None},
        position=row["added"],
    )


def snippet(body: str, question: str, longest: int = SNIPPET) -> str:
    """The part of `body`, of at most `longest` characters, that has most of the question's words, from the beginning of a word.

    >>> snippet("It rains. " * 9 + "The silent money is paid at dusk.", "who pays the silent money?", 40)
    '… silent money is paid at dusk.'
    """
    text = " ".join(body.split())
    if len(text) <= longest:
        return text
    wanted = {word.lower()[:5] for word in _WORD.findall(question)}
    places = [match.start() for match in _WORD.finditer(text) if match.group().lower()[:5] in wanted]
    room = longest - 4
    start = max(places, key=lambda place: (sum(place <= other < place + room for other in places), -place), default=0)
    start = text.rfind(". ", max(0, start - 80), start) + 2 if text.rfind(". ", max(0, start - 80), start) >= 0 else start
    cut = text[start : start + room]
    if start + room < len(text):
        cut = cut[: cut.rfind(" ")] if " " in cut else cut
    return ("… " if start else "") + cut.strip() + (" …" if start + room < len(text) else "")


@asynccontextmanager
async def open_search(dsn: str, serving: Serving | None) -> AsyncIterator[Search]:
    """A search with connections of its own. Raises `StoreUnavailable` or `StoreRefused` if Postgres cannot be reached."""
    async with open_pool(dsn, name="worldbus-search", most=CONNECTIONS) as connections:
        yield Search(connections, serving)
