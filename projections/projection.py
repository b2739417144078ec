"""A projection: a name, tables in SQL, and for each event type a pure function that says which rows change.

    ZONES = Table("zones", key=("world", "zone"))

    def changed(event: Event, it: WeatherChanged) -> Change:
        return ZONES.put(event.world, event.entity, sky=it.sky, since=event.time_ns)

    weather = Projection(name="weather", version=1, schema=sql_beside(__file__), tables=(ZONES,), on={WeatherChanged: changed})

The SQL file beside the module (`weather.sql`) creates the tables, and views on them if wanted; readers find each of them in schema `world`.

A change never reads: it puts values, adds amounts or drops rows. So changes fold: those of a whole batch become one change per row before
Postgres hears of them, and however the log is cut into batches, the tables come out the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from google.protobuf.message import Message

from bus.errors import BadSettings
from bus.event import Event

Key = tuple[Any, ...]
Columns = dict[str, Any]


class Change(NamedTuple):
    """One row of `table` changes: these columns, or it goes (None). A shorter key than the table's drops every row that starts with it."""

    table: Table
    key: Key
    columns: Columns | None


Changes = Change | Iterable[Change] | None
When = Callable[[Event, Any], Changes]
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}", re.ASCII)


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A table of a projection, as its functions see it.

    key     its primary key, in order
    adds    columns whose values are summed up (their default must be 0)
    keeps   columns that hold on to the first value they were given
    once    a row is written once: while it is there, later values for it change nothing
    Every other column takes the latest value. Columns outside the key need a default or may be null: a change may name only some of them.
    The column `position`, which every table has, is the last event that touched the row; the projector writes it, unless it is in the key.
    """

    name: str
    key: tuple[str, ...]
    adds: frozenset[str] | tuple[str, ...] = ()
    keeps: frozenset[str] | tuple[str, ...] = ()
    once: bool = False

    def put(self, *key: Any, **columns: Any) -> Change:
        """Write these columns of the row with this key, which is made if it is not there. None writes null.

        Values by column type: timestamptz takes nanoseconds since 1970 or a datetime, jsonb anything that JSON can say, arrays a list.
        """
        if len(key) != len(self.key):
            raise TypeError(f"table {self.name} wants the key {self.key}, found {key}")
        return Change(self, key, columns)

    def drop(self, *key: Any) -> Change:
        """Remove the row with this key, or all rows whose key starts with these values."""
        if not 0 < len(key) <= len(self.key):
            raise TypeError(f"table {self.name} wants the key {self.key} or its beginning, found {key}")
        return Change(self, key, None)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Projection:
    """A read model. A new `version` is built from the whole log beside the old one, then takes its place: raise it with its meaning.

    schema  the SQL that creates its tables and views, or the file that holds it; run with its own schema as search_path, so names stand
            unqualified
    said_by the subsystem whose word counts; the same event type said by another one is passed over. Empty: anybody's
    on      message type -> function (event, its payload) -> changes. Pure, and it copes: if it raises, this projection skips the event,
            on record
    others  a type of a game's own packages -> the function for it, or None; for projections that read whatever a game says
    """

    name: str
    version: int
    schema: str | Path
    tables: tuple[Table, ...]
    on: Mapping[type[Message], When]
    said_by: str = ""
    others: Callable[[type[Message]], When | None] | None = None

    def among(self, kinds: Iterable[type[Message]]) -> Projection:
        """The projection as it reads a log that holds these types of a game's own as well; itself where they are nothing to it."""
        more = {kind: when for kind in kinds if self.others and kind not in self.on and (when := self.others(kind))}
        return replace(self, on={**self.on, **more}) if more else self

    def __post_init__(self) -> None:
        if _NAME.fullmatch(self.name) is None:
            raise ValueError(f"a projection's name is 1-40 of a-z 0-9 _ beginning with a letter, found {self.name!r}")
        names = {message.DESCRIPTOR.name for message in self.on}
        if len(names) != len(self.on):
            raise ValueError(f"projection {self.name} listens to two types of one simple name: name the newest version only")

    @property
    def sql(self) -> str:
        """The SQL that creates its tables and views. Raises `BadSettings` where its file cannot be read."""
        if isinstance(self.schema, str):
            return self.schema
        try:
            return self.schema.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BadSettings(
                f"wanted the SQL of projection {self.name} in {self.schema}, found {error}: write its CREATE TABLE statements there, "
                "and package that file with the module"
            ) from error


def sql_beside(module_file: str) -> Path:
    """The .sql file with the module's own name, `sql_beside(__file__)`; read when the tables are made."""
    return Path(module_file).with_suffix(".sql")
