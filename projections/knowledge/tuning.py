"""Tuning of searches in a large store: counts of common words and tokens, and an index of the vectors.

An exact scan finds what is nearest and needs no index; up to some ten thousand passages it is also quick enough. Above that an index (HNSW)
is built, and held against the exact scan: searches use it only if it finds what the scan finds, at audiences of any breadth.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import structlog

from projections.knowledge.vectors import index_name

if TYPE_CHECKING:
    from asyncpg import Connection

EXACT_BELOW: Final = 20_000
"""Vectors up to which everything is scanned."""
GROWN: Final = 0.1
RECALL: Final = 0.95
"""Of the exact scan's first ten; less, and the index is not used."""
EFFORTS: Final = (100, 150, 200, 400, 800)  # hnsw.ef_search
LINKS: Final = 24
BUILT_WITH: Final = 200
"""More than pgvector's 16 and 64: narrow audiences need what is further away."""
PROBES: Final = 24
MEMORY: Final = "256MB"
_TERMS: Final = """
    INSERT INTO worldbus.search_terms (world, kind, term, passages)
    SELECT $1::text, 'word', s.word, s.ndoc
      FROM ts_stat(format('SELECT words FROM world.passages WHERE world = %L AND ended IS NULL', $1::text)) s
     WHERE s.ndoc > $2::bigint / 2000
    UNION ALL
    SELECT $1::text, 'token', a, count(*) FROM world.passages p, unnest(p.audience) a WHERE p.world = $1 AND p.ended IS NULL GROUP BY a
    UNION ALL
    SELECT $1::text, 'all', '', $2::bigint
"""
_WORLDS: Final = "SELECT world, count(*) AS passages FROM world.passages WHERE ended IS NULL GROUP BY world"
_BROAD: Final = """
    SELECT world, term FROM (
        SELECT s.world, s.term, s.passages,
               row_number() OVER (PARTITION BY width_bucket(log(s.passages::numeric / $1::bigint), -2, 0, 4) ORDER BY s.passages DESC) AS n
          FROM worldbus.search_terms s WHERE s.kind = 'token' AND s.passages > 3000 AND s.passages > $1::bigint / 50
    ) broad WHERE n = 1 ORDER BY passages DESC LIMIT 4
"""

log = structlog.get_logger(__name__)


async def worth(connection: Connection, model: str, new: int) -> bool:
    """Return whether so many new vectors change the picture."""
    before: int | None = await connection.fetchval("SELECT vectors FROM worldbus.embedding_models WHERE model = $1", model)
    return new >= GROWN * (before or 0)


async def tune(connection: Connection, model: str) -> None:
    """Count words, tokens and vectors; build and judge the index if there are enough vectors."""
    await count_terms(connection)
    vectors: int = await connection.fetchval(
        "UPDATE worldbus.embedding_models SET vectors = (SELECT count(*) FROM worldbus.embeddings WHERE model = $1) WHERE model = $1 "
        "RETURNING vectors",
        model,
    )
    if vectors > EXACT_BELOW:
        await index(connection, model)
        await judge(connection, model)


async def count_terms(connection: Connection) -> None:
    """Count the passages with each common word and with each token. Searches see the old counts or the new ones."""
    async with connection.transaction():
        await connection.execute("DELETE FROM worldbus.search_terms")
        for row in await connection.fetch(_WORLDS):
            await connection.execute(_TERMS, row["world"], row["passages"])


