"""Postgres: reached, migrated, read with a reader's rights, its projections in step, its archive the log's own copy."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import asyncpg

from migrations import FOLDER, SCHEMA, TABLE
from projections.archive import check_log
from projections.query import query
from projections.store import connected, is_pooled
from worldbus.checks.finding import Bounds, Finding, ago, many
from worldbus.games import current
from worldbus.lag import Lag, seconds

if TYPE_CHECKING:
    from bus.log import Log
    from worldbus.embedded import Servers


async def tables(servers: Servers) -> Finding:
    """Postgres answers, and has every migration of this release."""
    async with connected(servers.postgres_dsn) as connection:
        version = await connection.fetchval("SHOW server_version")
        pooled = await is_pooled(connection)
        try:
            applied = {row["version"] for row in await connection.fetch(f"SELECT version FROM public.{TABLE}")}  # noqa: S608  # a constant
        except asyncpg.UndefinedTableError:
            applied = set()
    files = {path.name.partition("_")[0]: path.name for path in FOLDER.glob("*.sql") if path != SCHEMA}
    facts: dict[str, object] = {"server": version, "applied": sorted(applied), "pooled": pooled}
    behind = " behind a pooler, so nothing is prepared there" if pooled else ""
    if waiting := sorted(name for number, name in files.items() if number not in applied):
        words = f"wanted every migration applied, found {len(waiting)} that are not ({', '.join(waiting)}): run `worldbus migrate`"
        return Finding("tables", False, words, facts=facts)
    if newer := sorted(applied - set(files)):
        words = f"Postgres {version}, migrated by a newer release ({many(newer)}): end the upgrade, or the way back from it, soon"
        return Finding("tables", True, words, warning=True, facts=facts)
    return Finding("tables", True, f"Postgres {version}{behind}, every migration applied", facts=facts)


async def reader(servers: Servers) -> str:
    """The role that reads, and its rights."""
    answer = await query(servers.reader_dsn, "SELECT current_user AS name, current_setting('transaction_read_only') AS read_only")
    name, read_only = answer.rows[0]
    if servers.reader_dsn == servers.postgres_dsn:
        return f"{name} reads in read-only transactions, with the owner's rights: give --reader an address of the role worldbus_reader"
    return f"{name}, read only: {read_only}"


async def projections(servers: Servers) -> Finding:
    """Every projection that readers see moves with the log."""
    answer = await query(servers.reader_dsn, "SELECT projection, version, in_step, live FROM projections WHERE live")
    live = {row[0]: row for row in answer.rows}
    late = [name for name, row in live.items() if not row[2]]
    missing = [one.name for one in current().projections if one.name not in live]
    facts = {"in_step": sorted(set(live) - set(late)), "left_behind": late, "missing": missing}
    if late:
        words = f"projections {', '.join(late)} are left behind by newer code or being rebuilt: run the projector, or `worldbus rebuild`"
        return Finding("projections", False, words, facts=facts)
    words = f"{len(live)} in step" + (f"; built when the projector runs: {', '.join(missing)}" if missing else "")
    return Finding("projections", True, words, facts=facts)


async def archive(
    log: Log, servers: Servers, lag: Lag | None, bounds: Bounds, *, full: bool, progress: Callable[[int, int], None] | None
) -> Finding:
    """Log and archive hold the same, and the archive is not far behind."""
    async with connected(servers.postgres_dsn) as connection:
        report = await check_log(connection, log, full=full, progress=progress)
    facts: dict[str, object] = {"archive": report.archive, "log": report.log, "compared": report.checked}
    if not report.ok:
        step = "`worldbus log repair --from-archive`" if report.damaged == "log" else "`worldbus archive rebuild --from-log`"
        return Finding("archive", False, f"{report.problem}; next: {step}", facts=facts | {"position": report.position})
    behind = report.log - report.archive
    extent = f"{report.checked} events compared" if full else "lengths and last event compared"
    words = f"log and archive agree up to {report.archive} ({extent})" + (f"; {behind} events are still to be archived" if behind else "")
    late_s = seconds(lag.tables.oldest_ms, lag.now_ms) if lag is not None else 0.0
    if late_s > bounds.age_s:
        return Finding(
            "archive", False, f"{words}, the first for {ago(late_s)}: until then the log has no second copy of them", facts=facts
        )
    return Finding("archive", True, words, facts=facts)
