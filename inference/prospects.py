"""Prospects: until when each request may begin, and who, of all that one engine has and has before it, would begin too late.

Reads works, changes none. Moments that end in `_ns` are of the log's clock.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from inference.admission import Admission
from inference.clock_offset import ServerClock
from inference.engine import Engine
from inference.forecast import first_late
from inference.work import Work

MOST_PREEMPTIONS: Final = 3


def may_yield(work: Work, engine: Engine) -> bool:
    """Whether a running generation can be stopped and go on later: nothing of it was heard, or the engine can go on behind it."""
    if work.generating is None or work.stopped is not None or work.preemptions >= MOST_PREEMPTIONS:
        return False
    return not work.tale.started or (engine.abilities.resume and not work.shaped)


class Prospects:
    """Of one worker."""

    def __init__(self, admission: Admission, clock: ServerClock) -> None:
        self._admission = admission
        self._clock = clock

    def latest_ns(self, work: Work, engine: Engine) -> int:
        """The last moment at which the quickest rung of the engine could begin."""
        least = self._admission.least_s(work.ask.ladder, work.wanted(), work.choice_chars(engine))
        reserve = self._admission.reserve_s(work.ask.ladder)
        return work.deadline_ns - int(max(min(least, 3600.0), reserve) * 1e9)

    def end_ns(self, work: Work) -> int:
        """The moment at which a generation has to stop, so that what is left can be said and recorded."""
        return work.deadline_ns - int(self._admission.reserve_s(work.ask.ladder) * 1e9)

    def late(self, waiting: Collection[Work], running: Collection[Work], engine: Engine) -> list[Work]:
        """Those among whom somebody has to be refused, because all of them cannot be answered in full and in time; nobody, if they can.

        Whoever has less time goes first, in place of running ones that can wait for it.
        """
        if not waiting:
            return []
        now = self._clock.now_ns()
        fixed = [one for one in running if not may_yield(one, engine)]
        free_in = [*(self._remaining_s(one) for one in fixed), *[0.0] * (engine.slots - len(fixed))]
        order = sorted((*waiting, *(one for one in running if one not in fixed)), key=lambda one: one.deadline_ns)
        place = first_late(free_in, ((self._until_s(one, one in running, engine, now), self._remaining_s(one)) for one in order))
        return [] if place is None else [one for one in order[: place + 1] if one not in running]

    def pressed(self, work: Work, running: Collection[Work], engine: Engine) -> bool:
        """Whether it would lose a rung if it waited for the next slot to become free by itself."""
        step = self._admission.per_token.cautious
        free_in = min((max(0, one.allowed - one.kept) * step for one in running), default=0.0)
        return self._clock.now_ns() + int(free_in * 1e9) > self.latest_ns(work, engine)

    def relaxed(self, victim: Work, candidate: Work) -> bool:
        """Whether a running one can wait for another one and still be whole."""
        seconds = self._admission.seconds(candidate.wanted()) + 2 * self._admission.seconds(victim.wanted())
        return self._clock.now_ns() + int(seconds * 1e9) < self.end_ns(victim)

    def _until_s(self, work: Work, runs: bool, engine: Engine, now_ns: int) -> float:
        """Seconds from now until a full answer can begin no more; where that has passed, until any answer of the engine can."""
        left = (self.end_ns(work) - now_ns) / 1e9
        if runs:
            return max(0.0, left - self._remaining_s(work))
        full = left - self._admission.seconds(work.wanted())
        return full if full >= 0 else (self.latest_ns(work, engine) - now_ns) / 1e9

    def _remaining_s(self, work: Work) -> float:
        return self._admission.likely_s(max(1, work.allowed - work.kept) if work.generating is not None else work.wanted())
