"""The digest of a projection: changes whenever its SQL or its functions do, whatever its version says.

It stands beside each generation. Production goes by the version alone, so that two releases can work on one database in turn;
`worldbus dev` builds a projection anew as soon as the digest is another one.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from bus.reach import Reach

if TYPE_CHECKING:
    from projections.projection import Projection

DIGITS: Final = 12


def made_by(projection: Projection) -> str:
    """Twelve hexadecimal digits over the SQL (without comment lines), the tables and every function that can be reached."""
    tables = tuple((table.name, table.key, sorted(table.adds), sorted(table.keeps), table.once) for table in projection.tables)
    heard = tuple(kind.DESCRIPTOR.full_name for kind in projection.on)
    said = repr((projection.name, projection.version, projection.said_by, _statements(projection.sql), tables, heard))
    reached = Reach().digest(tuple(projection.on.values()))
    return blake2b(said.encode() + reached, digest_size=DIGITS // 2).hexdigest()


def _statements(sql: str) -> list[str]:
    """The lines that say something."""
    return [line.rstrip() for line in sql.splitlines() if line.strip() and not line.lstrip().startswith("--")]
