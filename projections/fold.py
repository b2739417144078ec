"""Many changes into few: what a batch of events does to a projection's tables, one change per row, and the SQL that writes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from bus.errors import BadEvent, BadSettings
from projections.columns import BadValue, ColumnType, column_type
from projections.projection import Change, Changes, Columns, Key, Projection, Table

if TYPE_CHECKING:
    from asyncpg import Connection

    from bus.event import Event

STAMP = "position"
MAX_KEY = 600  # characters in all; an index entry ends at 2704 bytes


class Column(NamedTuple):
    """A column as Postgres has it."""

    name: str
    udt: str
    modifier: int
    not_null: bool


def _present(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def present(value: Any) -> Any:
        if value is None:
            raise BadValue("a column that may not be null was given no value")
        return check(value)

    return present


class Shape:
    """A table as Postgres has it: the type of every column."""

    __slots__ = ("checks", "key_checks", "plain", "table", "text_key", "types")

    def __init__(self, table: Table, columns: Iterable[Column]) -> None:
        found = {column.name: column for column in columns}
        missing = {*table.key, *table.adds, *table.keeps, STAMP} - set(found)
        if missing:
            raise BadSettings(
                f"table {table.name} wants the columns {sorted(missing)} too, found {sorted(found)}: add them to its .sql file"
            )
        self.table = table
        self.types: dict[str, ColumnType] = {name: column_type(column.udt, column.modifier) for name, column in found.items()}
        self.checks = {name: _present(kind.check) if found[name].not_null else kind.check for name, kind in self.types.items()}
        self.key_checks = [self.checks[name] for name in table.key]
        self.text_key = all(self.types[name] is column_type("text") for name in table.key)
        self.plain = {name: kind.plain for name, kind in self.types.items()}

    def key(self, key: Key) -> Key:
        """The key as it travels."""
        if self.text_key:
            try:
                joined = "".join(key)
            except TypeError as error:
                raise BadValue(f"a key of {self.table.name} wants text, found {key}") from error
            if len(joined) <= MAX_KEY and "\0" not in joined:
                return key
        checked = tuple([check(value) for check, value in zip(self.key_checks, key, strict=False)])
        if sum(len(part) for part in checked if isinstance(part, str)) > MAX_KEY:
            raise BadValue(f"a key of {self.table.name} has more than {MAX_KEY} characters")
        return checked

    def columns(self, columns: Columns) -> Columns:
        """The columns as they travel."""
        checks, plain = self.checks, self.plain
        try:
            return {name: value if type(value) is plain[name] else checks[name](value) for name, value in columns.items()}
        except KeyError as error:
            raise BadValue(f"table {self.table.name} has no column {error}") from None


class TableFold:
    """The changes of the rows of one table. Drops come first, then the rows."""

    __slots__ = ("dropped", "rows", "shape", "special", "stamped")

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.rows: dict[Key, Columns] = {}
        self.dropped: dict[Key, None] = {}
        self.stamped = STAMP not in shape.table.key
        self.special = bool(shape.table.adds or shape.table.keeps)

    def drop(self, key: Key) -> None:
        length = len(key)
        if length == len(self.shape.table.key):
            self.rows.pop(key, None)
        else:
            for row in [row for row in self.rows if row[:length] == key]:
                del self.rows[row]
        self.dropped[key] = None

    def put(self, key: Key, columns: Columns) -> None:
        row = self.rows.get(key)
        if row is None:
            self.rows[key] = columns
            for name in self.shape.table.adds:
                if name in columns:
                    columns[name] = columns[name] or 0
        elif self.shape.table.once:
            return
        elif self.special:
            self._merge(row, columns)
        else:
            row.update(columns)

    def _merge(self, row: Columns, columns: Columns) -> None:
        table = self.shape.table
        for name, value in columns.items():
            if name in table.adds:
                row[name] = (row.get(name) or 0) + (value or 0)
            elif name not in table.keeps or row.get(name) is None:
                row[name] = value

    async def write(self, connection: Connection, schema: str) -> None:
        """Write it; `connection` is inside a transaction."""
        table = self.shape.table
        by_length: dict[int, list[Key]] = {}
        for key in self.dropped:
            by_length.setdefault(len(key), []).append(key)
        for length, keys in by_length.items():
            await connection.execute(_delete(self.shape, schema, length), *map(list, zip(*keys, strict=True)))
        by_columns: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}
        for key, row in self.rows.items():
            by_columns.setdefault(tuple(row), []).append((*key, *row.values()))
        for columns, rows in by_columns.items():
            await connection.execute(_upsert(self.shape, schema, (*table.key, *columns)), *map(list, zip(*rows, strict=True)))


class Fold:
    """The changes that a batch makes to one projection."""

    __slots__ = ("projection", "said_by", "tables")

    def __init__(self, projection: Projection, shapes: Mapping[str, Shape]) -> None:
        self.projection = projection
        self.said_by = projection.said_by
        self.tables = {name: TableFold(shape) for name, shape in shapes.items()}

    def take(self, event: Event) -> tuple[str, str] | None:
        """Fold one event in, wholly or not at all; (code, reason) if it cannot be."""
        if self.said_by and event.subject.subsystem != self.said_by:
            return None
        try:
            data = event.data
            when = self.projection.on.get(type(data))
            if when is None:
                return None  # a type of the same simple name that this projection does not know
            if not event.time_ns:
                event.moment("time")  # one that is none reads as 0: no table may say 1970 for it
            changes = when(event, data)
            ready = [self._ready(changes)] if type(changes) is Change else [self._ready(change) for change in _each(changes)]
        except BadEvent as error:
            return error.code, str(error)
        except Exception as error:  # a projection never stops the others: the event is skipped, on record, and can be rebuilt
            return type(error).__name__, str(error)
        for fold, key, columns in ready:
            if columns is None:
                fold.drop(key)
            else:
                if fold.stamped:
                    columns[STAMP] = event.position
                fold.put(key, columns)
        return None

    def _ready(self, change: Change) -> tuple[TableFold, Key, Columns | None]:
        fold = self.tables[change.table.name]
        shape = fold.shape
        return fold, shape.key(change.key), None if change.columns is None else shape.columns(change.columns)

    async def write(self, connection: Connection, schema: str) -> None:
        """Write every table's part; `connection` is inside a transaction."""
        for fold in self.tables.values():
            if fold.rows or fold.dropped:
                await fold.write(connection, schema)


