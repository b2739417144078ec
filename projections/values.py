"""Values of Postgres as readers get them: as Python's own where Python has one for every value of the type, else as Postgres' own text.

Postgres has dates before and behind Python's, `infinity`, 24:00, ranges, money, rows and types that other people made. A column whose type
may hold such a value is asked for as text, which Postgres has for all of them; times that Python has a value for become that.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from asyncpg.types import Attribute

SETTINGS: Final = "SET LOCAL datestyle = 'ISO'; SET LOCAL intervalstyle = 'postgres'; SET LOCAL extra_float_digits = 1"
"""The settings with which the texts below are written."""

Decode = Callable[[str], Any]


class Reading(NamedTuple):
    """The SQL expression by which a column is asked for (of {0}), and the function that reads its text."""

    expression: str
    decode: Decode | None = None


def _moment(text: str) -> datetime | str:
    """In UTC where Postgres said a zone; the text itself where Python has no such moment."""
    try:
        found = datetime.fromisoformat(text)
        return found if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return text


def _date(text: str) -> date | str:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return text


def _array_of(decode: Decode) -> Decode:
    def leaves(value: Any) -> Any:
        return [leaves(one) for one in value] if isinstance(value, list) else value if value is None else decode(value)

    return lambda text: leaves(json.loads(text))


_AS_IT_IS: Final = Reading("{0}")
_AS_TEXT: Final = Reading("{0}::text")
# By the number that Postgres gives each of its own types, which never changes; its array stands behind it.
_PLAIN: Final = (
    *(16, 1000),  # boolean
    *(17, 1001),  # bytea
    *(19, 1003),  # name
    *(20, 1016, 21, 1005, 23, 1007, 26, 1028),  # int8, int2, int4, oid
    *(25, 1009, 1043, 1015, 1042, 1014),  # text, varchar, char(n)
    *(114, 199, 3802, 3807),  # json, jsonb
    *(701, 1022, 1700, 1231),  # double precision, numeric
    *(2950, 2951),  # uuid
)
_READINGS: Final = {
    **dict.fromkeys(_PLAIN, _AS_IT_IS),
    700: Reading("{0}::text", float),  # real: its shortest digits rather than those of the double beside it
    1082: Reading("{0}::text", _date),
    1114: Reading("{0}::text", _moment),
    1184: Reading("{0}::text", _moment),
    1182: Reading("to_jsonb({0})::text", _array_of(_date)),
    1115: Reading("to_jsonb({0})::text", _array_of(_moment)),
    1185: Reading("to_jsonb({0})::text", _array_of(_moment)),
}


def readings(attributes: Sequence[Attribute]) -> list[Reading]:
    """The reading of each column."""
    return [_READINGS.get(attribute.type.oid, _AS_TEXT) for attribute in attributes]


def plain(columns: Sequence[Reading]) -> bool:
    """True if every column is read as it is."""
    return all(one is _AS_IT_IS for one in columns)


def selected(columns: Sequence[Reading], name: str) -> tuple[str, str]:
    """(select list, alias of the subquery that gives its columns the names used there)."""
    names = [f"c{number}" for number in range(1, len(columns) + 1)]
    return ", ".join(one.expression.format(alias) for one, alias in zip(columns, names, strict=True)), f"{name}({', '.join(names)})"


def decoder(columns: Sequence[Reading]) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
    """A function from a row as it came to a row of values."""
    decodes = [(number, one.decode) for number, one in enumerate(columns) if one.decode is not None]
    if not decodes:
        return tuple

    def decode(row: Sequence[Any]) -> tuple[Any, ...]:
        cells = list(row)
        for number, one in decodes:
            if cells[number] is not None:
                cells[number] = one(cells[number])
        return tuple(cells)

    return decode
