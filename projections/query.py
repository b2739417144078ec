"""SQL for readers: one statement that can only read, with a limit on time and rows.

The rights of the role are the boundary (migrations/*_readers.sql). On top of that a statement travels by the extended protocol, which takes
exactly one, wrapped as a subquery, where Postgres accepts nothing but a query, in a READ ONLY transaction that ends with the answer. So
SET, COPY, DO, DDL, writing CTEs and stacked statements are refused before they run.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import asyncpg

from bus.errors import Rejected, StoreUnavailable
from projections.store import LOST, close, connect

if TYPE_CHECKING:
    from asyncpg import Connection
    from asyncpg.prepared_stmt import PreparedStatement

MAX_ROWS = 10_000
TIMEOUT_S = 5.0
MAX_BYTES = 10_000_000  # text and bytes in one answer
FETCH = 500  # rows at a time


class SqlRejected(Rejected):
    """Not one readable query; Postgres' own words are in the message."""

    code = "SQL_REJECTED"


class SqlTimeout(Rejected):
    """Took longer than allowed."""

    code = "SQL_TIMEOUT"


class SqlTooManyRows(Rejected):
    """More rows, or more bytes, than allowed."""

    code = "SQL_TOO_MANY_ROWS"


@dataclass(frozen=True, slots=True)
class Answer:
    """Column names, and rows of Python values in that order."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


async def query(dsn: str, sql: str, *, limit: int = MAX_ROWS, timeout: float = TIMEOUT_S) -> Answer:
    """Answer `sql` as the role of `dsn` (the reader's). Raises `SqlRejected`, `SqlTimeout`, `SqlTooManyRows`, or `StoreUnavailable`."""
    try:
        async with asyncio.timeout(timeout + 2):
            connection = await connect(dsn, search_path="world")
            try:
                async with connection.transaction(readonly=True):
                    return await ask(connection, sql, limit, timeout)
            finally:
                await close(connection)
    except TimeoutError as error:
        raise _too_slow(timeout) from error
    except (*LOST, asyncpg.InterfaceError) as error:
        raise StoreUnavailable(f"Postgres went away while answering: {error!r}; ask again") from error


async def ask(connection: Connection, sql: str, limit: int, timeout: float) -> Answer:
    """`query` on a connection that is inside a READ ONLY transaction."""
    try:
        await connection.execute(f"SET LOCAL statement_timeout = {max(1, int(timeout * 1000))}")
        statement = await connection.prepare(f"SELECT * FROM (\n{_trimmed(sql)}\n) AS q LIMIT {int(limit) + 1}")  # noqa: S608 - that is the point
        columns = tuple(attribute.name for attribute in statement.get_attributes())
        if statement.get_parameters():
            raise SqlRejected("wanted a statement without parameters, found $1: write the values out")
        rows = await _fetch(statement, limit)
    except asyncpg.QueryCanceledError as error:
        raise _too_slow(timeout) from error
    except (asyncpg.ConfigurationLimitExceededError, asyncpg.ProgramLimitExceededError, asyncpg.OutOfMemoryError) as error:
        raise SqlTooManyRows(f"the answer needs more memory or disk than a reader may use ({error}): narrow it down") from error
    except (asyncpg.AdminShutdownError, asyncpg.CrashShutdownError, asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError):
        raise
    except (asyncpg.PostgresError, ValueError) as error:
        raise SqlRejected(f"wanted one SELECT, found: {error}") from error
    return Answer(columns, rows)


async def _fetch(statement: PreparedStatement, limit: int) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    size = 0
    cursor = await statement.cursor()
    while found := await cursor.fetch(FETCH):
        rows += map(tuple, found)
        size += sum(len(cell) for row in found for cell in row if isinstance(cell, (str, bytes)))
        if len(rows) > limit:
            raise SqlTooManyRows(f"the answer has more than {limit} rows: add a WHERE or LIMIT, or ask for more rows", limit=limit)
        if size > MAX_BYTES:
            raise SqlTooManyRows(f"the answer has more than {MAX_BYTES} bytes: ask for fewer columns or rows", limit=MAX_BYTES)
    return rows


def _trimmed(sql: str) -> str:
    """Without the semicolon that people end a statement with."""
    text = sql.strip()
    while text.endswith(";"):
        text = text[:-1].rstrip()
    if not text:
        raise SqlRejected("wanted a statement, found none")
    if "\0" in text:
        raise SqlRejected("wanted text, found a NUL character in the statement")
    return text


def _too_slow(timeout: float) -> SqlTimeout:
    return SqlTimeout(f"no answer within {timeout:g} s: narrow the statement down or allow more time", timeout=timeout)
