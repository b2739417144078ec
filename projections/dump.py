"""The canonical dump: the same rows give the same bytes on any machine, whatever the order in which they were written."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from projections.fold import Shape
from projections.generations import Generation, load, shapes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asyncpg import Connection

    from projections.projection import Projection


@dataclass(frozen=True, slots=True)
class Dump:
    """The rows of a projection's tables: how many, and one hash over all of them."""

    rows: int
    sha256: str


async def dump(connection: Connection, projection: Projection, generation: Generation | None = None) -> Dump:
    """Dump one generation, by default the live one: every table by name, its rows by primary key as text, collation C, UTC."""
    chosen = generation or next(found for found in await load(connection) if found.projection == projection.name and found.live)
    isolation = None if connection.is_in_transaction() else "repeatable_read"  # one snapshot of all tables, whoever writes meanwhile
    async with connection.transaction(isolation=isolation):
        await connection.execute("SET LOCAL timezone = 'UTC'")
        return await _dump(connection, chosen.schema, (await shapes(connection, projection, chosen.schema)).values())


async def _dump(connection: Connection, schema: str, tables: Iterable[Shape]) -> Dump:
    digest, rows = hashlib.sha256(), 0

    async def take(data: bytes) -> None:
        digest.update(data)

    for shape in sorted(tables, key=lambda shape: shape.table.name):
        columns = ", ".join(f'"{name}"' for name in sorted(shape.types))
        order = ", ".join(f'"{name}"::text COLLATE "C"' for name in shape.table.key)
        query = f'SELECT {columns} FROM "{schema}"."{shape.table.name}" ORDER BY {order}'  # noqa: S608
        digest.update(f"{shape.table.name}\t{columns}\n".encode())
        said = await connection.copy_from_query(query, output=take)
        rows += int(said.split()[-1])
    return Dump(rows, digest.hexdigest())
