"""Moments as text: RFC 3339, to the nanosecond."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from bus.check import check_time
from bus.envelope import NANOS
from bus.errors import BadEvent

_TIME: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,80}))?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_SECOND: Final = datetime(1970, 1, 1, 0, 0, 1) - datetime(1970, 1, 1)  # noqa: DTZ001 - a difference
_SHOWN: Final = 80  # characters of what was found


def parse_time(text: str, path: str = "time") -> int:
    """Nanoseconds since 1970 of an RFC 3339 time; decimals beyond nine are cut off. Raises `BadEvent`.

    >>> parse_time("2026-11-22T13:00:00.25+01:00")
    1795348800250000000
    """
    found = _TIME.fullmatch(text)
    if found is None:
        raise BadEvent(
            f"{path}: must be RFC 3339 with a time zone, like 2026-11-22T12:00:00Z, found {ascii(text)[:_SHOWN]}",
            code="BAD_TIME",
            path=path,
        )
    zone = found[8].upper().replace("Z", "+00:00")
    try:
        moment = datetime.fromisoformat(text[:19] + zone)
    except ValueError as error:
        raise BadEvent(f"{path}: {error}, found {ascii(text)[:_SHOWN]}", code="BAD_TIME", path=path) from error
    seconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // _SECOND
    return check_time(seconds * NANOS + int((found[7] or "")[:9].ljust(9, "0")), path)


def format_time(ns: int) -> str:
    """RFC 3339 in UTC, with as many decimals as there are.

    >>> format_time(1795348800250000000)
    '2026-11-22T12:00:00.25Z'
    """
    seconds, nanos = divmod(ns, NANOS)
    whole = (datetime(1970, 1, 1, tzinfo=UTC) + seconds * _SECOND).strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
    return whole + (f".{nanos:09d}".rstrip("0") if nanos else "") + "Z"
