"""Prospects: until when each request may begin, and who, of all that one engine has and has before it, would begin too late.

Reads works, changes none. Moments that end in `_ns` are of the log's clock.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final

from inference.admission import Admission
from inference.clock_offset import ServerClock
from inference.engine import Engine
from inference.forecast import first_late
from inference.work import Work

MOST_PREEMPTIONS: Final = 3


def may_yield(work: Work, engine: Engine) -> bool:
    """Return whether a running generation can be stopped and go on later: nothing was heard of it, or the engine can go on behind it."""
    if work.generating is None or work.stopped is not None or work.preemptions >= MOST_PREEMPTIONS:
        return False
    return not work.tale.started or (engine.abilities.resume and not work.shaped)


class Prospects:
    """Of one worker."""

    def __init__(self, admission: Admission, clock: ServerClock) -> None:
        self._admission = admission
        self._clock = clock

    def latest_ns(self, work: Work, engine: Engine, *, idle: bool = False) -> int:
        """The last moment at which the quickest rung of the engine could begin; an idle engine may try more."""
        least = self._admission.least_s(work.ask.ladder, work.wanted(), work.choice_chars(engine), idle=idle)
        reserve = self._admission.reserve_s(work.ask.ladder)
        return work.deadline_ns - int(max(min(least, 3600.0), reserve) * 1e9)

    def end_ns(self, work: Work) -> int:
        """The moment at which a generation has to stop, so that what is left can be said and recorded."""
        return work.deadline_ns - int(self._admission.reserve_s(work.ask.ladder) * 1e9)

    def refused(
        self, waiting: Iterable[Work], running: Collection[Work], engine: Engine, choose: Callable[[Sequence[Work]], Work | None]
    ) -> list[Work]:
        """Pick the requests to refuse when those that wait cannot all be answered in full and in time.

        `choose` picks each among those without which the rest could be in time, or none. A request with less time goes first, in
        place of running ones that can wait for it.
        """
        now = self._clock.now_ns()
        fixed = [one for one in running if not may_yield(one, engine)]
        free_in = [*(self._remaining_s(one) for one in fixed), *[0.0] * (engine.slots - len(fixed))]
        queue = [(one, self._until_s(one, engine, now), self._remaining_s(one), False) for one in waiting]
        for one in running:
            if one not in fixed:
                takes = self._remaining_s(one)
                queue.append((one, max(0.0, (self.end_ns(one) - now) / 1e9 - takes), takes, True))
        queue.sort(key=lambda item: item[0].deadline_ns)
        found: list[Work] = []
        while (place := first_late(free_in, ((until, takes) for _, until, takes, _ in queue))) is not None:
            work = choose([one for one, _, _, runs in queue[: place + 1] if not runs])
            if work is None:
                break
            found.append(work)
            queue = [item for item in queue if item[0] is not work]
        return found

    def pressed(self, work: Work, running: Collection[Work], engine: Engine) -> bool:
        """Return whether a request would lose a rung if it waited for the next slot to become free by itself."""
        step = self._admission.per_token.cautious
        free_in = min((max(0, one.allowed - one.kept) * step for one in running), default=0.0)
        return self._clock.now_ns() + int(free_in * 1e9) > self.latest_ns(work, engine)

    def relaxed(self, victim: Work, candidate: Work) -> bool:
        """Return whether a running request can wait for another one and still be whole."""
        seconds = self._admission.seconds(candidate.wanted()) + 2 * self._admission.seconds(victim.wanted())
        return self._clock.now_ns() + int(seconds * 1e9) < self.end_ns(victim)

    def _until_s(self, work: Work, engine: Engine, now_ns: int) -> float:
        """Seconds from now until a full answer can begin no more; where that has passed, until any answer of the engine can."""
        full = (self.end_ns(work) - now_ns) / 1e9 - self._admission.seconds(work.wanted())
        return full if full >= 0 else (self.latest_ns(work, engine) - now_ns) / 1e9

    def _remaining_s(self, work: Work) -> float:
        return self._admission.likely_s(max(1, work.allowed - work.kept) if work.generating is not None else work.wanted())
