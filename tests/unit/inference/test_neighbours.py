"""Neighbours, in virtual time: slots, arrivals and services are numbers, the choices are the worker's own. Nothing waits or measures."""

from __future__ import annotations

import heapq
import itertools
import random
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from inference.fairness import FairQueue, Flow
from inference.room import yielding
from tests.laws import examples

MS = 1_000_000
SLOTS = 8
SERVICE_MS = 210
NOISY = Flow("w", "noisy")


@dataclass(eq=False)
class One:
    flow: Flow
    at_ms: float
    cost: float = 16.0
    salience: float = 0.5
    budget_ms: float = 1500.0
    left_ms: float = SERVICE_MS
    began_ms: float = -1.0
    """When it last began."""
    waited_ms: float = -1.0
    """From its arrival to its first beginning."""
    preemptions: int = 0
    done_ms: float = -1.0

    @property
    def deadline_ns(self) -> int:
        return int((self.at_ms + self.budget_ms) * MS)


@dataclass
class Simulation:
    """An engine of some slots whose generations go on where they were stopped."""

    slots: int = SLOTS
    queue: FairQueue[One] = field(default_factory=FairQueue)
    running: set[One] = field(default_factory=set)
    _events: list[tuple[float, int, One, int]] = field(default_factory=list)
    _ticket: itertools.count[int] = field(default_factory=itertools.count)

    def run(self, arrivals: list[One]) -> None:
        self.queue.slots = self.slots
        for one in arrivals:
            heapq.heappush(self._events, (one.at_ms, next(self._ticket), one, -1))
        while self._events:
            now, _, one, run = heapq.heappop(self._events)
            if run < 0:
                self.queue.add(one)
            elif one in self.running and one.preemptions == run:
                self._leave(one)
                one.done_ms = now
            for dropped in self.queue.sweep(lambda waiting, now=now: waiting.deadline_ns < now * MS):  # type: ignore[misc]
                assert dropped not in self.running
            self._fill(now)

    def _fill(self, now: float) -> None:
        while self.queue:
            if len(self.running) == self.slots:
                candidate = self.queue.peek(int(now * MS))
                assert candidate is not None
                victim = yielding(candidate, [one for one in self.running if one.preemptions < 3], self.queue, lambda _: False)
                if victim is None:
                    return
                self._leave(victim)
                victim.preemptions += 1
                victim.left_ms -= now - victim.began_ms
                self.queue.add(victim, paid=True)
                began = self._begin(now, candidate)
                assert began is candidate, "room was made for somebody else"
            else:
                self._begin(now)

    def _begin(self, now: float, promised: One | None = None) -> One:
        one = self.queue.take(int(now * MS), promised)
        assert one is not None
        self.running.add(one)
        one.began_ms = now
        if one.waited_ms < 0:
            one.waited_ms = now - one.at_ms
        heapq.heappush(self._events, (now + one.left_ms, next(self._ticket), one, one.preemptions))
        return one

    def _leave(self, one: One) -> None:
        self.running.remove(one)
        self.queue.ended(one)


def _load(rate: float, seconds: float, seed: int, player: str = "", salience: float = 0.5) -> list[One]:
    dice, at, ones = random.Random(seed), 0.0, []
    while (at := at + dice.expovariate(rate)) < seconds:
        ones.append(One(Flow("w", player or f"p{dice.randrange(20)}"), at * 1000, salience=salience))
    return ones


def test_a_player_who_asks_a_hundred_times_as_often_delays_nobody_whose_share_is_free() -> None:
    others, noise = _load(8, 60, 1), _load(40, 60, 2, "noisy")
    Simulation().run([*others, *noise])
    waits = sorted(one.waited_ms for one in others)

    assert all(one.done_ms >= 0 for one in others)
    assert waits[int(0.99 * len(waits))] == 0
    # The noisy player still gets what is left: eight slots less those that the others used.
    assert sum(one.done_ms >= 0 for one in noise) > 0.7 * (SLOTS * 60_000 / SERVICE_MS - len(others))


def test_a_player_who_finds_everything_they_ask_for_more_salient_gets_no_slot_out_of_the_shares_of_others() -> None:
    others, noise = _load(8, 60, 3), _load(40, 60, 4, "noisy", salience=1.0)
    Simulation().run([*others, *noise])
    late = [one for one in others if one.waited_ms > SERVICE_MS / SLOTS]

    assert all(one.done_ms >= 0 for one in others)
    assert sum(one.preemptions > 0 for one in others) < 0.05 * len(others)  # only who held two slots when eight and more asked
    assert len(late) < 0.02 * len(others)


