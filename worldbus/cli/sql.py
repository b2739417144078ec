"""`worldbus sql`: ask the tables, as they are or as they were."""

from __future__ import annotations

import asyncio
import base64
import csv
import io
import json
import sys
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click

from bus.errors import BadSettings
from worldbus.cli.app import app
from worldbus.cli.moments import parse_moment
from worldbus.cli.options import json_option, run, settings_options
from worldbus.cli.output import Progress, remark, say, table
from worldbus.cli.tables import COLUMNS, TABLES, complete_tables, meant_table

if TYPE_CHECKING:
    from projections.query import Answer
    from worldbus.embedded import Servers
    from worldbus.settings import Settings

MAX_ROWS = 10_000
HUGE = 10**38  # whole numbers beyond it are printed as text: a reader of JSON would make doubles of them


def _listing(table: str | None) -> str:
    """The statement that lists tables, or the columns of one."""
    if table is None:
        return TABLES
    if not table.replace("_", "").isalnum() or not table.isascii():
        raise BadSettings(f"--tables: wanted the name of a table, found {table[:80]!r}: leave it out to list them")
    return COLUMNS.format(table=table)


@app.command()
@click.argument("statement", required=False, shell_complete=complete_tables)
@click.option("--tables", "tables_", is_flag=True, help="List the tables, or the columns of the one named STATEMENT.")
@click.option(
    "--as-of", metavar="POSITION|TIME", help="Ask the past: a position, a time like 2026-11-22T12:00Z, or how long ago: 90s, 15m, 2h."
)
@click.option(
    "--format", "style", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True, help="How rows are printed."
)
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=MAX_ROWS, show_default=True, help="More rows than that are an error.")
@click.option("--timeout", type=click.FloatRange(0.01, 3600), default=5.0, show_default=True, help="Seconds that the answer may take.")
@click.option("-q", "--quiet", is_flag=True, help="Nothing on stderr but errors: no count of rows, no word about tables that are behind.")
@json_option
@settings_options("data", "postgres_dsn", "reader_dsn")
def sql(statement: str | None, tables_: bool, as_of: str | None, style: str, limit: int, timeout: float, quiet: bool, as_json: bool,
        settings: Settings) -> None:  # fmt: skip
    """Answer one SELECT (or - to read it from stdin) with the rights of the read-only role.

    The tables are the views of schema `world`: clock, weather, players, … and `events`, the whole log; --tables lists them. With --as-of
    the projections are folded anew up to that moment. With --json the answer is one JSON array of objects. Tables that are behind the log,
    or that nobody brings up to date, are named on stderr.
    """
    if statement is None and not tables_:
        raise BadSettings("wanted one SELECT, or - to read it from stdin, found none: `worldbus sql --tables` lists what there is to ask")
    text = _listing(statement) if tables_ else sys.stdin.read() if statement == "-" else str(statement)
    answer, behind = run(_ask(settings, text, as_of, {"limit": limit, "timeout": timeout}, quiet))
    render = {"json": as_json_text, "csv": as_csv, "table": as_table}["json" if as_json else style]
    say(render(answer))
    if quiet:
        return
    if style == "table" and not as_json:
        remark(f"({len(answer.rows)} row{'' if len(answer.rows) == 1 else 's'})")
    if behind:
        remark(f"note: {behind}")


async def _ask(settings: Settings, statement: str, as_of: str | None, limits: dict[str, Any], quiet: bool) -> tuple[Answer, str]:
    """The answer, and how far behind the tables were that gave it."""
    from worldbus.drift import drift
    from worldbus.servers import open_servers

    async with open_servers(settings, nats=False) as servers:
        answer, found = await asyncio.gather(_answer(servers, statement, as_of, limits), _none() if quiet else drift(servers))
    return answer, str(found or "")


async def _none() -> None:
    return None


async def _answer(servers: Servers, statement: str, as_of: str | None, limits: dict[str, Any]) -> Answer:
    from projections.query import SqlRejected, query

    try:
        if as_of is None:
            return await query(servers.reader_dsn, statement, **limits)
        return await _answer_then(servers, statement, as_of, limits)
    except SqlRejected as error:
        if question := await meant_table(servers.reader_dsn, error):
            raise SqlRejected(f"{error}{question}", **error.facts) from error
        raise


async def _answer_then(servers: Servers, statement: str, as_of: str, limits: dict[str, Any]) -> Answer:
    from projections.past import past, position_at
    from worldbus.games import current

    at = parse_position_or_moment(as_of)
    position = at if isinstance(at, int) else await position_at(servers.postgres_dsn, at)
    with Progress() as progress:
        async with past(servers.postgres_dsn, current().projections) as then:
            await then.advance(position, progress=lambda done, goal: progress(f"folding up to {goal}: {done}", done / max(1, goal)))
            then.moment = None if isinstance(at, int) else at
            progress.clear()
            remark(f"as of position {position}")
            return await then.ask(statement, **limits)


def parse_position_or_moment(text: str) -> int | datetime:
    """A position is written in digits alone; anything else is a time."""
    return int(text) if text.isdecimal() and text.isascii() else parse_moment(text)


def as_table(answer: Answer) -> str:
    """Columns for people."""
    return table([[_plain(cell) for cell in row] for row in answer.rows], answer.columns)


def as_json_text(answer: Answer) -> str:
    """One array of objects. Of two columns of one name the last one counts, as JSON has it."""
    return json.dumps([dict(zip(answer.columns, map(_plain, row), strict=True)) for row in answer.rows], ensure_ascii=False)


def as_csv(answer: Answer) -> str:
    """RFC 4180, with a header; null is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(answer.columns)
    writer.writerows([[_in_csv(_plain(cell)) for cell in row] for row in answer.rows])
    return text.getvalue().rstrip("\n")


def _digits(value: Decimal) -> str:
    """The number in Postgres' own spelling."""
    return format(value, "f") if value.is_finite() else str(value)


def _in_csv(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else value


def _plain(value: Any) -> Any:
    """A value of Postgres as JSON can say it: times in ISO 8601, exact numbers as they are, bytes in base64."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if value == value and abs(value) != float("inf") else str(value)
        case Decimal():
            return int(value) if value.is_finite() and abs(value) < HUGE and value == value.to_integral_value() else _digits(value)
        case datetime() | date():
            return value.isoformat()
        case bytes():
            return base64.b64encode(value).decode()
        case dict():
            return {str(key): _plain(one) for key, one in value.items()}
        case Sequence():
            return [_plain(one) for one in value]
        case _:
            return str(value)
