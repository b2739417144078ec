"""Putting the parts together: one `async with` owns the servers, the connection, the log and the publisher; `serve` runs the rest
inside it.

Opened outside-in, so whatever ends first ends first: workers before the publisher, the publisher before the connection, that before
the servers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import structlog

from bus.connection import connect
from bus.errors import StoreUnavailable
from bus.lane_run import Limits
from bus.log import LogConfig, open_log
from bus.publisher import open_publisher
from bus.runtime import run_handlers
from projections.prepare import prepare
from projections.store import answered
from worldbus.edges.release_feed import watch
from worldbus.embedded import embedded
from worldbus.exporter import exporting
from worldbus.guard import held_against_archive
from worldbus.knowledge import serve_knowledge
from worldbus.projecting import ProjectorState, answering
from worldbus.standby import project
from worldbus.ticker import tick
from worldbus.tiers import run_tiers

if TYPE_CHECKING:
    from bus.connection import Connection
    from bus.handler import Handler
    from bus.log import Log
    from bus.publisher import Publisher
    from bus.runtime import Runtime
    from projections.projection import Projection
    from worldbus.embedded import Servers
    from worldbus.settings import Settings


TOGETHER_FROM = 16  # a lane's outputs that share one sync of the disk (docs/adr/0044)

ENGINE_LINE = "unreal"  # whose releases the feed of the settings lists

log_ = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bus:
    """The log at hand, without a way to publish."""

    settings: Settings
    servers: Servers
    connection: Connection
    log: Log


@dataclass(frozen=True, slots=True, kw_only=True)
class World(Bus):
    """Everything that `open_world` holds open."""

    publisher: Publisher


@asynccontextmanager
async def open_servers(settings: Settings, *, own: bool = False, nats: bool = True, postgres: bool = True) -> AsyncIterator[Servers]:
    """The servers that are needed: given ones, those of whoever owns the data folder, or our own. A given server starts no embedded one.

    Raises as `worldbus.embedded.embedded`; with `own`, `FolderInUse` when somebody else owns the folder.
    """
    if not (nats and settings.embedded_nats) and not (postgres and settings.embedded_postgres):
        settings = replace(settings, nats_url=settings.nats_url or "", postgres_dsn=settings.postgres_dsn or "")
    async with embedded(settings, own=own) as servers:
        yield servers


@asynccontextmanager
async def open_bus(settings: Settings, *, own: bool = False, name: str = "worldbus", postgres: bool = True) -> AsyncIterator[Bus]:
    """Servers, connection and log, for reading. Without `postgres` no database is needed."""
    async with AsyncExitStack() as stack:
        servers = await stack.enter_async_context(open_servers(settings, own=own, postgres=postgres))
        connection = await stack.enter_async_context(connect(servers.nats_url, name=name))
        log = await open_log(connection, LogConfig(partitions=settings.partitions))
        stack.push_async_callback(log.aclose)
        yield Bus(settings=settings, servers=servers, connection=connection, log=log)


@asynccontextmanager
async def open_world(settings: Settings, *, own: bool = False, name: str = "worldbus", postgres: bool = True) -> AsyncIterator[World]:
    """As `open_bus`, and a publisher. Raises `NotDurable` when the server does not prove what the settings promise, `LogDamaged` when
    the log is not the one that was archived: what is published then would take the places of lost events."""
    async with open_bus(settings, own=own, name=name, postgres=postgres) as bus:
        await held_against_archive(bus.log, bus.servers.postgres_dsn, thorough=own)
        monitors = [bus.servers.nats_monitor_url] if bus.servers.nats_monitor_url else []
        async with open_publisher(bus.connection, bus.log, settings.durability, monitors=monitors) as publisher:
            yield World(settings=bus.settings, servers=bus.servers, connection=bus.connection, log=bus.log, publisher=publisher)


@asynccontextmanager
async def serve(
    world: World,
    *,
    handlers: Iterable[Handler[Any]] = (),
    projections: Iterable[Projection] = (),
    ticks: bool = False,
    tiers: Iterable[str] = (),
    release_feed: bool = False,
) -> AsyncIterator[Runtime | None]:
    """Run handlers, workers of inference, the projector and the ticker for the block; embedded servers of ours that end are started again.

    With `release_feed`, the feed that the settings name is read too; let one process do that. Leaving ends these edges and the ticker
    first, then the handlers, which settle what they hold, then the projector. Whatever ends by an error ends the block with it.
    """
    handlers, projections, tiers = tuple(handlers), tuple(projections), tuple(tiers)
    state = ProjectorState()
    if projections:
        await _first_look(world.servers.postgres_dsn, state)
    limits = Limits(together_from=TOGETHER_FROM if world.settings.durability == "strict" else None)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(world.servers.keep_alive(), name="keep-alive")]
        if projections:
            tasks.append(group.create_task(project(world.servers.postgres_dsn, projections, world.log, state), name="projector"))
            if any(one.name == "knowledge" for one in projections):
                tasks.append(group.create_task(serve_knowledge(world), name="knowledge"))
        async with AsyncExitStack() as stack:
            if projections:
                await stack.enter_async_context(answering(world.connection, world.log.name, state))
            runtime = (
                await stack.enter_async_context(run_handlers(world.connection, world.log, handlers, limits=limits)) if handlers else None
            )
            if tiers and world.settings.metrics:
                await stack.enter_async_context(exporting(world.settings.metrics))
            if tiers:
                await stack.enter_async_context(run_tiers(world.connection, world.log, world.publisher, world.settings, tiers))
            ticker = group.create_task(tick(world.log, world.publisher, world.settings.world), name="ticker") if ticks else None
            feed = group.create_task(_watch_feed(world), name="release-feed") if release_feed and world.settings.release_feed else None
            try:
                yield runtime
            finally:
                for edge in (ticker, feed):
                    if edge is not None:
                        edge.cancel()
        for task in tasks:
            task.cancel()


async def _first_look(dsn: str, state: ProjectorState) -> None:
    """Find out before anything runs whether Postgres is there and lets us in: a wrong address or grant ends the start with the next step.

    A server that answers and is not well is left to the projector, which waits for it while the handlers work.
    """
    try:
        await prepare(dsn)
    except StoreUnavailable as error:
        if not answered(error):
            raise
        log_.warning("projector_waits", reason=str(error))
        state.waits(str(error))


async def _watch_feed(world: World) -> None:
    source = world.settings.release_feed or ""
    await watch(world.log, world.publisher, world=world.settings.world, line=ENGINE_LINE, source=source)