def _each(changes: Changes) -> Iterable[Change]:
    if changes is None:
        return ()
    return (changes,) if isinstance(changes, Change) else changes


def _source(shape: Shape, columns: tuple[str, ...]) -> tuple[str, str]:
    """(select list, from item) of rows that travel as one array per column."""
    kinds = [shape.types[name] for name in columns]
    arrays = ", ".join(f"${number}::{kind.wire}[]" for number, kind in enumerate(kinds, start=1))
    select = ", ".join(kind.cast.format(f'r."{name}"') for name, kind in zip(columns, kinds, strict=True))
    return select, f"unnest({arrays}) AS r({_list(columns)})"


@lru_cache(maxsize=4096)
def _upsert(shape: Shape, schema: str, columns: tuple[str, ...]) -> str:
    table = shape.table
    select, source = _source(shape, columns)
    sets = ", ".join(_assignment(table, name) for name in columns if name not in table.key)
    meeting = "NOTHING" if table.once else f"UPDATE SET {sets}"
    return (
        f'INSERT INTO "{schema}"."{table.name}" AS t ({_list(columns)}) SELECT {select} FROM {source} '  # noqa: S608
        f"ON CONFLICT ({_list(table.key)}) DO {meeting}"
    )


def _assignment(table: Table, name: str) -> str:
    if name in table.adds:
        return f'"{name}" = coalesce(t."{name}", 0) + coalesce(excluded."{name}", 0)'
    if name in table.keeps:
        return f'"{name}" = coalesce(t."{name}", excluded."{name}")'
    return f'"{name}" = excluded."{name}"'


@lru_cache(maxsize=1024)
def _delete(shape: Shape, schema: str, length: int) -> str:
    key = shape.table.key[:length]
    select, source = _source(shape, key)
    return (
        f'DELETE FROM "{schema}"."{shape.table.name}" AS t USING (SELECT {select} FROM {source}) AS d({_list(key)}) WHERE '  # noqa: S608
        + " AND ".join(f't."{name}" = d."{name}"' for name in key)
    )


def _list(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
