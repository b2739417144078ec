"""The log's clock, read here: how far this machine is from the NATS server, and how wrong that may be.

Requests are stamped by the server when it records them, so deadlines are judged on the server's clock, wherever the worker runs. One
exchange gives the offset to within half of its round trip; the best one counts until it is so old that clocks may have drifted further
than that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import structlog

from bus.answers import parse_stamp
from bus.errors import WorldbusError

DRIFT: Final = 100e-6  # two quartz clocks part by at most so much
EVERY_S: Final = 10.0
EXCHANGES: Final = 5

log = structlog.get_logger(__name__)
AskServer = Callable[[], Awaitable[dict[str, Any]]]
"""One call of the server's API whose answer says its time in `ts`."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The server said `server_ns` at `local_ns` of this process's monotonic clock, give or take `bound_ns`."""

    server_ns: int
    local_ns: int
    bound_ns: int

    def bound_at(self, local_ns: int) -> int:
        """The most, in nanoseconds, by which it may be wrong at `local_ns`."""
        return self.bound_ns + int(DRIFT * abs(local_ns - self.local_ns))


def better(known: Reading | None, new: Reading) -> Reading:
    """The reading that is less wrong now."""
    return new if known is None or new.bound_ns <= known.bound_at(new.local_ns) else known


class ServerClock:
    """The server's time. Before the first measurement it is this machine's own, with a bound of 0 that means "not known"."""

    def __init__(self, ask: AskServer, *, monotonic_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._ask = ask
        self._monotonic = monotonic_ns
        self._reading: Reading | None = None
        self._unmeasured = time.time_ns() - monotonic_ns()

    def now_ns(self) -> int:
        """Nanoseconds since 1970, as the server would say it."""
        reading = self._reading
        return self._monotonic() + (self._unmeasured if reading is None else reading.server_ns - reading.local_ns)

    def offset_ns(self) -> int:
        """The server's clock minus this machine's."""
        return self.now_ns() - time.time_ns()

    def bound_ns(self) -> int:
        """The most, in nanoseconds, by which `now_ns` may be wrong."""
        return self._reading.bound_at(self._monotonic()) if self._reading else 0

    async def measure(self) -> None:
        """A few exchanges; the quickest counts. Raises what the call raises."""
        for _ in range(EXCHANGES):
            before = self._monotonic()
            answer = await self._ask()
            after = self._monotonic()
            reading = Reading(parse_stamp(answer["ts"]), (before + after) // 2, (after - before) // 2 + 1)
            self._reading = better(self._reading, reading)

    async def keep(self) -> None:
        """Measure again and again, until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                await self.measure()
            except WorldbusError as error:
                log.debug("clock_not_measured", error=str(error))
