"""The doctor: is everything there that worldbus needs, does it keep its promises, and do log and archive agree?

Checks run in order; one that fails keeps those from running that need it. On given servers nothing is changed and nothing is created.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bus.connection import ApiError, Connection, connect
from bus.durability import RELAXED_LOSS, prove
from bus.errors import BadSettings, LogDamaged, NoLog, WorldbusError
from bus.log import LogConfig, open_log
from handlers import ALL
from migrations import pending
from projections.archive import check_log
from projections.catalogue import PROJECTIONS
from projections.query import query
from projections.store import connected
from worldbus.compose import open_servers
from worldbus.lag import consumers

if TYPE_CHECKING:
    from bus.log import Log
    from worldbus.embedded import Servers
    from worldbus.settings import Settings

NO_STREAM = 10059
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: its name, whether it went well, and what was found (with the next step, if it did not)."""

    check: str
    ok: bool
    found: str


async def examine(settings: Settings, *, full: bool = False, progress: Progress | None = None) -> AsyncIterator[Finding]:
    """Every check in turn. With `full` the whole log is held against the whole archive, and the archive against its own hash chain."""
    yield Finding("settings", True, repr(settings))
    async with AsyncExitStack() as stack:
        try:
            servers = await stack.enter_async_context(open_servers(settings))
        except WorldbusError as error:
            yield Finding("servers", False, str(error))
            return
        yield Finding("servers", True, _whose(settings, servers))
        log: Log | None = None
        try:
            connection = await stack.enter_async_context(connect(servers.nats_url, name="worldbus-check"))
            yield Finding("nats", True, f"connected to server {connection.server_id}")
            if not settings.embedded_nats:
                await _there(connection, LogConfig().name)
            log = await open_log(connection, LogConfig(partitions=settings.partitions))
            stack.push_async_callback(log.aclose)
            state = await log.state()
            yield Finding("log", True, f"{state.count} events, positions {state.first} to {state.last}, {log.partitions} partitions")
        except WorldbusError as error:
            yield Finding("log" if log is None else "nats", False, str(error))
        if log is not None:
            yield await _attempt("durability", _durability(log, settings, servers))
            yield await _attempt("handlers", _handlers(log))
        tables = await _attempt("tables", _tables(servers))
        yield tables
        if tables.ok:
            yield await _attempt("reader", _reader(servers))
            yield await _attempt("projections", _projections(servers))
            if log is not None:
                yield await _attempt("archive", _archive(log, servers, full, progress))


async def _there(connection: Connection, stream: str) -> None:
    try:
        await connection.api(f"STREAM.INFO.{stream}")
    except ApiError as error:
        if error.err_code == NO_STREAM:
            raise NoLog(f"wanted the stream {stream}, found none: the first `worldbus run` or `worldbus publish` makes it") from error
        raise


async def _attempt(name: str, check: Awaitable[str]) -> Finding:
    try:
        return Finding(name, True, await check)
    except WorldbusError as error:
        return Finding(name, False, str(error))


def _whose(settings: Settings, servers: Servers) -> str:
    def one(name: str, embedded: bool, ours: bool) -> str:
        return f"{name}: " + (("started here" if ours else f"those of {settings.data}") if embedded else "given")

    return ", ".join(
        (
            one("NATS", settings.embedded_nats, servers.nats is not None),
            one("Postgres", settings.embedded_postgres, servers.postgres is not None),
        )
    )


async def _durability(log: Log, settings: Settings, servers: Servers) -> str:
    await prove(log, settings.durability, [servers.nats_monitor_url] if servers.nats_monitor_url else [])
    return (
        "strict: the server proves that it syncs before it acknowledges" if settings.durability == "strict" else f"relaxed: {RELAXED_LOSS}"
    )


async def _handlers(log: Log) -> str:
    places = await consumers(log, ALL)
    behind = sum(one.behind for one in places)
    never = sorted({handler.name for handler in ALL} - {one.handler for one in places if one.exists})
    return f"{behind} events to take in" + (f"; never ran here: {', '.join(never)}" if never else "")


async def _tables(servers: Servers) -> str:
    async with connected(servers.postgres_dsn) as connection:
        version = await connection.fetchval("SHOW server_version")
    waiting = await asyncio.to_thread(pending, servers.postgres_dsn)
    if waiting:
        raise BadSettings(
            f"wanted every migration applied, found {len(waiting)} that are not ({', '.join(waiting)}): run `worldbus migrate`"
        )
    return f"Postgres {version}, every migration applied"


async def _reader(servers: Servers) -> str:
    answer = await query(servers.reader_dsn, "SELECT current_user AS name, current_setting('transaction_read_only') AS read_only")
    name, read_only = answer.rows[0]
    if servers.reader_dsn == servers.postgres_dsn:
        return f"{name} reads in read-only transactions, with the owner's rights: give --reader an address of the role worldbus_reader"
    return f"{name}, read only: {read_only}"


async def _projections(servers: Servers) -> str:
    answer = await query(servers.reader_dsn, "SELECT projection, version, in_step, live FROM projections WHERE live")
    live = {row[0]: row for row in answer.rows}
    late = [name for name, row in live.items() if not row[2]]
    missing = [one.name for one in PROJECTIONS if one.name not in live]
    if late:
        raise BadSettings(
            f"projections {', '.join(late)} are left behind by newer code or being rebuilt: run the projector, or `worldbus rebuild`"
        )
    return f"{len(live)} in step" + (f"; built when the projector runs: {', '.join(missing)}" if missing else "")


async def _archive(log: Log, servers: Servers, full: bool, progress: Progress | None) -> str:
    async with connected(servers.postgres_dsn) as connection:
        report = await check_log(connection, log, full=full, progress=progress)
    if not report.ok:
        step = "`worldbus log repair --from-archive`" if report.damaged == "log" else "`worldbus archive rebuild --from-log`"
        raise LogDamaged(f"{report.problem}; next: {step}", position=report.position)
    behind = report.log - report.archive
    extent = f"{report.checked} events compared" if full else "lengths and last event compared"
    return f"log and archive agree up to {report.archive} ({extent})" + (f"; {behind} events are still to be archived" if behind else "")
