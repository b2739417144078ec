"""Choosing: who of those that wait begins next, and who makes room for somebody who matters more.

Everything here runs on one worker's event loop, decides from what the worker knows at that moment, and waits for nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol

from inference.admission import Admission, Offer
from inference.clock_offset import ServerClock
from inference.deadlines import MS
from inference.engine import Engine
from inference.fairness import FairQueue
from inference.lateness import Lateness
from inference.prospects import Prospects, may_yield
from inference.room import yielding
from inference.serving import stop
from inference.work import Work

LAG_MATTERS_S: Final = 0.01


class Chosen(Protocol):
    """The worker's side of the choice: it begins the requests that are chosen."""

    @property
    def engine(self) -> Engine | None:
        """The engine, if one is up."""
        ...

    def begin(self, work: Work, offer: Offer) -> None:
        """Begin a request that has a slot."""
        ...

    def give_up(self, work: Work, code: str, reason: str) -> None:
        """No model will answer it here."""
        ...

    def looked(self) -> None:
        """Say what else may come: every waiting request was looked at."""
        ...


class Choosing:
    """The requests that wait and those that run. `draining`: no request begins any more."""

    def __init__(self, chosen: Chosen, admission: Admission, clock: ServerClock, look_ahead: int) -> None:
        self.waiting: FairQueue[Work] = FairQueue()
        self.running: set[Work] = set()
        self.draining = False
        self._chosen = chosen
        self._admission = admission
        self._clock = clock
        self._prospects = Prospects(admission, clock)
        self._look_ahead = look_ahead
        self._loop = asyncio.get_running_loop()
        self._yielding: Work | None = None
        self._promised: Work | None = None
        """For whom somebody yields: without the promise whoever yielded might be next itself."""
        self._resting_until = 0.0
        """Time of the event loop's clock until which the engine has said that it takes nothing."""
        self._woken = False
        self._added = False
        """True if a request came, or time has passed, since it was seen whether all that wait can be served."""
        self._lateness = Lateness(admission.lag, LAG_MATTERS_S, worse=self._watch_all, busy=self._has_work, looked=self._time_passed)

    def add(self, work: Work) -> None:
        """Let it wait for its turn, or refuse whoever would make others late; it is looked at again before the last moment at which it
        could begin, whatever happens."""
        if self.resting_s and self._cannot_wait(work):
            self._chosen.give_up(work, "no_slot", "the engine takes nothing for longer than there is time")
            return
        self.waiting.add(work, paid=work.began_at > 0)
        self.watch(work, self.latest_ns(work))
        if len(self.waiting) > self._look_ahead:
            greedy = self.waiting.greediest()
            assert greedy is not None
            self._refuse(greedy)
        self._added = True
        self._lateness.measure()
        self.wake()

    def left(self, work: Work) -> None:
        """Take note that a request runs no longer."""
        if work in self.running:
            self.running.remove(work)
            self.waiting.ended(work)
            if work.end is not None and work.allowed:
                self._admission.used.learn(work.kept / work.allowed)
        if work is self._yielding:
            self._yielding = None  # it may run again before anybody looks
        self.wake()

    def rest(self, seconds: float) -> None:
        """Begin nobody for so long; who cannot wait for that is answered at once without the engine."""
        until = self._loop.time() + seconds
        if until <= self._resting_until:
            return
        self._resting_until = until
        self._loop.call_later(seconds, self.wake)
        for work in self.waiting.sweep(self._cannot_wait):
            self._chosen.give_up(work, "no_slot", "the engine takes nothing for longer than there is time")

    @property
    def resting_s(self) -> float:
        """For how long nobody begins."""
        return max(0.0, self._resting_until - self._loop.time())

    def _cannot_wait(self, work: Work) -> bool:
        return self._chosen.engine is not None and self._clock.now_ns() + self.resting_s * 1e9 > self.latest_ns(work)

    def speaks(self, work: Work) -> bool:
        """Return whether the engine that is up has words for it."""
        engine = self._chosen.engine
        return engine is not None and engine.abilities.speaks(work.ask.grammar)

    def wake(self) -> None:
        """Look who is next, once per turn of the event loop."""
        if not self._woken:
            self._woken = True
            self._loop.call_soon(self._look)

    def latest_ns(self, work: Work) -> int:
        """The last moment at which the quickest rung of the engine could begin."""
        engine = self._chosen.engine
        assert engine is not None
        return self._prospects.latest_ns(work, engine, idle=not self.running)

    def watch(self, work: Work, at_ns: int) -> None:
        """Look at it again at that moment of the server's clock."""
        if work.timer is not None:
            work.timer.cancel()
        delay = (at_ns - self._clock.now_ns()) / 1e9
        work.timer = self._loop.call_later(max(0.0, delay), self._on_time, work)

    def _watch_end(self, work: Work) -> None:
        """Stop it when no more than the reserve is left."""
        self.watch(work, self._prospects.end_ns(work))

    def _on_time(self, work: Work) -> None:
        if work in self.running:
            stop(work, "too_late")
        elif self.waiting.remove(work):
            self._chosen.give_up(work, "no_slot", "no slot became free in time")

    def _watch_all(self) -> None:
        for work in self.waiting:
            self.watch(work, self.latest_ns(work))
        for work in self.running:
            self._watch_end(work)

    def _time_passed(self) -> None:
        self._added = True
        self.wake()

    def _has_work(self) -> bool:
        return bool(self.waiting or self.running)

    def _refuse_late(self, engine: Engine) -> None:
        """Refuse until all that wait can be served; but nobody for whom room will be made."""
        self._added = False
        if len(self.waiting) + len(self.running) <= engine.slots:
            return
        victims = [work for work in self.running if may_yield(work, engine)]

        def choose(late: Sequence[Work]) -> Work | None:
            left = list(late)
            while (work := self.waiting.greediest(left)) is not None:
                if yielding(work, victims, self.waiting, lambda _: False) is None:
                    return work
                left.remove(work)
            return None

        for work in self._prospects.refused(self.waiting, self.running, engine, choose):
            self._refuse(work)

    def _refuse(self, work: Work) -> None:
        self.waiting.remove(work)
        self._chosen.give_up(work, "no_slot", f"{len(self.waiting)} others wait, and {work.flow.player or 'the world'} has most of them")

    # -- who is next -------------------------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        self._woken = False
        engine = self._chosen.engine
        if engine is not None and not self.draining and not self.resting_s:
            self.waiting.slots = engine.slots
            while self.waiting and len(self.running) < engine.slots:
                self._begin_next(engine)
            if self._added:
                self._refuse_late(engine)
            if self.waiting:
                self._make_room(engine)
        self._chosen.looked()

    def _begin_next(self, engine: Engine) -> None:
        now = self._clock.now_ns()
        work = self.waiting.take(now, self._promised)
        assert work is not None
        self._promised = None
        terms = work.ask.ladder, work.wanted(), work.choice_chars(engine), (work.deadline_ns - now) / 1e9
        offer = self._admission.offer(*terms)
        if offer is None and not self.running:
            offer = self._admission.trial(*terms)
        if offer is None:
            self.waiting.ended(work)
            left = (work.deadline_ns - now) // MS
            self._chosen.give_up(work, "too_late", f"{left} ms are left, too few for any answer of {engine.model}")
            return
        work.code = "preempted" if work.preemptions else "too_late"
        self.running.add(work)
        self._watch_end(work)
        self._chosen.begin(work, offer)

    # -- who makes room ----------------------------------------------------------------------------------------------------------------

    def _make_room(self, engine: Engine) -> None:
        """Stop somebody for whoever is next, if they may have the slot (`inference.room`); one at a time."""
        if self._yielding is not None:
            return
        now = self._clock.now_ns()
        candidate = self.waiting.peek(now)
        victims = [work for work in self.running if may_yield(work, engine)]
        if candidate is None or not victims:
            return
        prospects = self._prospects
        pressed = prospects.pressed(candidate, self.running, engine)
        self._yielding = yielding(candidate, victims, self.waiting, lambda victim: pressed and prospects.relaxed(victim, candidate))
        if self._yielding is not None:
            self._promised = candidate
            stop(self._yielding, "preempted")
