"""The bus's rules, held to before anything is queued: what breaks them would be stored, and stop a reader later."""

from __future__ import annotations

import re
from datetime import timedelta
from math import isfinite
from typing import Any, Final

import betterproto2

from worldbus_client.errors import BadEvent

MAX_EVENT: Final = 262_144  # bytes, envelope included
MAX_DEPTH: Final = 32  # messages inside messages
LONGEST: Final = timedelta(seconds=315_576_000_000)  # of a Duration, either way
RUNTIME: Final = "worldbus.runtime."
"""Begins the names of what handlers record about their lanes, and nobody else."""
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_UNFIT = re.compile("[\0\ud800-\udfff]")
_ID = re.compile(r"[\x21-\x7e]{1,255}")


def check_token(value: str, field: str) -> str:
    """Return `value` if it may be part of a subject."""
    if not isinstance(value, str) or _TOKEN.fullmatch(value) is None:
        raise BadEvent(f"{field} must be 1 to 64 of A-Z a-z 0-9 _ -, found {ascii(value)[:80]}: choose another name or encode it")
    return value


def check_id(value: str, field: str) -> str:
    """Return `value` if it may be an event's id."""
    if not isinstance(value, str) or _ID.fullmatch(value) is None:
        raise BadEvent(f"{field} must be 1 to 255 visible ASCII characters without spaces, found {ascii(value)[:80]}")
    return value


def check_payload(message: betterproto2.Message, where: str = "", depth: int = 0) -> None:
    """Refuse NUL and lone surrogates in texts, numbers that are not finite, durations of more than 10,000 years, nesting beyond 32."""
    where = where or type(message).__name__
    if depth > MAX_DEPTH:
        raise BadEvent(f"{where} lies more than {MAX_DEPTH} messages deep: flatten it")
    for name, value in vars(message).items():
        if not name.startswith("_"):
            _check(value, f"{where}.{name}", depth)


def _check(value: Any, where: str, depth: int) -> None:
    match value:
        case str():
            if _UNFIT.search(value):
                raise BadEvent(f"{where} must be text without NUL and lone surrogates, found {ascii(value)[:80]}")
        case timedelta():
            if abs(value) > LONGEST:
                raise BadEvent(f"{where} must be at most 10,000 years, found {value}")
        case float():
            if not isfinite(value):
                raise BadEvent(f"{where} must be a finite number, found {value}")
        case betterproto2.Message():
            check_payload(value, where, depth + 1)
        case list() | tuple():
            for number, item in enumerate(value):
                _check(item, f"{where}[{number}]", depth)
        case dict():
            for key, item in value.items():
                _check(key, where, depth)
                _check(item, f"{where}[{key!r}]", depth)
        case _:
            pass
