"""One check's answer, and the bounds that it is held to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field

from bus.connection import ApiError
from bus.errors import Disconnected, FolderInUse, ServerFailed, StoreUnavailable, Transient, Unknown, WorldbusError

PATIENCE_S = 5.0  # for one check
UNAVAILABLE = 503


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: its name, whether all is as it should be, and what was found (with the next step, if it is not).

    warning      all is well so far, and somebody should look
    unreachable  a server did not answer, so nobody knows
    facts        figures behind the words, for scripts
    """

    check: str
    ok: bool
    found: str
    warning: bool = False
    unreachable: bool = False
    facts: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """From where on something is not as it should be.

    age_s    seconds that an input may wait for its answer, an event for the tables, a part for its server
    skew_s   seconds by which the clocks of this host, NATS and Postgres may differ
    full     share of a disk or of a server's limit that may be used
    room     bytes that are room enough on a disk, whatever its share: 20 GiB are no alarm on a disk of terabytes
    without  handlers and parts (`projector`, `ticker`) that nobody runs here on purpose
    stopped  nothing runs here on purpose: leave out what only a running world can show
    """

    age_s: float = 30.0
    skew_s: float = 1.0
    full: float = 0.9
    room: int = 20 << 30
    without: frozenset[str] = frozenset()
    stopped: bool = False


def failed(check: str, error: WorldbusError) -> Finding:
    """The finding for a check that an error ended."""
    away = isinstance(error, (Disconnected, StoreUnavailable, ServerFailed, FolderInUse, Unknown)) or type(error) is Transient
    return Finding(check, False, str(error), unreachable=away or (isinstance(error, ApiError) and error.status == UNAVAILABLE))


async def attempt(name: str, check: Awaitable[Finding | str], patience_s: float | None = PATIENCE_S) -> Finding:
    """The finding of a check: its own, or the words of one that went well, or its error. None: as long as it takes."""
    try:
        async with asyncio.timeout(patience_s):
            found = await check
    except TimeoutError:
        return Finding(name, False, f"no answer within {patience_s:g} s: look whether its server hangs", unreachable=True)
    except WorldbusError as error:
        return failed(name, error)
    return found if isinstance(found, Finding) else Finding(name, True, found)


def ago(seconds: float) -> str:
    """A length of time for people.

    >>> ago(4.25), ago(90), ago(7200)
    ('4.2 s', '90 s', '2.0 h')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 5400 else f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} d"


def counted(count: int, noun: str) -> str:
    """A number of things.

    >>> counted(1, "input"), counted(0, "input")
    ('1 input', '0 inputs')
    """
    return f"{count} {noun}{'' if count == 1 else 's'}"


def many(names: list[str], most: int = 5) -> str:
    """A list for people, not too long.

    >>> many(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    return ", ".join(names) if len(names) <= most else f"{', '.join(names[:most])} and {len(names) - most} more"