def test_nobody_makes_room_for_a_player_who_would_then_hold_more_of_their_share() -> None:
    queue: FairQueue[One] = FairQueue(4)
    running = [One(Flow("w", f"p{number}"), 0, salience=0.1) for number in range(3)] + [One(NOISY, 0)]
    for one in running:
        queue.add(one)
    assert {queue.take(0) for _ in running} == set(running)
    queue.add(One(NOISY, 0, salience=1.0))
    candidate = queue.peek(0)
    assert candidate is not None

    assert yielding(candidate, running[:3], queue, lambda _: True) is None
    assert yielding(candidate, running[3:], queue, lambda _: True) is running[3]  # their own is theirs to give up


def test_a_salient_request_takes_the_slot_of_the_least_salient() -> None:
    queue: FairQueue[One] = FairQueue(3)
    running = [One(Flow("w", f"p{number}"), 0, salience=salience) for number, salience in enumerate((0.3, 0.1, 0.2))]
    for one in running:
        queue.add(one)
        queue.take(0)

    assert yielding(One(Flow("w", "vip"), 0, salience=0.5), running, queue, lambda _: False) is running[1]
    assert yielding(One(Flow("w", "vip"), 0, salience=0.2), running, queue, lambda _: False) is None
    assert yielding(One(Flow("w", "vip"), 0, salience=0.2), running, queue, lambda _: True) is running[1]


def test_looking_at_who_is_next_changes_nothing() -> None:
    queue: FairQueue[One] = FairQueue(1)
    for _ in range(3):
        queue.add(One(NOISY, 0))
    assert queue.take(0) is not None
    for _ in range(100):
        queue.peek(0)  # the engine is full, and everything that happens makes the worker look
    newcomer = One(Flow("w", "p"), 0, budget_ms=10_000)
    queue.add(newcomer)

    assert queue.peek(0) is newcomer


def test_whose_generation_was_stopped_is_not_charged_twice() -> None:
    queue: FairQueue[One] = FairQueue(1)
    stopped, other = One(Flow("w", "a"), 0), One(Flow("w", "b"), 0)
    behind = [One(one.flow, 0, budget_ms=3000) for one in (stopped, other)]
    for one in (stopped, other, *behind):
        queue.add(one)
    assert queue.take(0) is stopped
    queue.ended(stopped)
    queue.add(stopped, paid=True)
    order = [one for one in iter(lambda: queue.take(0), None) if queue.ended(one) is None]  # type: ignore[func-returns-value]

    assert order[:2] in ([stopped, other], [other, stopped])


@settings(max_examples=examples(60))
@given(
    st.integers(1, 8),
    st.lists(
        st.builds(
            One,
            flow=st.builds(Flow, st.sampled_from("ab"), st.sampled_from("xyz")),
            at_ms=st.floats(0, 2000),
            cost=st.floats(1, 400),
            salience=st.floats(0, 1),
            left_ms=st.floats(1, 500),
            budget_ms=st.floats(1, 10_000),
        ),
        max_size=60,
    ),
)
def test_no_slot_idles_while_somebody_waits_and_none_is_lost(slots: int, arrivals: list[One]) -> None:
    simulation = Simulation(slots)
    simulation.run(arrivals)

    assert not simulation.running
    assert not len(simulation.queue)
    assert all(one.done_ms >= 0 or one.waited_ms < 0 or one.preemptions for one in arrivals)
    assert not any(simulation.queue.held(one.flow) for one in arrivals)


@given(
    st.dictionaries(st.builds(Flow, st.sampled_from("abc"), st.sampled_from("uvxyz")), st.integers(1, 6), min_size=1), st.integers(1, 32)
)
def test_shares_are_of_the_slots_and_worlds_share_alike(held: dict[Flow, int], slots: int) -> None:
    queue: FairQueue[One] = FairQueue(slots)
    for flow, count in held.items():
        for _ in range(count):
            queue.add(One(flow, 0))
    while queue.take(0):
        pass
    shares = {flow: queue.share(flow) for flow in held}
    worlds = {flow.world for flow in held}

    assert all(share >= 1 for share in shares.values())
    for world in worlds:
        total = sum(share for flow, share in shares.items() if flow.world == world)
        players = sum(flow.world == world for flow in held)
        assert abs(total - max(players, slots / len(worlds))) < 1e-6
