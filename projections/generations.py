"""The generations of a projection: one Postgres schema each, of which one is live behind the readers' views."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import asyncpg

from bus.errors import BadSettings
from projections.fold import Column, Shape
from projections.made import made_by
from projections.projection import Projection
from projections.store import VIEWS

if TYPE_CHECKING:
    from asyncpg import Connection

READERS = "worldbus_reader"

_LOAD = """
    SELECT projection, generation, version, schema_name, stopped_at, live,
           coalesce(obj_description(to_regnamespace(quote_ident(schema_name)), 'pg_namespace'), '') AS made_by
      FROM worldbus.generations ORDER BY projection, generation
"""
_ADD = """
    INSERT INTO worldbus.generations (projection, generation, version, schema_name, stopped_at, live, switched_at)
    SELECT $1, g, $2, format('p_%s_%s_%s', $1::text, $2::int, g), $3, $4, CASE WHEN $4 THEN now() END
      FROM (SELECT coalesce(max(generation), 0) + 1 FROM worldbus.generations WHERE projection = $1) AS n(g)
    RETURNING projection, generation, version, schema_name, stopped_at, live, '' AS made_by
"""
_COLUMNS = """
    SELECT c.relname AS table, a.attname AS column, t.typname AS udt, a.atttypmod AS modifier, a.attnotnull AS not_null,
           pg_get_expr(d.adbin, d.adrelid) AS default, a.attidentity <> '' AS automatic, a.attgenerated = 's' AS derived,
           ARRAY(SELECT ka.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS u(num, n)
                   JOIN pg_attribute ka ON ka.attrelid = c.oid AND ka.attnum = u.num ORDER BY u.n) AS key
      FROM pg_class c
      JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
      JOIN pg_type t ON t.oid = a.atttypid
      LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
      LEFT JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype = 'p'
     WHERE c.relnamespace = to_regnamespace($1) AND c.relkind = 'r'
     ORDER BY c.relname, a.attnum
"""
_RULES = """
    SELECT c.relname AS table, coalesce(k.conname, x.relname) AS rule
      FROM pg_class c
      LEFT JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype NOT IN ('p', 'n')
      LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisunique AND NOT i.indisprimary
      LEFT JOIN pg_class x ON x.oid = i.indexrelid
     WHERE c.relnamespace = to_regnamespace($1) AND c.relkind = 'r' AND (k.oid IS NOT NULL OR x.oid IS NOT NULL)
"""
_RELATIONS = "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace($1) AND relkind IN ('r', 'v', 'm') ORDER BY relname"
_SHOWN = """
    SELECT DISTINCT v.relname AS view, n.nspname AS schema
      FROM pg_class v JOIN pg_rewrite r ON r.ev_class = v.oid JOIN pg_depend d ON d.objid = r.oid AND d.classid = 'pg_rewrite'::regclass
      JOIN pg_class b ON b.oid = d.refobjid JOIN pg_namespace n ON n.oid = b.relnamespace
     WHERE v.relnamespace = 'world'::regnamespace AND n.nspname LIKE 'p\\_%'
"""
_TO_GATEWAY = """
    DO $$ BEGIN
        IF to_regprocedure('worldbus.grant_to_gateway()') IS NOT NULL THEN PERFORM worldbus.grant_to_gateway(); END IF;
    END $$
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One filled or filling copy of a projection. `stopped_at` is its last position; None while it moves in step with the checkpoint.

    `made_by` is the digest of the projection that it was made for (`projections.made`); empty: an older release made it.
    """

    projection: str
    generation: int
    version: int
    schema: str
    stopped_at: int | None
    live: bool
    made_by: str = ""


def _generation(row: asyncpg.Record) -> Generation:
    return Generation(
        projection=row["projection"], generation=row["generation"], version=row["version"], schema=row["schema_name"],
        stopped_at=row["stopped_at"], live=row["live"], made_by=row["made_by"],
    )  # fmt: skip


async def load(connection: Connection) -> list[Generation]:
    """Every generation on record."""
    return [_generation(row) for row in await connection.fetch(_LOAD)]


async def create(connection: Connection, projection: Projection, *, stopped_at: int | None, live: bool = False) -> Generation:
    """Make the next generation's schema and empty tables. Call it inside a transaction."""
    made = _generation(await connection.fetchrow(_ADD, projection.name, projection.version, stopped_at, live))
    await build(connection, projection, made.schema)
    digest = made_by(projection)
    await connection.execute(f"COMMENT ON SCHEMA \"{made.schema}\" IS '{digest}'")
    return replace(made, made_by=digest)


async def build(connection: Connection, projection: Projection, schema: str) -> dict[str, Shape]:
    """Run the projection's SQL in a new schema; the shapes of its tables. Raises `BadSettings` if that SQL and they do not agree."""
    try:
        await connection.execute(f'CREATE SCHEMA "{schema}"')
        async with _Searching(connection, schema):
            await connection.execute(projection.sql)
    except asyncpg.PostgresSyntaxError as error:
        raise BadSettings(f"the SQL of projection {projection.name} is not valid: {error}") from error
    return await shapes(connection, projection, schema)


