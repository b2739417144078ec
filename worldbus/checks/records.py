"""Records in the tables for somebody to look at: lanes that stopped, events that were skipped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import asyncpg

from projections.skips import unseen
from projections.store import connected
from worldbus.checks.finding import Finding, ago, counted

if TYPE_CHECKING:
    from worldbus.embedded import Servers

_PARKED = """
    SELECT CASE status WHEN 'parked' THEN code ELSE status END AS kind, status, count(*) AS count,
           count(DISTINCT (world, handler, entity)) AS lanes, min(since)::text AS since,
           greatest(extract(epoch FROM now() - min(since)), 0)::float8 AS age_s,
           (array_agg(handler || '/' || entity ORDER BY since, input))[1] AS lane,
           (array_agg(world ORDER BY since, input))[1] AS world, (array_agg(input ORDER BY since, input))[1] AS input
      FROM world.parked GROUP BY 1, 2 ORDER BY status DESC, min(since), kind
"""


async def parked(servers: Servers) -> Finding:
    """Lanes that wait behind an input nobody could decide, or that cannot be read: each kind, how many, the oldest."""
    try:
        async with connected(servers.reader_dsn) as connection:
            rows = [dict(row) for row in await connection.fetch(_PARKED)]
    except asyncpg.UndefinedTableError:
        return Finding("parked", True, "nothing was projected yet")
    if not rows:
        return Finding("parked", True, "nothing is parked")
    kinds = [row for row in rows if row["status"] == "parked"] or rows
    words = "; ".join(_kind(row) for row in kinds)
    behind = sum(row["count"] for row in rows if row["status"] != "parked")
    oldest = max(kinds, key=lambda row: row["age_s"])
    waiting = f"; {counted(behind, 'input')} behind them" if behind else ""
    step = (
        f"see `worldbus parked show {oldest['lane']}`; when the cause is gone `worldbus parked retry`, "
        "or `worldbus parked drop` for an input that nobody will ever decide"
    )
    return Finding("parked", False, f"{words}{waiting}: {step}", facts={"kinds": rows})


def _kind(row: dict[str, Any]) -> str:
    inputs = counted(row["count"], "input")
    lanes = f" in {row['lanes']} lanes" if row["lanes"] > 1 else ""
    where = "" if row["world"] == "main" else f" of world {row['world']}"
    return (
        f"{inputs}{lanes} {row['kind'] or 'without a code'}, the oldest {row['lane']}{where} input {row['input']}, {ago(row['age_s'])} ago"
    )


async def skipped(servers: Servers) -> Finding:
    """Events that could not be taken in, and that nobody has acknowledged."""
    async with connected(servers.reader_dsn) as connection:
        open_ = await unseen(connection)
    if not open_.count:
        return Finding("skipped", True, "nothing that nobody has acknowledged")
    since = f", recorded {open_.since.isoformat(timespec='seconds')}" if open_.since else ""
    return Finding(
        "skipped",
        False,
        f"{counted(open_.count, 'event')} could not be taken in and nobody has seen to it, the first at position {open_.first}{since}: "
        f"see `worldbus skipped show {open_.first}`, then `worldbus skipped ack {open_.first}`",
        facts={"count": open_.count, "first": open_.first, "since": open_.since.isoformat() if open_.since else None},
    )
