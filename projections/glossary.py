"""The meaning of tables and columns, given to Postgres as comments, so that every tool which shows the readers' views shows it too.

The words come from a projection's own SQL (COMMENT ON, or the line above its CREATE TABLE) and, for columns, from `glossary.txt`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import asyncpg
import structlog

from projections.projection import Projection
from projections.store import transaction

if TYPE_CHECKING:
    from asyncpg import Connection

log = structlog.get_logger(__name__)

_GLOSSARY: Final = Path(__file__).with_name("glossary.txt")
_TABLE: Final = re.compile(r"^-- (?P<said>.*(?:\n-- .*)*)\nCREATE TABLE (?P<name>\w+) \(", re.MULTILINE)
# What the views and the tables behind them have; attnum 0 is the relation itself.
_FOUND: Final = """
    SELECT v.relname AS view, coalesce(a.attname, '') AS "column", col_description(v.oid, coalesce(a.attnum, 0)) AS said,
           obj_description(v.oid, 'pg_class') AS title,
           (SELECT coalesce(CASE WHEN a.attname IS NULL THEN obj_description(b.oid, 'pg_class') END,
                            (SELECT col_description(b.oid, t.attnum) FROM pg_attribute t
                              WHERE t.attrelid = b.oid AND t.attname = a.attname))
              FROM pg_class b JOIN pg_namespace n ON n.oid = b.relnamespace
              JOIN pg_depend d ON d.refobjid = b.oid AND d.classid = 'pg_rewrite'::regclass
              JOIN pg_rewrite r ON r.oid = d.objid
             WHERE r.ev_class = v.oid AND n.nspname LIKE 'p\\_%' AND b.relname = v.relname LIMIT 1) AS behind
      FROM pg_class v
      LEFT JOIN LATERAL (SELECT NULL::name AS attname, NULL::smallint AS attnum
                         UNION ALL SELECT attname, attnum FROM pg_attribute WHERE attrelid = v.oid AND attnum > 0 AND NOT attisdropped) AS a
             ON true
     WHERE v.relnamespace = 'world'::regnamespace AND v.relkind = 'v'
     ORDER BY 1, 2
"""


@cache
def meanings() -> Mapping[str, str]:
    """By `column` or `view.column`, what it means."""
    lines = (line for line in _GLOSSARY.read_text().splitlines() if line and not line.startswith("#"))
    return dict(line.split(": ", 1) for line in lines)


def meaning(view: str, column: str) -> str | None:
    """The glossary's word on a column."""
    return meanings().get(f"{view}.{column}") or meanings().get(column)


def titles(projections: Iterable[Projection]) -> dict[str, str]:
    """By table, what its projection's SQL says above it."""
    found = (match for projection in projections for match in _TABLE.finditer(projection.sql))
    return {match["name"]: " ".join(match["said"].replace("\n-- ", " ").split()) for match in found}


async def describe(connection: Connection, projections: Iterable[Projection]) -> None:
    """Tell Postgres what the readers' views mean, where it does not know yet. `connection` is inside a transaction.

    Views that another role owns stay as they are.
    """
    statements = list(_statements(await connection.fetch(_FOUND), titles(projections)))
    if statements:
        try:
            async with transaction(connection):
                await connection.execute(";\n".join(statements))
        except asyncpg.InsufficientPrivilegeError as error:
            log.warning("views_not_described", reason=str(error))


def _statements(rows: Iterable[Mapping[str, str | None]], titles: Mapping[str, str]) -> Iterator[str]:
    for row in rows:
        view, column = row["view"] or "", row["column"] or ""
        if column:
            kind, target, now = "COLUMN", f'world."{view}"."{column}"', row["said"]
            wanted = row["behind"] or now or meaning(view, column)
        else:
            kind, target, now = "VIEW", f'world."{view}"', row["title"]
            wanted = row["behind"] or now or titles.get(view)
        if wanted and wanted != now:
            yield f"COMMENT ON {kind} {target} IS '{wanted.replace(chr(39), chr(39) * 2)}'"