async def index(connection: Connection, model: str) -> float:
    """Build the index of a model's vectors unless it is there; returns the seconds it took. Reading and writing go on meanwhile."""
    name = index_name(model)
    valid = await connection.fetchval(
        "SELECT i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = 'worldbus' AND c.relname = $1",
        name,
    )
    if valid:
        return 0.0
    dimension = await connection.fetchval("SELECT dimension FROM worldbus.embedding_models WHERE model = $1", model)
    quoted = await connection.fetchval("SELECT quote_literal($1::text)", model)
    began = time.perf_counter()
    await connection.execute(f'DROP INDEX IF EXISTS worldbus."{name}"')  # what a build that was killed left behind
    await connection.execute(f"SET maintenance_work_mem = '{MEMORY}'")
    await connection.execute(
        f'CREATE INDEX CONCURRENTLY "{name}" ON worldbus.embeddings '
        f"USING hnsw ((vector::public.halfvec({int(dimension)})) public.halfvec_ip_ops) "
        f"WITH (m = {LINKS}, ef_construction = {BUILT_WITH}) WHERE model = {quoted}"
    )
    await connection.execute("RESET maintenance_work_mem")  # SET LOCAL needs a transaction, which CONCURRENTLY refuses
    await connection.execute("ANALYZE worldbus.embeddings")
    took = time.perf_counter() - began
    log.info("vectors_indexed", model=model, seconds=round(took, 1))
    return took


async def judge(connection: Connection, model: str) -> dict[tuple[str, str], float]:
    """Measure what the index finds of what a scan finds, and let searches use it at the least effort that finds enough.

    Returns recall by world and token at the effort that was chosen, or at the greatest.
    """
    vectors = await connection.fetchval("SELECT vectors FROM worldbus.embedding_models WHERE model = $1", model)
    broad = [(row["world"], row["term"]) for row in await connection.fetch(_BROAD, vectors)]
    between = await probes(connection, model)
    scanned = {(world, token): await scan(connection, model, world, token, between) for world, token in broad}
    found: dict[tuple[str, str], float] = {}
    for effort in EFFORTS:
        found = {one: await recall(connection, model, *one, between, scanned[one], effort, vectors) for one in broad}
        if min(found.values(), default=0.0) >= RECALL:
            break
    worst = min(found.values(), default=0.0)
    await connection.execute(
        "UPDATE worldbus.embedding_models SET indexed = $2, ef_search = $3, recall = $4 WHERE model = $1",
        model,
        worst >= RECALL,
        effort,
        worst,
    )
    log.info("index_judged", model=model, effort=effort, recall=round(worst, 3), used=worst >= RECALL)
    return found


async def scan(connection: Connection, model: str, world: str, token: str, asked: list[Any]) -> list[set[str]]:
    """The first ten that a scan finds for each vector."""
    sql = "SELECT id FROM worldbus.kb_exact($1, 4611686018427387904, $2, NULL, NULL, NULL, $3, $4, 10)"
    return [{row["id"] for row in await connection.fetch(sql, world, [token], model, vector)} for vector in asked]


async def recall(
    connection: Connection, model: str, world: str, token: str, asked: list[Any], scanned: list[set[str]], effort: int, vectors: int
) -> float:
    """The share of what a scan found that the index finds for one token."""
    visible = await connection.fetchval("SELECT worldbus.kb_breadth($1, $2)", world, [token])
    effort = max(effort, min(800, int(1.9 * 15 * vectors / max(1, visible))))  # as kb_search does for five hits
    sql = "SELECT id FROM worldbus.kb_near($1, 4611686018427387904, $2, NULL, NULL, NULL, $3, $4, 15, $5)"
    hits = 0
    for vector, nearest in zip(asked, scanned, strict=True):
        hits += len(nearest & {row["id"] for row in await connection.fetch(sql, world, [token], model, vector, effort)})
    return hits / max(1, sum(map(len, scanned)))


async def probes(connection: Connection, model: str) -> list[Any]:
    """Vectors between two passages each: near to both and equal to none, as questions are."""
    rows = await connection.fetch(
        "SELECT vector::public.vector::real[] AS v FROM worldbus.embeddings WHERE model = $1 ORDER BY md5(content_hash) LIMIT $2",
        model,
        2 * PROBES,
    )
    halves = [row["v"] for row in rows]
    return [[(a + b) / 2 for a, b in zip(one, other, strict=True)] for one, other in zip(halves[::2], halves[1::2], strict=False)]
