"""Column types: how a Python value is checked and travels to Postgres.

Every value is checked when its event is folded, not when the batch is written: an event that cannot be taken in is found alone, whatever
batch it came in. Values travel as arrays (`unnest`); types that asyncpg would encode slowly or not at all travel as text or numbers and are
cast by Postgres.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import UUID

from bus.errors import BadSettings

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_S = -62_135_596_800  # year 1
LAST_S = 253_402_300_800  # year 10000, excluded
MAX_FLOAT4 = 3.4e38
_MICROSECOND = timedelta(microseconds=1)


class BadValue(ValueError):
    """A value that its column cannot hold."""


@dataclass(frozen=True, slots=True)
class ColumnType:
    """`check` returns what travels, `wire` is the type it travels as, `cast` the SQL expression that turns {0} into the column's type.

    Values of the type `plain` need no check.
    """

    check: Callable[[Any], Any]
    wire: str
    cast: str = "{0}"
    plain: type | None = None


def moment(ns: int) -> datetime:
    """Nanoseconds since 1970 as a UTC datetime, cut to microseconds."""
    return EPOCH + timedelta(microseconds=ns // 1000)


def clean(text: str) -> str:
    """Postgres text holds every character but NUL, which becomes U+FFFD."""
    return text.replace("\0", "\ufffd") if "\0" in text else text


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise BadValue(f"wanted text, found {value!r}")
    return clean(value)


def _whole(bits: int) -> Callable[[Any], int | None]:
    limit = 1 << (bits - 1)

    def check(value: Any) -> int | None:
        if value is None:
            return None
        number = int(value)
        if not -limit <= number < limit:
            raise BadValue(f"{number} does not fit {bits} bits")
        return number

    return check


def _microseconds(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, datetime):
        value = (value - EPOCH) // _MICROSECOND * 1000
    if not FIRST_S * 10**9 <= value < LAST_S * 10**9:
        raise BadValue(f"{value} nanoseconds are not a moment between the years 1 and 9999")
    return int(value) // 1000


def _json(value: Any) -> str | None:
    if value is None:
        return None
    said = json.dumps(value, ensure_ascii=False, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return said.replace("\\u0000", "\ufffd") if "\\u0000" in said else said


def _bytes(value: Any) -> bytes | None:
    return None if value is None else bytes(value)


def _float(value: Any) -> float | None:
    return None if value is None else float(value)


def _bool(value: Any) -> bool | None:
    return None if value is None else bool(value)


def _numeric(value: Any) -> str | None:
    if value is None:
        return None
    number = Decimal(value)
    if not number.is_finite():
        raise BadValue(f"{number} is not a number")
    return str(number)


def _uuid(value: Any) -> str | None:
    return None if value is None else str(UUID(str(value)))


def _vector(dimensions: int) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        if value is None:
            return None
        parts = [float(part) for part in value]
        if len(parts) != dimensions or not all(-MAX_FLOAT4 <= part <= MAX_FLOAT4 for part in parts):
            raise BadValue(f"wanted {dimensions} finite numbers, found {len(parts)}")
        return "[" + ",".join(map(repr, parts)) + "]"

    return check


def _array(check_part: Callable[[Any], Any]) -> Callable[[Any], str | None]:
    """A Postgres array literal; every part quoted, so no text can end it early."""

    def check(value: Any) -> str | None:
        if value is None:
            return None
        return "{" + ",".join("NULL" if part is None else _quoted(check_part(part)) for part in value) + "}"

    return check


def _quoted(part: Any) -> str:
    return '"' + str(part).replace("\\", "\\\\").replace('"', '\\"') + '"'


# Postgres multiplies an interval in doubles, which are exact to 2^53: microseconds are so for the years 1685 to 2255 alone. Whole hours,
# which are multiples of 2^10 microseconds, and what is left of them are so for ever.
_EXACT_MOMENT = "timestamptz 'epoch' + ({0} / 3600000000) * interval '1 hour' + ({0} % 3600000000) * interval '1 microsecond'"
_PARTS: dict[str, Callable[[Any], Any]] = {"text": _text, "int4": _whole(32), "int8": _whole(64), "float8": _float, "bool": _bool}
_TYPES = {
    "text": ColumnType(_text, "text"),
    "int2": ColumnType(_whole(16), "int8"),
    "int4": ColumnType(_whole(32), "int8"),
    "int8": ColumnType(_whole(64), "int8"),
    "float8": ColumnType(_float, "float8", plain=float),
    "bool": ColumnType(_bool, "bool", plain=bool),
    "bytea": ColumnType(_bytes, "bytea"),
    "timestamptz": ColumnType(_microseconds, "int8", _EXACT_MOMENT),
    "jsonb": ColumnType(_json, "text", "{0}::jsonb"),
    "numeric": ColumnType(_numeric, "text", "{0}::numeric"),
    "uuid": ColumnType(_uuid, "text", "{0}::uuid"),
    **{f"_{name}": ColumnType(_array(part), "text", f"{{0}}::{name}[]") for name, part in _PARTS.items()},
}


@lru_cache(maxsize=256)
def column_type(udt: str, modifier: int = -1) -> ColumnType:
    """By Postgres' own name of the type (`_text` is an array of text) and its modifier.

    Raises `BadSettings` for a type that is not known here: whether it can hold a value would be found out too late.
    """
    if udt == "vector" and modifier > 0:
        return ColumnType(_vector(modifier), "text", "{0}::vector")
    if udt not in _TYPES or (modifier != -1 and udt != "timestamptz"):
        raise BadSettings(f"a projection's columns may be {', '.join(sorted(_TYPES))} without a length, or vector(n); found {udt}")
    return _TYPES[udt]
