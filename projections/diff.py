"""Two generations of a projection, row by row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from projections import checkpoints, generations
from projections.generations import Generation
from projections.projection import Projection, Table

if TYPE_CHECKING:
    from asyncpg import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class TableDiff:
    """The changes of a table's rows. `sample` holds some of the differences: (key, before, after), None where there is no row."""

    table: str
    before: int
    after: int
    added: int
    removed: int
    changed: int
    sample: tuple[tuple[str, str | None, str | None], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """The changes of a rebuild, as of `position`. `before` is the version that served, 0 for none; `before_position` its position."""

    projection: str
    position: int
    before_position: int
    before: int
    after: int
    tables: tuple[TableDiff, ...]

    @property
    def empty(self) -> bool:
        """Every table has the same rows as before."""
        return not any(table.added or table.removed or table.changed for table in self.tables)


async def compare(connection: Connection, projection: Projection, new: Generation, sample: int) -> Diff:
    """Hold the new generation against the live one, in one snapshot. Columns that only one of them has are left out."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        head = await checkpoints.read(connection)
        old = next((found for found in await generations.load(connection) if found.projection == projection.name and found.live), None)
        tables = [await _compare_table(connection, old, new, table, sample) for table in projection.tables]
    return Diff(
        projection=projection.name,
        position=head.position,
        before_position=0 if old is None else head.position if old.stopped_at is None else old.stopped_at,
        before=old.version if old else 0,
        after=new.version,
        tables=tuple(tables),
    )


_SHARED = """
    SELECT quote_ident(a.attname) FROM pg_attribute a JOIN pg_attribute b ON b.attname = a.attname AND b.atttypid = a.atttypid
     WHERE a.attrelid = to_regclass($1) AND b.attrelid = to_regclass($2) AND a.attnum > 0 AND b.attnum > 0
       AND NOT a.attisdropped AND NOT b.attisdropped ORDER BY a.attname
"""


async def _compare_table(connection: Connection, old: Generation | None, new: Generation, table: Table, sample: int) -> TableDiff:
    name, key = table.name, table.key
    after_name = f'"{new.schema}"."{name}"'
    after: int = await connection.fetchval(f"SELECT count(*) FROM {after_name}")  # noqa: S608
    before_name = f'"{old.schema}"."{name}"' if old else ""
    shared = [row[0] for row in await connection.fetch(_SHARED, before_name, after_name)] if old else []
    if not set(key) <= {column.strip('"') for column in shared}:
        return TableDiff(table=name, before=0, after=after, added=after, removed=0, changed=0, sample=())
    before: int = await connection.fetchval(f"SELECT count(*) FROM {before_name}")  # noqa: S608
    values = "ROW(" + ", ".join(f"{{0}}.{column}" for column in shared) + ")"
    keys = ", ".join(f'"{column}"' for column in key)
    differing = (
        f"SELECT concat_ws('/', {keys}) AS key, {values.format('o')}::text AS before, {values.format('n')}::text AS after, "  # noqa: S608
        f'o."{key[0]}" IS NULL AS is_new, n."{key[0]}" IS NULL AS is_gone '
        f"FROM {before_name} AS o FULL JOIN {after_name} AS n USING ({keys}) "
        f"WHERE {values.format('o')} IS DISTINCT FROM {values.format('n')}"
    )
    counting = "SELECT count(*) FILTER (WHERE is_new) AS added, count(*) FILTER (WHERE is_gone) AS removed, count(*) AS total"
    counts: Any = await connection.fetchrow(f"{counting} FROM ({differing}) AS d")
    rows = await connection.fetch(f"{differing} ORDER BY 1 LIMIT {int(sample)}") if counts["total"] else []
    return TableDiff(
        table=name,
        before=before,
        after=after,
        added=counts["added"],
        removed=counts["removed"],
        changed=counts["total"] - counts["added"] - counts["removed"],
        sample=tuple((row["key"], None if row["is_new"] else row["before"], None if row["is_gone"] else row["after"]) for row in rows),
    )
