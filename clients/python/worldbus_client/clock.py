"""The time in the world, counted on from one answer: the clock is silent while nothing is due.

anchor = Anchor.of_answer(json)          # of the gateway's /v1/clock, asked once
world_time(anchor)                       # world milliseconds now, as often as you like

bus.on_signal("clock", lambda it: show(it.read(PresentMoment).now))     # or as a signal, four times a second
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

CLOCK = "clock"


@dataclass(frozen=True)
class Anchor:
    """A clock's last step.

    `at` is seconds since 1970, by the log's clock; `scale` is world milliseconds per real second. World time goes on without another step
    for `rests_ms` real milliseconds, and not at all unless it is `running`.
    """

    at: float
    world_ms: int
    scale: int
    running: bool = True
    rests_ms: int = 0
    owed_thousandths: int = 0

    @classmethod
    def of_answer(cls, answer: Mapping[str, Any]) -> Anchor:
        """The `anchor` in an answer of the gateway's `/v1/clock`."""
        found = answer["anchor"]
        at = datetime.fromisoformat(found["at"]).timestamp()
        return cls(at, found["world_ms"], found["scale"], found["running"], found["rests_ms"], found["owed_thousandths"])


def world_time(anchor: Anchor, now: float | None = None) -> int:
    """World milliseconds at `now` (seconds since 1970; this machine's clock if not given), never before the anchor's own."""
    if not anchor.running:
        return anchor.world_ms
    passed_ms = round(((time.time() if now is None else now) - anchor.at) * 1e6) // 1000  # a float of today is right to the microsecond
    passed_ms = max(0, min(passed_ms, anchor.rests_ms))
    return anchor.world_ms + (anchor.owed_thousandths + passed_ms * anchor.scale) // 1000 if passed_ms else anchor.world_ms
