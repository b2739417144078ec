"""The clocks of this host, NATS and Postgres. Deadlines, leases and "as of" mean nothing where they differ."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from bus.errors import BadSettings, WorldbusError
from projections.store import connected
from worldbus.checks.finding import Bounds, Finding

if TYPE_CHECKING:
    from bus.log import Log

S = 1_000_000_000  # nanoseconds


async def clocks(log: Log, dsn: str, bounds: Bounds) -> Finding:
    """By how much each server's clock is ahead of ours: the nearest it can be, given how long its answer took. No `dsn`: NATS alone."""

    async def nats() -> int:
        return (await log.state()).asked_ns

    async def postgres() -> int:
        async with connected(dsn, raw_times=True) as connection:
            return int(await connection.fetchval("SELECT clock_timestamp()")) * 1000

    skews = {"NATS": await _skew(nats), "Postgres": await _skew(postgres) if dsn else None}
    known = {name: skew for name, skew in skews.items() if skew is not None}
    facts = {name: round(skew, 6) for name, skew in known.items()}
    ahead = [*known.values(), 0.0]
    words = ", ".join(f"{name} {skew:+.1f} s" for name, skew in known.items() if abs(skew) > 0.05)
    if max(ahead) - min(ahead) > bounds.skew_s:
        step = f"set the clocks by NTP; more than {bounds.skew_s:g} s upsets deadlines and leases (`--max-skew`)"
        return Finding("clocks", False, f"clocks differ from this host's: {words}: {step}", facts=facts)
    missing = [name for name, skew in skews.items() if skew is None]
    asked = f"clocks agree within {max(0.1, max(ahead) - min(ahead)):.1f} s" if known else "nobody's clock could be asked"
    return Finding("clocks", True, asked + (f"; not asked: {', '.join(missing)}" if missing else ""), facts=facts)


async def _skew(ask: Callable[[], Awaitable[int]]) -> float | None:
    """Seconds by which a clock is ahead of ours, 0 while that may be the answer's way; None where it could not be asked."""
    before = time.time_ns()
    try:
        there = await ask()
    except (WorldbusError, BadSettings):
        return None  # another check says so
    after = time.time_ns()
    if not there:
        return None
    return (there - after) / S if there > after else (there - before) / S if there < before else 0.0
