"""Connections to Postgres, and its errors in our words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg

from bus.errors import BadSettings, StoreUnavailable

if TYPE_CHECKING:
    from asyncpg import Connection

# Everything that says "the server, or our connection to it, went away". What was asked may or may not have been done.
LOST = (
    *(ConnectionError, OSError, asyncio.TimeoutError, asyncpg.InternalClientError),
    *(asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError, asyncpg.AdminShutdownError, asyncpg.CrashShutdownError),
    *(asyncpg.TooManyConnectionsError, asyncpg.InsufficientResourcesError, asyncpg.TransactionRollbackError, asyncpg.QueryCanceledError),
)
_PG_EPOCH = 946_684_800_000_000  # microseconds from 1970 to 2000


async def connect(dsn: str, *, raw_times: bool = False, **settings: str) -> Connection:
    """A connection; with `raw_times` timestamptz is microseconds since 1970, in and out. Raises `StoreUnavailable` or `BadSettings`."""
    try:
        connection = await asyncpg.connect(
            dsn, timeout=10, command_timeout=None, statement_cache_size=2000, max_cached_statement_lifetime=0,
            server_settings={"application_name": "worldbus", **settings},
        )  # fmt: skip
    except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError, asyncpg.InsufficientPrivilegeError) as error:
        raise BadSettings(f"Postgres refuses the connection: {error}") from error
    except LOST as error:
        raise StoreUnavailable(f"wanted a connection to Postgres, found {error!r}: it may be starting; trying again helps") from error
    if raw_times:
        await connection.set_type_codec(
            "timestamptz",
            schema="pg_catalog",
            format="tuple",
            encoder=lambda micros: (micros - _PG_EPOCH,),
            decoder=lambda parts: parts[0] + _PG_EPOCH,
        )
    return connection


@asynccontextmanager
async def connected(dsn: str, *, raw_times: bool = False, **settings: str) -> AsyncIterator[Connection]:
    """`connect`, closed at the end."""
    connection = await connect(dsn, raw_times=raw_times, **settings)
    try:
        yield connection
    finally:
        await close(connection)


async def close(connection: Connection) -> None:
    """Close quickly; a connection that is gone already is fine."""
    try:
        await connection.close(timeout=2)
    except (*LOST, asyncpg.InterfaceError):
        connection.terminate()


@asynccontextmanager
async def transaction(connection: Connection) -> AsyncIterator[None]:
    """Like `connection.transaction()`, but asks nothing more of a connection that is gone, so that the first error is the one seen."""
    opened = connection.transaction()
    await opened.start()
    try:
        yield
    except BaseException as error:
        if not is_lost(error, connection):
            await opened.rollback()
        raise
    await opened.commit()


def is_lost(error: BaseException, connection: Connection | None = None) -> bool:
    """Whether `error` means that the connection is gone, rather than that the statement was wrong."""
    if isinstance(error, (asyncpg.InterfaceError, *LOST)):
        return not isinstance(error, asyncpg.DataError)
    return connection is not None and connection.is_closed()


def migrated(error: Any) -> BadSettings:
    """What to say when worldbus' own tables are not there."""
    return BadSettings(f"wanted worldbus' tables in this database, found {error}: run `worldbus migrate`")
