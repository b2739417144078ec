"""The last step of a clock, and how world time runs on from there. Whole numbers only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """The clock as of its last step. `real_ms` is what it has heard since it started, `owed` counts thousandths of a world millisecond."""

    world_ms: int
    real_ms: int
    scale: int
    owed: int = 0
    paused: bool = False

    def world_at(self, real_ms: int) -> int:
        """World milliseconds when the clock has heard `real_ms`; those of the anchor before it, and while paused."""
        if self.paused or real_ms <= self.real_ms:
            return self.world_ms
        return self.world_ms + (self.owed + (real_ms - self.real_ms) * self.scale) // 1000

    def real_when(self, world_ms: int) -> int:
        """The least real time heard at which the clock reaches `world_ms`; the anchor's own if it is over. Not for a paused clock."""
        missing = (world_ms - self.world_ms) * 1000 - self.owed
        return self.real_ms + max(0, -(-missing // self.scale))
