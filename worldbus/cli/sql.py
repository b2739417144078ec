"""`worldbus sql`: ask the tables, as they are or as they were."""

from __future__ import annotations

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

from worldbus.cli.app import app
from worldbus.cli.moments import parse_moment
from worldbus.cli.options import json_option, run, settings_options
from worldbus.cli.output import Progress, remark, say, table

if TYPE_CHECKING:
    from projections.query import Answer
    from worldbus.settings import Settings

MAX_ROWS = 10_000
HUGE = 10**38  # whole numbers beyond it are printed as text: a reader of JSON would make doubles of them


@app.command()
@click.argument("statement")
@click.option(
    "--as-of", metavar="POSITION|TIME", help="Ask the past: a position, a time like 2026-11-22T12:00Z, or how long ago: 90s, 15m, 2h."
)
@click.option(
    "--format", "style", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True, help="How rows are printed."
)
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=MAX_ROWS, show_default=True, help="More rows than that are an error.")
@click.option("--timeout", type=click.FloatRange(0.01, 3600), default=5.0, show_default=True, help="Seconds that the answer may take.")
@json_option
@settings_options("data", "postgres_dsn", "reader_dsn")
def sql(statement: str, as_of: str | None, style: str, limit: int, timeout: float, as_json: bool, settings: Settings) -> None:
    """Answer one SELECT (or - to read it from stdin) with the rights of the read-only role.

    The tables are the views of schema `world`: clock, weather, players, … and `events`, the whole log. `worldbus sql "SELECT
    table_name FROM information_schema.tables WHERE table_schema = 'world'"` lists them. With --as-of the projections are folded anew
    up to that moment. With --json the answer is one JSON array of objects.
    """
    text = sys.stdin.read() if statement == "-" else statement
    answer = run(_ask(settings, text, as_of, {"limit": limit, "timeout": timeout}))
    render = {"json": as_json_text, "csv": as_csv, "table": as_table}["json" if as_json else style]
    say(render(answer))
    if style == "table" and not as_json:
        remark(f"({len(answer.rows)} row{'' if len(answer.rows) == 1 else 's'})")


async def _ask(settings: Settings, statement: str, as_of: str | None, limits: dict[str, Any]) -> Answer:
    from projections.past import past, position_at
    from projections.query import query
    from worldbus.compose import open_servers

    async with open_servers(settings, nats=False) as servers:
        if as_of is None:
            return await query(servers.reader_dsn, statement, **limits)
        at = parse_position_or_moment(as_of)
        position = at if isinstance(at, int) else await position_at(servers.postgres_dsn, at)
        with Progress() as progress:
            async with past(servers.postgres_dsn) as then:
                await then.advance(position, progress=lambda done, goal: progress(f"folding up to {goal}: {done}", done / max(1, goal)))
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
    """As Postgres writes it."""
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
