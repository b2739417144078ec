"""A migrated database per test, and events for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import asyncpg
import pytest

from migrations import migrate
from worldbus.embedded import PostgresServer


@pytest.fixture
def database(empty_database: str) -> str:
    """The owner's address of a migrated database of this test's own."""
    migrate(empty_database)
    return empty_database


@pytest.fixture
def reader(database: str, postgres_server: PostgresServer) -> str:
    """The same database as the read-only role sees it."""
    return postgres_server.address("worldbus_reader", urlsplit(database).path[1:])


@pytest.fixture
async def connection(database: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the owner, to look at tables."""
    opened = await asyncpg.connect(database)
    yield opened
    await opened.close()
