"""The doctor: is everything there that worldbus needs, does it keep its promises, does it get on, and do log and archive agree?

Checks run in order; one that fails keeps those from running that need it. Nothing is changed and nothing is made. On the folder of a world
that nobody runs, its servers are started for the time of the examination.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from bus.connection import connect
from bus.durability import RELAXED_LOSS, prove
from bus.errors import NoWorld, WorldbusError
from bus.existing import open_existing
from bus.log import LogConfig
from worldbus.checks import records, running, tables
from worldbus.checks.capacity import capacity
from worldbus.checks.clocks import clocks
from worldbus.checks.finding import PATIENCE_S, Bounds, Finding, attempt, failed
from worldbus.checks.ticker import TICKER, ticker
from worldbus.consumers import as_wanted
from worldbus.games import current
from worldbus.lag import Lag, measure
from worldbus.roll_call import Member
from worldbus.servers import open_servers

if TYPE_CHECKING:
    from bus.log import Log
    from worldbus.embedded import Servers
    from worldbus.settings import Settings

__all__ = ["Bounds", "Finding", "examine"]
Progress = Callable[[int, int], None]


async def examine(
    settings: Settings, *, full: bool = False, bounds: Bounds | None = None, progress: Progress | None = None
) -> AsyncIterator[Finding]:
    """Every check in turn. With `full` the whole log is held against the whole archive, and the archive against its own hash chain.

    Raises `NoWorld` for a data folder without one.
    """
    bounds = bounds or Bounds()
    async with AsyncExitStack() as stack:
        try:
            servers = await stack.enter_async_context(open_servers(settings))
        except NoWorld:
            raise
        except WorldbusError as error:
            yield _given(settings)
            yield failed("servers", error)
            return
        yield _given(settings)
        yield Finding("servers", True, _whose(settings, servers))
        log = None
        try:
            connection = await stack.enter_async_context(connect(servers.nats_url, name="worldbus-check"))
        except WorldbusError as error:
            yield Finding("nats", False, str(error), unreachable=True)
        else:
            yield Finding("nats", True, f"connected to server {connection.server_id}")
            try:
                log = await open_existing(connection, LogConfig(partitions=settings.partitions))
            except WorldbusError as error:
                yield failed("log", error)
            else:
                stack.push_async_callback(log.aclose)
        async for finding in Examination(settings, servers, log, bounds).findings(full=full, progress=progress):
            yield finding


class Examination:
    """The checks of servers that were reached; `log` is None where it could not be opened."""

    def __init__(self, settings: Settings, servers: Servers, log: Log | None, bounds: Bounds) -> None:
        self._settings = settings
        self._servers = servers
        self._log = log
        self._bounds = bounds
        self._heard: list[Member] = []
        self._lag: Lag | None = None

    async def findings(self, *, full: bool, progress: Progress | None) -> AsyncIterator[Finding]:
        """Log, then who runs the world, then the tables."""
        tabled = asyncio.create_task(attempt("tables", tables.tables(self._servers)))
        try:
            if self._log is not None:
                async for finding in self._of_the_log(self._log, tabled):
                    yield finding
            yield await tabled
            if tabled.result().ok:
                async for finding in self._of_the_tables(full=full, progress=progress):
                    yield finding
        finally:
            tabled.cancel()

    async def _of_the_log(self, log: Log, tabled: Awaitable[Finding]) -> AsyncIterator[Finding]:
        measuring = asyncio.create_task(self._measure(log, tabled))
        try:
            yield await attempt("log", _state(log))
            yield await attempt("durability", _durability(log, self._settings, self._servers))
            yield await attempt("consumers", as_wanted(log, current().handlers))
            yield await attempt("capacity", capacity(log, self._servers, self._settings, self._bounds))
            away = (await tabled).unreachable  # then nothing more is asked of Postgres, which may hang
            yield await attempt("clocks", clocks(log, "" if away else self._servers.postgres_dsn, self._bounds))
            self._lag = await measuring
            self._heard = list(self._lag.members)
        except WorldbusError as error:
            yield failed("handlers", error)
            return
        finally:
            measuring.cancel()
        async for finding in self._of_who_runs(log, self._lag):
            yield finding

    async def _measure(self, log: Log, tabled: Awaitable[Finding]) -> Lag:
        away = (await tabled).unreachable
        return await measure(log, "" if away else self._servers.reader_dsn, current().handlers)

    async def _of_who_runs(self, log: Log, lag: Lag) -> AsyncIterator[Finding]:
        if self._bounds.stopped:
            return
        if not self._heard and self._servers.nats is not None:
            step = "start `worldbus up`, or say --stopped if that is meant"
            yield Finding("members", False, f"nobody runs this world; its servers were started for this examination alone: {step}")
            return
        yield running.members(self._heard, self._bounds)
        yield running.versions(self._heard)
        yield running.games(self._heard)
        yield await attempt("handlers", running.handlers(log, lag, self._heard, self._bounds))
        yield await attempt("workers", running.tiers(lag, self._bounds))
        if TICKER not in self._bounds.without:
            yield await attempt(TICKER, ticker(log, self._settings.world, self._heard, lag.now_ms, self._bounds))

    async def _of_the_tables(self, *, full: bool, progress: Progress | None) -> AsyncIterator[Finding]:
        servers, bounds, log, lag = self._servers, self._bounds, self._log, self._lag
        asleep = bounds.stopped or (not self._heard and servers.nats is not None)
        yield await attempt("reader", tables.reader(servers))
        yield await attempt("projections", tables.projections(servers))
        if lag is not None and not asleep:
            yield await attempt("projector", running.projector(servers, lag, self._heard, bounds))
        yield await attempt("parked", records.parked(servers))
        yield await attempt("skipped", records.skipped(servers))
        if log is not None:
            held = tables.archive(log, servers, None if asleep else lag, bounds, full=full, progress=progress)
            yield await attempt("archive", held, None if full else PATIENCE_S)


def _given(settings: Settings) -> Finding:
    """The settings that were given, passwords hidden; everything in the facts."""
    shown = settings.shown()
    words = ", ".join(f"{name}={value}" for name, value in shown.items() if name in settings.given | {"world", "durability"})
    return Finding("settings", True, words, facts=shown)


def _whose(settings: Settings, servers: Servers) -> str:
    def one(name: str, embedded: bool, ours: bool) -> str:
        return f"{name}: " + (("started here" if ours else f"those of {settings.data}") if embedded else "given")

    return ", ".join(
        (
            one("NATS", settings.embedded_nats, servers.nats is not None),
            one("Postgres", settings.embedded_postgres, servers.postgres is not None),
        )
    )


async def _state(log: Log) -> str:
    state = await log.state()
    return f"{state.count} events, positions {state.first} to {state.last}, {log.partitions} partitions"


async def _durability(log: Log, settings: Settings, servers: Servers) -> str:
    await prove(log, settings.durability, [servers.nats_monitor_url] if servers.nats_monitor_url else [])
    return (
        "strict: the server proves that it syncs before it acknowledges" if settings.durability == "strict" else f"relaxed: {RELAXED_LOSS}"
    )