class _Searching:
    """`schema` comes first among the names of this transaction; afterwards what was before."""

    def __init__(self, connection: Connection, schema: str) -> None:
        self._connection = connection
        self._schema = schema

    async def __aenter__(self) -> None:
        self._before = await self._connection.fetchval("SHOW search_path")
        await self._connection.execute(f'SET LOCAL search_path = "{self._schema}", public')

    async def __aexit__(self, kind: object, error: object, traceback: object) -> None:
        if kind is None:
            await self._connection.execute(f"SET LOCAL search_path = {self._before}")


async def shapes(connection: Connection, projection: Projection, schema: str) -> dict[str, Shape]:
    """The tables of one generation as Postgres has them, held against what the projection says of them.

    Raises `BadSettings` for what would make the rows depend on more than the events, or on how the log was cut into batches.
    """
    found: dict[str, list[Column]] = {}
    keys: dict[str, tuple[str, ...]] = {}
    for row in await connection.fetch(_COLUMNS, f'"{schema}"'):
        if row["derived"]:  # a function of its own row, which Postgres keeps; nobody writes it
            continue
        column = Column(row["column"], row["udt"], row["modifier"], row["not_null"])
        found.setdefault(row["table"], []).append(column)
        keys[row["table"]] = tuple(row["key"])
        where = f"{projection.name}.{row['table']}.{row['column']}"
        if row["automatic"] or "(" in (row["default"] or ""):
            raise BadSettings(f"column {where} is filled in by Postgres: let the projection say its value, a default must be a constant")
        if row["not_null"] and row["default"] is None and row["column"] not in row["key"]:
            raise BadSettings(f"column {where} may not be null and has no default: give it one, a change may name other columns only")
    for row in await connection.fetch(_RULES, f'"{schema}"'):
        raise BadSettings(
            f"table {projection.name}.{row['table']} has the rule {row['rule']}: drop it, "
            "a projection takes in every fact; keeping rules is for handlers"
        )
    for table in projection.tables:
        if keys.get(table.name) != table.key:
            raise BadSettings(
                f"table {projection.name}.{table.name} wants the primary key {table.key}, "
                f"found {keys.get(table.name)}: mend {projection.name}.sql"
            )
    return {table.name: Shape(table, found[table.name]) for table in projection.tables}


async def relations(connection: Connection, schema: str) -> list[str]:
    """The tables and views of a generation, which readers see under the same names."""
    return [row["relname"] for row in await connection.fetch(_RELATIONS, f'"{schema}"')]


async def show(connection: Connection, generation: Generation) -> None:
    """Point the readers' views at this generation. Call it inside a transaction: readers see all old views or all new ones.

    A view that keeps its columns is replaced; one whose columns changed is dropped and made again; one that the projection lost goes.
    """
    wanted = await relations(connection, generation.schema)
    prefix = f"p_{generation.projection}_"
    shown = {row["view"]: row["schema"] for row in await connection.fetch(_SHOWN)}
    for view, schema in sorted(shown.items()):
        if view not in wanted and _belongs(schema, prefix):
            await connection.execute(f'DROP VIEW "{VIEWS}"."{view}"')
    for view in wanted:
        if view in shown and not _belongs(shown[view], prefix):
            raise BadSettings(
                f"projection {generation.projection} wants the name {VIEWS}.{view}, which belongs to {shown[view]}: rename the table"
            )
        await _show_one(connection, generation.schema, view)
    await connection.execute(_TO_GATEWAY)


def _belongs(schema: str, prefix: str) -> bool:
    return schema.startswith(prefix) and schema.removeprefix(prefix).replace("_", "").isdigit()


async def _show_one(connection: Connection, schema: str, view: str) -> None:
    select = f'AS SELECT * FROM "{schema}"."{view}"'  # noqa: S608
    try:
        async with connection.transaction():
            await connection.execute(f'CREATE OR REPLACE VIEW "{VIEWS}"."{view}" {select}')
    except asyncpg.InvalidTableDefinitionError:
        await connection.execute(f'DROP VIEW "{VIEWS}"."{view}"')
        await connection.execute(f'CREATE VIEW "{VIEWS}"."{view}" {select}')
    except asyncpg.WrongObjectTypeError as error:
        raise BadSettings(f"{VIEWS}.{view} exists and is no view: rename it") from error
    await connection.execute(f'GRANT SELECT ON "{VIEWS}"."{view}" TO {READERS}')


async def drop(connection: Connection, generations: Iterable[Generation]) -> None:
    """Remove generations that no view shows any more, with their tables."""
    for generation in generations:
        await connection.execute(f'DROP SCHEMA IF EXISTS "{generation.schema}" CASCADE')
        await connection.execute(
            "DELETE FROM worldbus.generations WHERE projection = $1 AND generation = $2", generation.projection, generation.generation
        )
