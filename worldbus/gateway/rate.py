"""A token bucket: so many a second, with room for a burst."""

from __future__ import annotations


class Bucket:
    """Holds at most `burst`, refilled with `rate` per second. Times are any clock's seconds that only goes forward."""

    __slots__ = ("_at", "_left", "burst", "rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate = rate
        self.burst = burst
        self._left = burst
        self._at = now

    def take(self, count: int, now: float) -> float:
        """Take `count` and return 0, or take nothing and return the seconds until there will be enough.

        More than the burst is let through on a full bucket and leaves a debt, so that a limit can slow a large batch but never ban it.
        """
        self._refill(now)
        needed = min(count, self.burst)
        if self._left + 1e-9 < needed:
            return (needed - self._left) / self.rate
        self._left -= count
        return 0.0

    def wait(self, now: float) -> float:
        """Seconds until one can be taken."""
        self._refill(now)
        return max(0.0, (1 - 1e-9 - self._left) / self.rate)

    def _refill(self, now: float) -> None:
        self._left = min(self.burst, self._left + (now - self._at) * self.rate)
        self._at = now
