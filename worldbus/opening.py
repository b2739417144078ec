"""Opening a world: one `async with` owns the servers, the connection, the log and the publisher. `worldbus.compose.serve` runs the rest
inside it.

Opened outside-in, so whatever ends first ends first: the publisher before the connection, that before the servers. Loads no handler, no
projection and no worker: most verbs need none.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bus.connection import connect
from bus.existing import open_existing
from bus.log import LogConfig, open_log
from bus.presence import Presence
from worldbus import __version__
from worldbus.servers import open_servers

if TYPE_CHECKING:
    from bus.connection import Connection
    from bus.log import Log
    from bus.publisher import Publisher
    from worldbus.embedded import Servers
    from worldbus.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Bus:
    """The log at hand, without a way to publish."""

    settings: Settings
    servers: Servers
    connection: Connection
    log: Log


@dataclass(frozen=True, slots=True, kw_only=True)
class World(Bus):
    """The open parts of a world, made by `open_world`."""

    publisher: Publisher
    presence: Presence = field(default_factory=lambda: Presence(version=__version__))
    """Presence of this process while `serve` runs something in it."""


@asynccontextmanager
async def open_bus(
    settings: Settings, *, own: bool = False, name: str = "worldbus", postgres: bool = True, create: bool = False
) -> AsyncIterator[Bus]:
    """Servers, connection and log, for reading. Without `postgres` no database is needed; without `create` (or `own`) nothing is made
    that is not there: `NoWorld`, or `NoLog` on given servers."""
    async with AsyncExitStack() as stack:
        servers = await stack.enter_async_context(open_servers(settings, own=own, postgres=postgres, create=create))
        connection = await stack.enter_async_context(connect(servers.nats_url, name=name))
        config = LogConfig(partitions=settings.partitions)
        log = await (open_log(connection, config) if own or create else open_existing(connection, config))
        stack.push_async_callback(log.aclose)
        yield Bus(settings=settings, servers=servers, connection=connection, log=log)


@asynccontextmanager
async def open_world(
    settings: Settings, *, own: bool = False, name: str = "worldbus", postgres: bool = True, create: bool = True
) -> AsyncIterator[World]:
    """Open a bus like `open_bus`, and a publisher: the first event makes the log.

    Raises `NotDurable` when the server does not prove what the settings promise, and `LogDamaged` when the log is not the one that was
    archived: an event that is published then would take the place of a lost one.
    """
    from bus.publisher import open_publisher

    async with open_bus(settings, own=own, name=name, postgres=postgres, create=create) as bus:
        if bus.servers.postgres_dsn:
            from worldbus.guard import held_against_archive

            await held_against_archive(bus.log, bus.servers.postgres_dsn, thorough=own)
        monitors = [bus.servers.nats_monitor_url] if bus.servers.nats_monitor_url else []
        async with open_publisher(bus.connection, bus.log, settings.durability, monitors=monitors) as publisher:
            yield World(settings=bus.settings, servers=bus.servers, connection=bus.connection, log=bus.log, publisher=publisher)
