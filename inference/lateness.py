"""Lateness: how late the event loop comes to what is due, watched as long as somebody has timers that reckon with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from inference.admission import Lag

EVERY_S: Final = 0.02


class Lateness:
    """Measures `lag` every 20 ms while `busy` says so, and calls `looked` after every measurement. When the lateness has grown by more than
    `matters_s` beyond what the timers were set with, it calls `worse`: they have to be set again, earlier. All on the event loop."""

    def __init__(
        self, lag: Lag, matters_s: float, *, worse: Callable[[], None], busy: Callable[[], bool], looked: Callable[[], None]
    ) -> None:
        self._lag = lag
        self._matters_s = matters_s
        self._worse = worse
        self._busy = busy
        self._looked = looked
        self._loop = asyncio.get_running_loop()
        self._measuring = False
        self.reckoned_s = 0.0
        """Lateness that the timers which are set reckon with, seconds. It falls only when the lateness has halved."""

    def measure(self) -> None:
        """Begin, if it is not going on: somebody is busy now."""
        if not self._measuring:
            self._again()

    def _again(self) -> None:
        self._measuring = True
        self._loop.call_later(EVERY_S, self._measured, self._loop.time() + EVERY_S)

    def _measured(self, due: float) -> None:
        self._lag.learn(self._loop.time() - due)
        if self._lag.cautious > self.reckoned_s + self._matters_s:
            self.reckoned_s = self._lag.cautious
            self._worse()
        self.reckoned_s = min(self.reckoned_s, 2 * self._lag.cautious)
        self._looked()
        self._measuring = False
        if self._busy():
            self._again()
