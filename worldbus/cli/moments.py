"""Times as people type them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from bus.errors import BadSettings

_AGO = re.compile(r"(\d{1,9})(?:\.(\d{1,3}))?\s*(s|m|h|d)(?:\s+ago)?", re.ASCII)
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_seconds(text: str) -> float:
    """A length of time as people type it, `30s`, `15m`, `2h`, in seconds. Raises `BadSettings`.

    >>> parse_seconds("1.5m")
    90.0
    """
    found = _AGO.fullmatch(text.strip())
    if found is None or text.rstrip().endswith("ago"):
        raise BadSettings(f"wanted a length of time like 30s, 15m or 2h, found {text[:80]!r}")
    return float(f"{found[1]}.{found[2] or 0}") * _UNITS[found[3]]


def parse_moment(text: str, now: datetime | None = None) -> datetime:
    """A moment with a time zone: ISO 8601 with a zone, or how long ago (`90s`, `15m`, `2h`, `1d`). Raises `BadSettings`.

    >>> parse_moment("2026-11-22T13:00+01:00").isoformat()
    '2026-11-22T12:00:00+00:00'
    >>> parse_moment("15m", now=datetime(2026, 11, 22, 12, tzinfo=UTC)).isoformat()
    '2026-11-22T11:45:00+00:00'
    """
    ago = _AGO.fullmatch(text.strip())
    try:
        if ago is not None:
            amount = float(f"{ago[1]}.{ago[2] or 0}")
            return (now or datetime.now(UTC)) - timedelta(seconds=amount * _UNITS[ago[3]])
        found = datetime.fromisoformat(text.strip())
        if found.tzinfo is not None:
            return found.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise BadSettings(f"wanted a time with its zone, like 2026-11-22T12:00:00Z, or how long ago, like 15m, found {text[:80]!r}")
