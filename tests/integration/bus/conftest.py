"""A connection, an empty log and a publisher on the run's nats-server; a server of its own for tests that kill it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from bus.connection import Connection, connect
from bus.log import Log, open_log
from bus.publisher import Publisher, open_publisher
from worldbus.embedded import NatsServer
from worldbus.testing.servers import delete_streams


@pytest_asyncio.fixture
async def connection(nats_server: NatsServer) -> AsyncIterator[Connection]:
    """A connection to a server without streams."""
    async with connect(nats_server.url, name="test") as opened:
        await delete_streams(opened, nats_server)
        yield opened


@pytest_asyncio.fixture
async def log(connection: Connection) -> AsyncIterator[Log]:
    """An empty log."""
    opened = await open_log(connection)
    yield opened
    await opened.aclose()


@pytest_asyncio.fixture
async def publisher(connection: Connection, log: Log) -> AsyncIterator[Publisher]:
    """A relaxed publisher."""
    async with open_publisher(connection, log, "relaxed") as opened:
        yield opened


@pytest.fixture
def own_server(data_folder: Path) -> Iterator[NatsServer]:
    """A nats-server that this test may kill."""
    server = NatsServer(data_folder / "nats", password="only-for-tests", strict=False)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def strict_server(data_folder: Path) -> Iterator[NatsServer]:
    """A nats-server that syncs before it acknowledges."""
    server = NatsServer(data_folder / "strict", password="only-for-tests", strict=True)
    server.start()
    yield server
    server.stop()
