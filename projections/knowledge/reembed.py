"""Another model for the knowledge base, blue and green: filled beside the one that serves, compared with it, switched to at once.

Whoever searches meanwhile gets answers of the old model up to the switch and of the new one from there on; nothing is ever compared across
the two. The old vectors stay, so that going back is a switch as well, until somebody drops them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import asyncpg

from bus.errors import BadSettings
from projections.knowledge import tuning, unlike, vectors
from projections.knowledge.embedders import Embedder, open_embedder
from projections.store import connected, in_our_words, transaction
from schemas.gen.io.cloudevents.v1.cloudevents_pb2 import CloudEvent
from schemas.gen.worldbus.knowledge.v1.knowledge_pb2 import KnowledgeSearched

if TYPE_CHECKING:
    from asyncpg import Connection

COMPARED: Final = 5  # first hits of a question
MOST_QUESTIONS: Final = 200
_WANTING: Final = """
    SELECT count(DISTINCT content_hash) FROM world.passages p
     WHERE NOT EXISTS (SELECT FROM worldbus.embeddings e WHERE e.model = $1 AND e.content_hash = p.content_hash)
"""
_ASKED: Final = (
    "SELECT world, raw FROM worldbus.events WHERE name = 'KnowledgeSearched' AND subsystem = 'knowledge' ORDER BY position DESC LIMIT 2000"
)
_NEAREST: Final = "SELECT id FROM worldbus.kb_exact($1, (SELECT position FROM worldbus.checkpoint), $2, NULL, NULL, NULL, $3, $4, $5)"

Tell = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question that is asked of both models."""

    world: str
    text: str
    tokens: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One question: what each model finds first, by meaning."""

    question: str
    before: tuple[str, ...]
    after: tuple[str, ...]

    @property
    def overlap(self) -> float:
        """Share of the old first hits that are among the new ones."""
        return len(set(self.before) & set(self.after)) / len(self.before) if self.before else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reembedded:
    """The outcome. `was` is empty where no model served before."""

    was: str
    now: str
    embedded: int
    switched: bool
    differences: tuple[Difference, ...]

    @property
    def overlap(self) -> float:
        """Mean overlap of all questions."""
        return sum(one.overlap for one in self.differences) / len(self.differences) if self.differences else 1.0


async def reembed(
    dsn: str, name: str, *, key: str = "", questions: Sequence[Asked] = (), change: bool = True, tell: Tell = lambda done, of: None
) -> Reembedded:
    """Fill the model of the embedder `name`, compare it with the one that serves and, with `change`, let searches use it.

    Safe to kill and to run again: what is filled stays filled. Without `questions`, those that were logged last are compared.
    Raises `BadSettings`, `EmbedderFailed`, `StoreUnavailable`: run it again, it goes on where it was.
    """
    embedder = await open_embedder(name, key=key)
    try:
        async with connected(dsn) as connection:
            with in_our_words("texts were embedded", connection):
                return await _reembed(connection, embedder, name, key, questions, change, tell)
    except asyncpg.UndefinedTableError as error:
        raise BadSettings(f"wanted a knowledge base in this database, found {error}: run a projector first (`worldbus up`)") from error
    finally:
        await embedder.aclose()


async def _reembed(
    connection: Connection, embedder: Embedder, name: str, key: str, questions: Sequence[Asked], change: bool, tell: Tell
) -> Reembedded:
    was = await vectors.serving(connection)
    await vectors.register(connection, embedder, name, state="filling")
    await unlike.measure(connection, embedder)
    embedded = await _fill(connection, embedder, tell)
    await tuning.tune(connection, embedder.model)
    differences = await _compare(connection, was, embedder, questions or await logged(connection), key) if was is not None else ()
    switched = change and (was is None or was.model != embedder.model)
    if switched:
        embedded += await vectors.fill(connection, embedder)
        async with transaction(connection):
            await connection.execute("LOCK TABLE worldbus.embedding_models IN SHARE ROW EXCLUSIVE MODE")
            await vectors.switch(connection, embedder.model)
    return Reembedded(
        was=was.model if was else "", now=embedder.model, embedded=embedded, switched=switched, differences=tuple(differences)
    )


async def _fill(connection: Connection, embedder: Embedder, tell: Tell) -> int:
    wanting: int = await connection.fetchval(_WANTING, embedder.model)
    done = 0
    tell(0, wanting)
    while new := await vectors.fill(connection, embedder, most=vectors.AT_ONCE):
        done += new
        tell(done, max(wanting, done))
    return done


async def _compare(
    connection: Connection, was: vectors.Model, embedder: Embedder, questions: Sequence[Asked], key: str
) -> Sequence[Difference]:
    if not questions or was.model == embedder.model:
        return ()
    old = await open_embedder(was.embedder, key=key)
    try:
        texts = [one.text for one in questions]
        before, after = await old.embed(texts, "query"), await embedder.embed(texts, "query")
    finally:
        await old.aclose()
    return [
        Difference(
            question=one.text,
            before=await _nearest(connection, one, was.model, before[number]),
            after=await _nearest(connection, one, embedder.model, after[number]),
        )
        for number, one in enumerate(questions)
    ]


async def _nearest(connection: Connection, one: Asked, model: str, vector: Any) -> tuple[str, ...]:
    rows = await connection.fetch(_NEAREST, one.world, list(one.tokens), model, vector.tolist(), COMPARED)
    return tuple(row["id"] for row in rows)


async def logged(connection: Connection) -> list[Asked]:
    """The questions that were asked last, each once."""
    found: dict[Asked, None] = {}
    for row in await connection.fetch(_ASKED):
        event, said = CloudEvent.FromString(row["raw"]), KnowledgeSearched()
        if event.proto_data.Unpack(said) and said.query.strip():
            found[Asked(world=row["world"], text=said.query, tokens=tuple(said.audience))] = None
        if len(found) >= MOST_QUESTIONS:
            break
    return list(found)
