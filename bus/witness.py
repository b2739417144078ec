"""Time that a thread was given, rather than time that passed.

A process that was stopped, swapped out or starved stands still by the clock and has done nothing wrong. So the pauses between looks count
up to a limit each, without the time in which the thread waited for a processor, and as processor time alone where it waited for the disk to
give its memory back.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple


class _Account(NamedTuple):
    """The kernel's account of a thread: nanoseconds on a processor and waiting for one, and page faults that went to the disk."""

    ran_ns: int = 0
    waited_ns: int = 0
    faults: int = 0


class Witness:
    """Counts the witnessed seconds of one thread, `native_id` being the kernel's number of it. `most_s` is how much one look may count."""

    def __init__(self, native_id: int, *, most_s: float) -> None:
        self._most_s = most_s
        self._folder = Path(f"/proc/self/task/{native_id}")
        self.restart()

    def restart(self) -> None:
        """Count from now on."""
        self._at = time.monotonic()
        self._account = self._read()

    def passed(self) -> float:
        """Witnessed seconds since the last call, or the restart."""
        before, at = self._account, self._at
        self.restart()
        now = self._account
        seconds = self._at - at - (now.waited_ns - before.waited_ns) / 1e9
        if now.faults > before.faults:
            seconds = (now.ran_ns - before.ran_ns) / 1e9
        return min(max(seconds, 0.0), self._most_s)

    def _read(self) -> _Account:
        """The kernel's account of the thread; zeros where it keeps none, and then all time up to the limit counts."""
        try:
            ran, waited, *_ = self._folder.joinpath("schedstat").read_text().split()
            stat = self._folder.joinpath("stat").read_text()
            return _Account(int(ran), int(waited), int(stat[stat.rindex(")") + 2 :].split()[9]))
        except (OSError, ValueError, IndexError):
            return _Account()
