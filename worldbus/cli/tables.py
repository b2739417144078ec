"""The names of readers' tables: listed, completed in the shell, and guessed where one was misspelt."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worldbus.cli.meant import meant
from worldbus.cli.names import of_the_game

if TYPE_CHECKING:
    from bus.errors import WorldbusError

TABLES = """
    SELECT c.relname AS "table", split_part(coalesce(obj_description(c.oid, 'pg_class'), ''), E'\\n', 1) AS holds
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = 'world' AND c.relkind IN ('v', 'r', 'm') ORDER BY 1
"""
COLUMNS = """
    SELECT a.attname AS "column", format_type(a.atttypid, a.atttypmod) AS type, coalesce(col_description(c.oid, a.attnum), '') AS means
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
     WHERE n.nspname = 'world' AND c.relname = '{table}' AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
_MADE = re.compile(r"^CREATE (?:OR REPLACE )?(?:TABLE|VIEW|MATERIALIZED VIEW) (?:world\.)?(\w+)", re.MULTILINE)
_UNKNOWN = re.compile(r'relation "(?:world\.)?([^"]+)" does not exist')
_ROOT = Path(__file__).parents[2]


def complete_tables(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Completion of the last word of a statement: the shell hands over the whole of it as one."""
    before, space, word = incomplete.rpartition(" ")
    return [f"{before}{space}{name}" for name in known() if name.startswith(word)]


def known() -> list[str]:
    """The tables of this release and of the game, as their SQL makes them; no server is asked."""
    folders = (_ROOT / "projections", *of_the_game())
    files = [*(path for folder in folders for path in folder.rglob("*.sql")), *(_ROOT / "migrations").glob("2*.sql")]
    return sorted({name for file in files for name in _MADE.findall(file.read_text(encoding="utf-8")) if name != "worldbus"})


async def meant_table(dsn: str, error: WorldbusError) -> str:
    """A guess at the table that was meant by one that is not there; empty for other errors."""
    unknown = _UNKNOWN.search(str(error))
    if unknown is None:
        return ""
    from projections.query import query

    names = [str(row[0]) for row in (await query(dsn, TABLES)).rows]
    return meant([unknown[1]], names) or ": `worldbus sql --tables` lists them"
