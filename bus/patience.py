"""Waiting for the log: a lane that cannot be read must not be guessed, and that it waits must be seen.

However many lanes wait, one line tells of it at once and then ever more seldom, and the process is unhealthy while any of them has waited
for long.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import structlog

from bus.connection import ApiError
from bus.errors import Misuse, Transient
from bus.frames import words_of

if TYPE_CHECKING:
    from bus.health import Health
    from bus.lane import Lane

LONG_S = 10.0  # a wait that is worth telling whoever is on call
LONGEST_PAUSE_S = 2.0
AT_ONCE = 32  # lanes that are read at the same time
WAITS = (Transient, ApiError, Misuse, OSError)
"""The errors that pass, or are mended outside of this process. Anything else is an error of ours."""

log = structlog.get_logger(__name__)


class Patience:
    """The waits of one handler's lanes."""

    def __init__(self, handler: str, first_pause_s: float) -> None:
        self._handler = handler
        self._first_pause_s = first_pause_s
        self._reading = asyncio.Semaphore(AT_ONCE)
        self._waiting: dict[Lane[Any], float] = {}  # since when
        self._tell_at = 0.0
        self.health: Health | None = None
        self.closed = False

    async def until_read(self, lane: Lane[Any], read: Callable[[], Awaitable[None]]) -> None:
        """Repeat `read` until the log answers; returns without it when closed. Raises what is no trouble of the log's."""
        pause_s = self._first_pause_s
        try:
            while not self.closed:
                try:
                    async with self._reading:
                        return await read()
                except WAITS as error:
                    self._tell(lane, error)
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
        finally:
            if self._waiting.pop(lane, None) is not None and not self._waiting:
                self._tell_at = 0.0
                if self.health is not None:
                    self.health.clear(self._source)

    def stuck(self, lane: Lane[Any], error: Exception) -> None:
        """A lane can neither go on nor be parked, by an error of ours: that is for whoever is on call."""
        if self.health is not None:
            reason = f"{self._handler}/{lane.entity} can neither go on nor be parked: {words_of(error)}"
            self.health.red(f"lane {self._handler}/{lane.world}/{lane.entity}", reason)

    def free(self, lane: Lane[Any]) -> None:
        """A lane that was stuck went on."""
        if self.health is not None:
            self.health.clear(f"lane {self._handler}/{lane.world}/{lane.entity}")

    @property
    def _source(self) -> str:
        return f"lanes of {self._handler}"

    def _tell(self, lane: Lane[Any], error: Exception) -> None:
        now = asyncio.get_running_loop().time()
        self._waiting.setdefault(lane, now)
        if now < self._tell_at:
            return
        first, since = next(iter(self._waiting.items()))
        waited_s = now - since
        self._tell_at = now + max(LONG_S / 5, waited_s)
        log.warning(
            "lane_waits_for_the_log",
            handler=self._handler,
            lane=first.entity,
            lanes=len(self._waiting),
            waited_s=round(waited_s, 1),
            error=str(error),
        )
        if self.health is not None and waited_s >= LONG_S:
            more = f" and {len(self._waiting) - 1} more" if len(self._waiting) > 1 else ""
            self.health.red(self._source, f"{self._handler}/{first.entity}{more} cannot be read from the log for {waited_s:.0f} s: {error}")
