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

from bus.errors import Rejected
from projections import values
from projections.store import VIEWS, Meaning, connected, in_our_words, meaning, transaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncpg import Connection
    from asyncpg.prepared_stmt import PreparedStatement

MAX_ROWS = 10_000
TIMEOUT_S = 5.0
MAX_BYTES = 10_000_000  # text and bytes in one answer
FETCH = 500  # rows at a time
_SERVERS = frozenset({"25P03", "25P04", "55006", "55P03"})  # of the classes 25 and 55, those that no statement is to blame for


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
    """Column names, and rows in that order: Python's values, or Postgres' text where Python has none (`projections.values`)."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


async def query(dsn: str, sql: str, *, limit: int = MAX_ROWS, timeout: float = TIMEOUT_S) -> Answer:
    """Answer `sql` as the role of `dsn` (the reader's). Raises `SqlRejected`, `SqlTimeout`, `SqlTooManyRows`, or `StoreUnavailable`."""
    try:
        async with asyncio.timeout(timeout + 2), connected(dsn) as connection:
            with in_our_words("it was asked", connection):
                async with transaction(connection, settings=f"SET LOCAL search_path = {VIEWS}", readonly=True, undo=True):
                    return await ask(connection, sql, limit, timeout)
    except TimeoutError as error:
        raise _too_slow(timeout) from error


async def ask(connection: Connection, sql: str, limit: int, timeout: float) -> Answer:
    """`query` on a connection that is inside a READ ONLY transaction."""
    text, most = _trimmed(sql), int(limit) + 1
    try:
        await connection.execute(f"SET LOCAL statement_timeout = {max(1, int(timeout * 1000))}; {values.SETTINGS}")
        statement = await connection.prepare(f"SELECT * FROM (\n{text}\n) AS q LIMIT {most}")  # noqa: S608 - that is the point
        attributes = statement.get_attributes()
        if statement.get_parameters():
            raise SqlRejected("wanted a statement without parameters, found $1: write the values out")
        readings = values.readings(attributes)
        if not values.plain(readings):
            select, alias = values.selected(readings, "q")
            statement = await connection.prepare(f"SELECT {select} FROM (\n{text}\n) AS {alias} LIMIT {most}")  # noqa: S608
        rows = await _fetch(statement, limit, values.decoder(readings))
    except asyncpg.PostgresError as error:
        refused = _refused(error, timeout)
        if refused is None:
            raise
        raise refused from error
    except (asyncpg.UnsupportedClientFeatureError, ValueError, ArithmeticError) as error:
        raise SqlRejected(f"wanted values that can be printed, found: {error}; write ::text behind the column that is meant") from error
    return Answer(tuple(attribute.name for attribute in attributes), rows)


def _refused(error: asyncpg.PostgresError, timeout: float) -> Rejected | None:
    """The error that the statement is to blame for; None where the server is."""
    match error:
        case asyncpg.QueryCanceledError():
            return _too_slow(timeout)
        case asyncpg.ConfigurationLimitExceededError() | asyncpg.ProgramLimitExceededError() | asyncpg.OutOfMemoryError():
            return SqlTooManyRows(f"the answer needs more memory or disk than a reader may use ({error}): narrow it down")
        case asyncpg.InvalidTransactionStateError() | asyncpg.ObjectNotInPrerequisiteStateError() if (error.sqlstate or "") not in _SERVERS:
            return SqlRejected(f"wanted one SELECT, found: {error}")  # it writes, or asks a sequence that has said nothing yet
    return None if meaning(error) is Meaning.STATE else SqlRejected(f"wanted one SELECT, found: {error}")


async def _fetch(statement: PreparedStatement, limit: int, decode: Callable[[Any], tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    size = 0
    cursor = await statement.cursor()
    while found := await cursor.fetch(FETCH):
        rows += map(decode, found)
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
