"""Reading what is on record: the log, the archive, the journals, the tables, and a fresh fold of the log in an empty database."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg

from bench.chaos.checks.projections import Archived, Sample
from bench.chaos.checks.sums import QUERIES, Sums
from bench.chaos.history import Claim, History, Violation, digest
from bench.chaos.journal import read as read_journal
from bench.duskmarket import PROJECTIONS
from bus.errors import StoreUnavailable
from bus.event import Event
from bus.log import Log
from migrations import migrate
from projections import checkpoints
from projections.dump import dump
from projections.projector import Projector
from projections.reader import Listed
from projections.rebuild import rebuild
from projections.store import TROUBLE, connected
from worldbus.embedded import PostgresServer

_ARCHIVE = "SELECT position, raw, chain FROM worldbus.events ORDER BY position"
_SAMPLE = """
    SELECT position, chain, (SELECT coalesce(max(position), 0) FROM worldbus.events) AS archived,
           (SELECT count(*) FROM worldbus.events) AS rows
      FROM worldbus.checkpoint
"""


def claims(journals: Sequence[Path]) -> dict[str, Claim]:
    """Every writer's claims."""
    return {name: claim for path in journals for name, claim in read_journal(path).items()}


async def history(log: Log, journals: Sequence[Path]) -> History:
    """The whole log and every claim."""
    return History([event async for batch in log.read() for event in batch], claims(journals))


async def said_since(log: Log, known: History) -> list[str]:
    """The events that came after the history was read, in words: whoever said them was not waited for."""
    last = known.events[-1].position if known.events else 0
    return [
        f"{event.position} {event.world}.{event.subsystem}.{event.entity}.{event.name} {event.lane or ''} {str(event.data)[:200]!r}"
        async for batch in log.read(after=last)
        for event in batch
    ]


async def readings(log: Log, events: Sequence[Event]) -> dict[str, list[tuple[int, str]]]:
    """The log as other readers see it: in small steps, and position by position (a sample)."""
    small = [(event.position, digest(event.raw)) async for batch in log.read(batch=97) for event in batch]
    return {"one reader": [(event.position, digest(event.raw)) for event in events], "another": small}


async def archive(dsn: str) -> list[Archived]:
    """Every row of the archive."""
    async with connected(dsn) as connection:
        return [Archived(row["position"], row["raw"], row["chain"]) for row in await connection.fetch(_ARCHIVE)]


async def sample(connection: Any) -> Sample:
    """Checkpoint and archive in one snapshot."""
    row = await connection.fetchrow(_SAMPLE)
    return Sample(row["position"], row["chain"], row["archived"], row["rows"])


async def checkpoint(dsn: str) -> int:
    """The projections' position."""
    async with connected(dsn) as connection:
        return (await checkpoints.read(connection)).position


async def locked(dsn: str) -> bool:
    """Return whether somebody holds the checkpoint's row. A Postgres that does not answer holds nothing."""
    with suppress(*TROUBLE, StoreUnavailable):
        async with connected(dsn) as connection, connection.transaction():
            return await connection.fetchval("SELECT 1 FROM worldbus.checkpoint FOR UPDATE SKIP LOCKED") is None
    return False


async def dumps(dsn: str) -> dict[str, str]:
    """The hash of every projection's live tables."""
    async with connected(dsn) as connection:
        return {projection.name: (await dump(connection, projection)).sha256 for projection in PROJECTIONS}


async def sums(dsn: str) -> Sums:
    """The sums that anybody reads in SQL."""
    async with connected(dsn) as connection:
        found: dict[str, Counter[tuple[str, ...]]] = {}
        for name, query in QUERIES.items():
            rows = await connection.fetch(query)
            found[name] = Counter({tuple(str(part) for part in row.values())[:-1]: row[-1] for row in rows})
        return found


@asynccontextmanager
async def empty_database(server: PostgresServer, name: str) -> AsyncIterator[str]:
    """A migrated database of our own; yields the owner's address."""
    await _as_admin(server, f"CREATE DATABASE {name} OWNER worldbus_owner")
    dsn = server.address("worldbus_owner", name)
    try:
        await asyncio.to_thread(migrate, dsn)
        yield dsn
    finally:
        await _as_admin(server, f"DROP DATABASE {name} WITH (FORCE)")


async def _as_admin(server: PostgresServer, statement: str) -> None:
    connection = await asyncpg.connect(server.address(database="postgres"))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def fold(server: PostgresServer, events: Sequence[Event], *, batch: int) -> dict[str, str]:
    """The hash of every projection's tables after `events` were projected into an empty database, `batch` at a time."""
    async with empty_database(server, f"fold_{batch}") as dsn:
        await Projector(dsn, PROJECTIONS, max_batch=batch).run(Listed(events, batch), follow=False)
        return await dumps(dsn)


async def differences(dsn: str, events: Sequence[Event]) -> list[Violation]:
    """Some of the rows that a rebuild from the log would change: what to look at when the tables are not the fold."""
    found = []
    for projection in PROJECTIONS:
        diff = await rebuild(projection, dsn, Listed(events), switch=False, sample=5)
        for table in diff.tables:
            found += [Violation("P1", f"{projection.name}.{table.table} {key}: {before} -> {after}") for key, before, after in table.sample]
    return found
