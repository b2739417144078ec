"""Events that could not be taken in, and who has seen that.

`worldbus.skipped` is the record: the projector adds to it, nobody removes anything. What nobody has acknowledged keeps `worldbus check`
red.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import asyncpg

from projections.store import migrated

if TYPE_CHECKING:
    from asyncpg import Connection

_READ = """
    SELECT s.position, s.projection, s.code, s.reason, e.recorded_at, e.world, e.subsystem, e.entity, e.name,
           s.acknowledged_at, s.acknowledged_by, s.note
      FROM world.skipped s LEFT JOIN world.events e USING (position)
     WHERE ($1::bigint IS NULL OR s.position = $1) AND ($2 OR s.acknowledged_at IS NULL)
     ORDER BY s.position, s.projection LIMIT $3
"""
_OPEN = """
    SELECT s.count, s.first, e.recorded_at AS since
      FROM (SELECT count(*) AS count, min(position) AS first FROM world.skipped WHERE acknowledged_at IS NULL) s
      LEFT JOIN world.events e ON e.position = s.first
"""
_ACKNOWLEDGE = """
    UPDATE worldbus.skipped SET acknowledged_at = now(), acknowledged_by = $3, note = nullif($4, '')
     WHERE acknowledged_at IS NULL AND ($1::bigint[] IS NULL OR position = ANY ($1)) AND ($2::text IS NULL OR projection = $2)
    RETURNING position, projection
"""
_BEFORE_THAT = (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError)  # no migration yet, or not all of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """An event that a projection could not take in; `projection` is `*` where nobody can ever read it."""

    position: int
    projection: str
    code: str
    reason: str
    recorded_at: datetime | None
    world: str | None
    subsystem: str | None
    entity: str | None
    name: str | None
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    note: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """Skipped events that nobody has acknowledged: how many, the position of the first, and when the log took that."""

    count: int
    first: int | None
    since: datetime | None


async def skipped(connection: Connection, *, position: int | None = None, acknowledged: bool = False, limit: int = 1000) -> list[Skipped]:
    """The skipped events, by position; with `acknowledged` also what somebody has seen. Raises `BadSettings` before the migration."""
    try:
        rows = await connection.fetch(_READ, position, acknowledged, limit)
    except _BEFORE_THAT as error:
        raise migrated(error) from error
    return [Skipped(**row) for row in rows]


async def unseen(connection: Connection) -> Unseen:
    """The skipped events that nobody has acknowledged. Raises `BadSettings` before the migration."""
    try:
        return Unseen(**await connection.fetchrow(_OPEN))
    except _BEFORE_THAT as error:
        raise migrated(error) from error


async def acknowledge(
    connection: Connection, positions: Sequence[int] | None, *, projection: str | None = None, by: str, note: str = ""
) -> list[tuple[int, str]]:
    """Note that somebody has seen what was skipped at `positions` (None: everywhere); gives what was noted, (position, projection).

    What was acknowledged before keeps its first name and note. Needs the owner's rights.
    """
    try:
        rows = await connection.fetch(_ACKNOWLEDGE, None if positions is None else list(positions), projection, by, note)
    except _BEFORE_THAT as error:
        raise migrated(error) from error
    return sorted((row["position"], row["projection"]) for row in rows)
