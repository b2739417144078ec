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

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_NS = -62_135_596_800 * 10**9  # year 1
LAST_NS = 253_402_300_800 * 10**9  # year 10000, excluded
_MICROSECOND = timedelta(microseconds=1)


class BadValue(ValueError):
    """A value that its column cannot hold."""


@dataclass(frozen=True, slots=True)
class ColumnType:
    """`check` returns what travels, `wire` is the type it travels as, `cast` the SQL expression that turns {0} into the column's type."""

    check: Callable[[Any], Any]
    wire: str
    cast: str = "{0}"


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
        return (value - EPOCH) // _MICROSECOND
    if not FIRST_NS <= value < LAST_NS:
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


def _any(value: Any) -> str | None:
    return None if value is None else clean(str(value))


def _vector(value: Any) -> str | None:
    return None if value is None else "[" + ",".join(repr(float(part)) for part in value) + "]"


def _array(value: Any) -> str | None:
    """A Postgres array literal; every part quoted, so no text can end it early."""
    return None if value is None else "{" + ",".join("NULL" if part is None else _quoted(part) for part in value) + "}"


def _quoted(part: Any) -> str:
    text = ("t" if part else "f") if isinstance(part, bool) else clean(str(part))
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


_TYPES = {
    "text": ColumnType(_text, "text"),
    "varchar": ColumnType(_text, "text"),
    "int2": ColumnType(_whole(16), "int8"),
    "int4": ColumnType(_whole(32), "int8"),
    "int8": ColumnType(_whole(64), "int8"),
    "float8": ColumnType(_float, "float8"),
    "float4": ColumnType(_float, "float8"),
    "bool": ColumnType(_bool, "bool"),
    "bytea": ColumnType(_bytes, "bytea"),
    "timestamptz": ColumnType(_microseconds, "int8", "timestamptz 'epoch' + {0} * interval '1 microsecond'"),
    "jsonb": ColumnType(_json, "text", "{0}::jsonb"),
    "json": ColumnType(_json, "text", "{0}::json"),
    "numeric": ColumnType(_numeric, "text", "{0}::numeric"),
    "vector": ColumnType(_vector, "text", "{0}::vector"),
}


@lru_cache(maxsize=256)
def column_type(udt: str) -> ColumnType:
    """By Postgres' own type name (`_text` is an array of text)."""
    if udt in _TYPES:
        return _TYPES[udt]
    if udt.startswith("_"):
        return ColumnType(_array, "text", "{0}::" + udt[1:] + "[]")
    return ColumnType(_any, "text", "{0}::" + udt)
