"""The store of vectors: by model and by the hash of the text, so that they outlive every rebuild of the projection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, NamedTuple

import asyncpg

from bus.errors import BadSettings
from projections.knowledge.embedders import Embedder, Vectors
from projections.knowledge.text import searched_text
from projections.store import migrated

if TYPE_CHECKING:
    from asyncpg import Connection

AT_ONCE: Final = 64
"""Texts that are embedded and written in one go: what a kill in the middle costs."""
_MODELS: Final = """
    SELECT model, embedder, dimension, query_prefix, passage_prefix, state, vectors, indexed, ef_search, recall
      FROM worldbus.embedding_models ORDER BY created_at, model
"""
_REGISTER: Final = """
    INSERT INTO worldbus.embedding_models (model, embedder, dimension, query_prefix, passage_prefix, state)
    VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (model) DO UPDATE SET embedder = excluded.embedder,
           state = CASE WHEN embedding_models.state = 'serving' THEN 'serving' ELSE excluded.state END
    RETURNING model, embedder, dimension, query_prefix, passage_prefix, state, vectors, indexed, ef_search, recall
"""
_MISSING: Final = """
    SELECT DISTINCT ON (p.content_hash) p.content_hash, p.heading, p.body
      FROM world.passages p
     WHERE p.position > $2 AND NOT EXISTS (SELECT FROM worldbus.embeddings e WHERE e.model = $1 AND e.content_hash = p.content_hash)
     ORDER BY p.content_hash LIMIT $3
"""
_KNOWN: Final = "SELECT content_hash FROM worldbus.embeddings WHERE model = $1 AND content_hash = ANY ($2)"
_WRITE: Final = """
    INSERT INTO worldbus.embeddings (model, content_hash, vector)
    SELECT $1, t.hash, t.vector::public.halfvec FROM unnest($2::text[], $3::text[]) t(hash, vector) ON CONFLICT DO NOTHING
"""


class Model(NamedTuple):
    """One row of `embedding_models`."""

    model: str
    embedder: str
    dimension: int
    query_prefix: str
    passage_prefix: str
    state: str
    vectors: int
    indexed: bool
    ef_search: int
    recall: float | None


async def models(connection: Connection) -> list[Model]:
    """Every model on record, the oldest first. Raises `BadSettings` in a database that has no such table yet."""
    try:
        return [Model(*row) for row in await connection.fetch(_MODELS)]
    except asyncpg.UndefinedTableError as error:
        raise migrated(error) from error


async def serving(connection: Connection) -> Model | None:
    """The model that searches use; None before the first one."""
    return next((one for one in await models(connection) if one.state == "serving"), None)


async def register(connection: Connection, embedder: Embedder, name: str, *, state: str) -> Model:
    """Put the model on record, to be filled or to serve. Raises `BadSettings` if it is on record as another one."""
    row = await connection.fetchrow(
        _REGISTER, embedder.model, name, embedder.dimension, embedder.query_prefix, embedder.passage_prefix, state
    )
    found = Model(*row)
    wanted = (embedder.dimension, embedder.query_prefix, embedder.passage_prefix)
    if wanted != (found.dimension, found.query_prefix, found.passage_prefix):
        raise BadSettings(
            f"wanted the model {found.model} with {found.dimension} numbers and the prefixes {found.query_prefix!r} and "
            f"{found.passage_prefix!r}, as its vectors were made, found {wanted}: give it another id (`as` behind an endpoint's address)"
        )
    return found


async def fill(connection: Connection, embedder: Embedder, after: int = 0, *, most: int | None = None) -> int:
    """Give every passage that changed behind position `after` its vector, at least up to `most` of them; returns how many were missing.

    Safe to kill and to run twice.
    """
    done = 0
    while rows := await connection.fetch(_MISSING, embedder.model, after, AT_ONCE):
        texts = [searched_text(row["heading"], row["body"]) for row in rows]
        await write(connection, embedder.model, [row["content_hash"] for row in rows], await embedder.embed(texts, "passage"))
        done += len(rows)
        if len(rows) < AT_ONCE or (most is not None and done >= most):
            break
    return done


async def ensure(connection: Connection, embedder: Embedder, texts: Mapping[str, str]) -> int:
    """Give texts (by their hash) their vectors before anybody says them, so that no passage ever lacks one; returns how many were new."""
    known = {row["content_hash"] for row in await connection.fetch(_KNOWN, embedder.model, list(texts))}
    new = [(hash_, text) for hash_, text in texts.items() if hash_ not in known]
    for at in range(0, len(new), AT_ONCE):
        part = new[at : at + AT_ONCE]
        await write(connection, embedder.model, [one for one, _ in part], await embedder.embed([text for _, text in part], "passage"))
    return len(new)


async def write(connection: Connection, model: str, hashes: Sequence[str], vectors: Vectors) -> None:
    """Keep vectors; those that are there already stay."""
    from pgvector import HalfVector

    await connection.execute(_WRITE, model, list(hashes), [HalfVector(vector).to_text() for vector in vectors])


async def switch(connection: Connection, model: str) -> None:
    """Searches use this model from here on, those that run already end with the old one. Call it inside a transaction."""
    await connection.execute("UPDATE worldbus.embedding_models SET state = 'retired' WHERE state = 'serving' AND model <> $1", model)
    await connection.execute(
        "UPDATE worldbus.embedding_models SET state = 'serving', switched_at = now() WHERE model = $1 AND state <> 'serving'", model
    )


async def drop(connection: Connection, model: str) -> None:
    """Forget a model that does not serve, with its vectors and index."""
    async with connection.transaction():
        gone = await connection.execute("DELETE FROM worldbus.embedding_models WHERE model = $1 AND state <> 'serving'", model)
        if gone == "DELETE 1":
            await connection.execute(f'DROP INDEX IF EXISTS worldbus."{index_name(model)}"')
            await connection.execute("DELETE FROM worldbus.embeddings WHERE model = $1", model)


def index_name(model: str) -> str:
    """The name of the index of a model's vectors."""
    return f"embeddings_{blake2b(model.encode(), digest_size=8).hexdigest()}"
