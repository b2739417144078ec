"""Connections to Postgres, what its errors mean for running work, and those errors in our words.

What an error means follows from the class of its SQLSTATE, never from a list of exceptions: a state of the server that nobody thought of
is still one.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

import asyncpg
import structlog

from bus.errors import BadSettings, StoreRefused, StoreUnavailable, WorldbusError

if TYPE_CHECKING:
    from asyncpg import Connection

log = structlog.get_logger(__name__)

TROUBLE: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
"""Errors that Postgres, the way to it or its driver may raise."""

VIEWS: Final = "world"  # the schema that readers see
CLOSE_S: Final = 2.0
STATEMENTS: Final = 2000  # prepared and kept on one connection
_PG_EPOCH: Final = 946_684_800_000_000  # microseconds from 1970 to 2000
_KEEPALIVE: Final = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 25_000}  # s, s, tries, ms


class Meaning(Enum):
    """The demand of an error of Postgres on whoever meets it."""

    STATE = "the server, or the way to it, is not well at the moment: wait, then try again"
    REFUSED = "the server does not let this role in: wrong settings at the first start, a state of the server after hours of work"
    VALUE = "a value that Postgres cannot hold: its event is skipped, on record"
    FAULT = "the statement, the tables or the server's disk are not what they should be"


# Connection · transaction (read-only, idle too long) · prepared statement lost · rollback (deadlock, serialization) · resources
# (disk, connections, memory) · not in the right state (locked) · operator (shutdown, cancel) · system (I/O) · snapshot.
_STATE: Final = frozenset({"08", "25", "26", "40", "53", "55", "57", "58", "72"})
# Authorization · no such database · grants · role.  42501 is "permission denied", alone of its class.
_REFUSED: Final = frozenset({"28", "3D", "0L", "0P"})
_DENIED: Final = "42501"
# Data · integrity · beyond a limit of the program.
_VALUE: Final = frozenset({"22", "23", "54"})


def meaning(error: BaseException) -> Meaning | None:
    """The meaning of `error`; None if it came neither from Postgres nor from the way to it."""
    if isinstance(error, (asyncpg.InvalidCachedStatementError, asyncpg.OutdatedSchemaCacheError)):
        return Meaning.STATE  # somebody changed the tables under a connection: a new one sees them as they are
    if isinstance(error, asyncpg.PostgresError):
        return meaning_of(error.sqlstate or "")
    if isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError):
        return Meaning.VALUE  # the driver cannot send it
    return Meaning.STATE if isinstance(error, TROUBLE) else None


def meaning_of(sqlstate: str) -> Meaning:
    """The meaning of an SQLSTATE, by its class."""
    if sqlstate[:2] in _STATE:
        return Meaning.STATE
    if sqlstate[:2] in _REFUSED or sqlstate == _DENIED:
        return Meaning.REFUSED
    return Meaning.VALUE if sqlstate[:2] in _VALUE else Meaning.FAULT


def passes(error: BaseException, connection: Connection | None = None) -> bool:
    """True if waiting and a new connection may help."""
    return isinstance(error, StoreUnavailable) or meaning(error) is Meaning.STATE or (connection is not None and connection.is_closed())


def answered(error: StoreUnavailable) -> bool:
    """True if a server is there, that said itself why it does not work at the moment."""
    return not isinstance(error.__cause__, (OSError, TimeoutError))


@contextmanager
def in_our_words(while_doing: str, connection: Connection | None = None, *, at_work: bool = False) -> Iterator[None]:
    """Raise `StoreUnavailable` for what may pass, `StoreRefused` for what the server refuses; everything else as it is.

    `while_doing` ends the sentence "Postgres … while …". Whatever ended `connection` may pass, and so may a refusal where Postgres served
    before (`at_work`).
    """
    try:
        yield
    except TROUBLE as error:
        said = translated(error, while_doing, at_work=at_work)
        if said is None and connection is not None and connection.is_closed():
            said = StoreUnavailable(f"Postgres ended the connection while {while_doing}: {_told(error)}; trying again helps")
        if said is None:
            raise
        raise said from error


def translated(error: BaseException, while_doing: str, *, at_work: bool = False) -> WorldbusError | None:
    """The error in our words, if it is about the server's state or its refusal."""
    match meaning(error):
        case Meaning.STATE:
            return StoreUnavailable(f"Postgres is not well while {while_doing}: {_told(error)}; trying again helps once that is over")
        case Meaning.REFUSED:
            problem = StoreUnavailable if at_work else StoreRefused
            return problem(f"Postgres refuses this role while {while_doing}: {_told(error)}; {_way_out(error)}")
        case _:
            return None


def _told(error: BaseException) -> str:
    state = getattr(error, "sqlstate", None)
    if state:
        return f"{error} ({state})"
    ended = isinstance(error, (asyncpg.InterfaceError, asyncpg.InternalClientError))
    return f"the connection ended ({error!r})" if ended else repr(error)


def _way_out(error: BaseException) -> str:
    match getattr(error, "sqlstate", "") or "":
        case "28P01":
            return "check the password in the address"
        case "3D000":
            return "create that database, or name another one in the address"
        case state if state.startswith("28"):
            return "let the role log in (ALTER ROLE … LOGIN, pg_hba.conf), or give the address of another one"
        case _:
            return "grant it what it asks for (docs/how-to/run-on-your-own-servers.md), or give the address of another role"


async def connect(dsn: str, *, raw_times: bool = False) -> Connection:
    """A connection; with `raw_times` timestamptz is microseconds since 1970, in and out.

    Raises `StoreUnavailable`, `StoreRefused`, and `BadSettings` for an address that cannot be used.
    Nothing is set at its start but its name: a pooler would refuse it, or give the setting to somebody else. What a piece of work needs it
    sets with SET LOCAL, in its own transaction.
    """
    with connecting():
        connection = await _open(dsn, statement_cache_size=STATEMENTS)
        if await is_pooled(connection):
            await close(connection)
            connection = await _open(dsn, statement_cache_size=0)
        if raw_times:
            await connection.set_type_codec(
                "timestamptz",
                schema="pg_catalog",
                format="tuple",
                encoder=lambda micros: (micros - _PG_EPOCH,),
                decoder=lambda parts: parts[0] + _PG_EPOCH,
            )
    return connection


async def _open(dsn: str, *, statement_cache_size: int) -> Connection:
    connection = await asyncpg.connect(
        dsn, timeout=10, command_timeout=None, statement_cache_size=statement_cache_size, max_cached_statement_lifetime=0,
        server_settings={"application_name": "worldbus"},
    )  # fmt: skip
    notice_silence(connection)
    return connection


@contextmanager
def connecting() -> Iterator[None]:
    """Errors of opening connections in our words; a pooler that refuses a parameter is told apart from a server that is not well."""
    try:
        with in_our_words("a connection was opened"):
            yield
    except StoreUnavailable as error:
        refused = str(error.__cause__)
        if "unsupported startup parameter" not in refused:
            raise
        name = refused.rpartition("parameter:")[2].strip(" ()").split(",")[0] or "?"
        raise BadSettings(
            f"the pooler before Postgres refuses the start-up parameter {name}: take it out of the address, or add it to "
            "ignore_startup_parameters in pgbouncer.ini",
            parameter=name,
        ) from error
    except asyncpg.InterfaceError as error:  # an address that cannot be read
        raise BadSettings(f"wanted an address like postgresql://user:password@host:5432/database, found one that says: {error}") from error


async def is_pooled(connection: Connection) -> bool:
    """True if a pooler stands between us and Postgres: then the process that answers is not the one that greeted us.

    Asked without a prepared statement, which a pooler might lose.
    """
    try:
        await connection.execute(f"SELECT 1 / (pg_backend_pid() = {int(connection.get_server_pid())})::int")
    except asyncpg.DivisionByZeroError:
        return True
    return False


def notice_silence(connection: Any) -> None:
    """Let the kernel notice within half a minute that a connection over TCP leads nowhere any more (a cut network says nothing)."""
    found = connection._transport.get_extra_info("socket")
    if found is None or found.family == socket.AF_UNIX:
        return
    found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):  # Linux has all of them
            found.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


@asynccontextmanager
async def connected(dsn: str, *, raw_times: bool = False) -> AsyncIterator[Connection]:
    """`connect`, closed at the end."""
    connection = await connect(dsn, raw_times=raw_times)
    try:
        yield connection
    finally:
        await close(connection)


async def close(connection: Connection) -> None:
    """Close quickly; a connection that is gone already is fine."""
    try:
        await connection.close(timeout=CLOSE_S)
    except TROUBLE:
        connection.terminate()


@asynccontextmanager
async def open_pool(
    dsn: str, *, name: str, most: int, timeout_s: float | None = None, patient: bool = False
) -> AsyncIterator[asyncpg.Pool]:
    """At most `most` connections; `timeout_s` bounds each command. Raises as `connect`; `patient`: connects when that is possible."""
    cache = 0  # right for every server, and slower
    try:
        async with connected(dsn) as first:
            cache = 0 if await is_pooled(first) else STATEMENTS // 10
    except (StoreUnavailable, StoreRefused) as error:
        if not patient:
            raise
        log.warning("postgres_awaited", by=name, reason=str(error))
    with connecting():
        opened = await asyncpg.create_pool(
            dsn, min_size=0 if patient else 1, max_size=most, timeout=timeout_s or 10, command_timeout=timeout_s, init=_silent_too,
            statement_cache_size=cache, server_settings={"application_name": name},
        )  # fmt: skip
    try:
        yield opened
    finally:
        try:
            async with asyncio.timeout(CLOSE_S):  # in order, but not for ever: a database may hang
                await opened.close()
        except TROUBLE:
            opened.terminate()


async def _silent_too(connection: Connection) -> None:
    notice_silence(connection)


@asynccontextmanager
async def transaction(connection: Connection, *, settings: str = "", undo: bool = False, **kind: Any) -> AsyncIterator[None]:
    """Like `connection.transaction(**kind)`, with `settings` (`SET LOCAL …`) for its length; with `undo` it is rolled back at its end too.

    The first error is the one seen: a rollback that fails as well says nothing new.
    """
    opened = connection.transaction(**kind)
    await opened.start()
    try:
        if settings:
            await connection.execute(settings)
        yield
    except BaseException as error:
        if not connection.is_closed() and not isinstance(error, (OSError, TimeoutError)):
            with suppress(*TROUBLE):
                await opened.rollback()
        raise
    await (opened.rollback() if undo else opened.commit())


def migrated(error: Any) -> BadSettings:
    """The error for a database in which worldbus' own tables are not there."""
    return BadSettings(f"wanted worldbus' tables in this database, found {error}: run `worldbus migrate`")
