"""Laws of a clock that rests, with the ticker that speaks for it: nothing is early, nothing late, and no millisecond is told twice.

The ticker's plan and term run on simulated time; the clock answers at once. Beside them an ideal clock knows the time at every moment.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bus.testing import Rehearsal
from handlers.time_manager import CLOCK
from schemas.gen.worldbus.time.v1.time_pb2 import (
    ClockAdvanced,
    ClockChangeTaken,
    ClockPaused,
    ClockPauseRequested,
    ClockResumed,
    ClockResumeRequested,
    ClockScaleChanged,
    ClockScaleRequested,
    ClockStartRequested,
    RealTimePassed,
    ScheduledEventFired,
    ScheduledEventRequested,
    WakeCancelRequested,
    WakeFired,
    WakeRequested,
)
from tests.duskmarket import time
from worldbus.ticker.plan import Plan
from worldbus.ticker.term import BURST, MS, Term

relaxed = settings(deadline=None)
REST_MS, GAP_MS = 300_000, 310_000
EVERY_MS = 250
names = st.sampled_from(["a", "b", "c", "d"])
wakes = st.one_of(
    st.builds(lambda name, ms: WakeRequested(name=name, in_world_ms=ms), names, st.integers(1, 10**8)),
    st.builds(lambda name, ms: WakeRequested(name=name, in_real_ms=ms), names, st.integers(1, 10**6)),
    st.builds(lambda name, ms: WakeRequested(name=name, at_world_ms=ms), names, st.integers(0, 10**8)),
)
changes = st.one_of(
    st.builds(lambda scale: ClockScaleRequested(scale=scale), st.integers(1, 60_000)),
    st.just(ClockPauseRequested()),
    st.just(ClockResumeRequested()),
)
wishes = st.one_of(wakes, wakes, changes, st.builds(lambda name: WakeCancelRequested(name=name), names))


class Ideal:
    """A clock that knows the present moment: world time in thousandths of a millisecond, by real milliseconds."""

    def __init__(self, scale: int) -> None:
        self.scale, self.paused = scale, False
        self.at_ms, self.thousandths = 0, 0
        self.due: dict[str, tuple[str, int]] = {}  # name → (world or real, when)

    def world_ms(self, now_ms: int) -> int:
        return (self.thousandths + (0 if self.paused else (now_ms - self.at_ms) * self.scale)) // 1000

    def wish(self, now_ms: int, wish: Any) -> None:
        self.thousandths += 0 if self.paused else (now_ms - self.at_ms) * self.scale
        self.at_ms = now_ms
        match wish:
            case ClockScaleRequested(scale=scale):
                self.scale = scale
            case ClockPauseRequested() | ClockResumeRequested():
                self.paused = isinstance(wish, ClockPauseRequested)
            case WakeCancelRequested(name=name):
                self.due.pop(name, None)
            case WakeRequested() if wish.in_real_ms:
                self.due[wish.name] = ("real", now_ms + wish.in_real_ms)
            case WakeRequested():
                self.due[wish.name] = ("world", self.world_ms(now_ms) + wish.in_world_ms if wish.in_world_ms else wish.at_world_ms)


class Simulated:
    """A resting clock and its ticker, on simulated time."""

    def __init__(self, scale: int) -> None:
        self.town = Rehearsal(time)
        self.plan = Plan()
        self.now_ms = 0
        self.heard = 0
        self.words = 0
        self.said: list[tuple[int, Message]] = []
        self.say(ClockStartRequested(scale=scale), CLOCK)
        self.term = Term(self.plan, since_ns=0, now_ns=0, rest_ms=REST_MS, gap_ms=GAP_MS)
        self.speak_until(0)

    def say(self, message: Message, entity: str, subsystem: str = "game") -> int:
        position = len(self.town.log) + 1
        self.town.say(message, entity=entity, subsystem=subsystem)
        for event in self.town.log[self.heard :]:
            if event.subsystem == "time":
                self.plan.hear(event)
                self.said.append((self.now_ms, event.data))
        self.heard = len(self.town.log)
        return position

    def speak_until(self, until_ms: int) -> None:
        while (due_ms := -(-self.term.next_ns() // MS)) <= until_ms:
            self.now_ms = max(self.now_ms, due_ms)
            now_ns = self.now_ms * MS
            passed_ms = self.term.passed_ms(now_ns)
            position = self.say(RealTimePassed(real_ms=passed_ms, rests_ms=GAP_MS), CLOCK, "ticker")
            self.term.said(position, passed_ms, now_ns)
            self.words += 1
        self.now_ms = max(self.now_ms, until_ms)

    def wait(self, ms: int) -> None:
        """Until some milliseconds later, and one more if a word was said just then: there would be nothing to tell behind it."""
        self.speak_until(self.now_ms + ms)
        if self.term.passed_ms(self.now_ms * MS) == 0:
            self.speak_until(self.now_ms + 1)

    def moments(self, *kinds: type[Message]) -> list[tuple[int, Any]]:
        return [(when, message) for when, message in self.said if isinstance(message, kinds)]


def play(gaps: list[int], asked: list[Any], scale: int = 60_000) -> tuple[Simulated, Ideal, list[tuple[int, Any, tuple[str, int]]]]:
    """The wishes, each so many milliseconds behind the one before, and at the end enough time for most. What fired, and when it was due."""
    town, ideal = Simulated(scale), Ideal(scale)
    fired: list[tuple[int, Any, tuple[str, int]]] = []
    seen = 0

    def look() -> None:
        nonlocal seen
        for when, message in town.said[seen:]:
            if isinstance(message, WakeFired):
                assert message.name in ideal.due, "fired, and nobody had asked for it, or it had fired before"
                fired.append((when, message, ideal.due.pop(message.name)))
        seen = len(town.said)

    for gap, wish in zip(gaps, asked, strict=True):
        town.wait(gap)
        look()
        ideal.wish(town.now_ms, wish)
        town.say(wish, "e1" if isinstance(wish, WakeRequested | WakeCancelRequested) else CLOCK)
        town.speak_until(town.now_ms)
        look()
    town.speak_until(town.now_ms + 2_000_000)
    look()
    return town, ideal, fired


spaced = st.lists(st.tuples(st.integers(2_000, 700_000), wishes), max_size=25)


@given(spaced)
@relaxed
def test_a_resting_clock_is_as_exact_as_one_that_always_knows_the_time(steps: list[tuple[int, Any]]) -> None:
    town, ideal, fired = play([gap for gap, _ in steps], [wish for _, wish in steps])
    state = town.town.state(time, CLOCK)

    assert town.town.refold()["time", CLOCK] == state
    assert (state.scale, state.paused) == (ideal.scale, ideal.paused)
    ahead = town.now_ms - state.real_ms  # not told yet: nothing was due meanwhile
    assert 0 <= ahead <= REST_MS
    assert state.world_ms == ideal.world_ms(state.real_ms)
    for when, message, (kind, due) in fired:
        if kind == "real":
            assert when == due
            assert message.due_real_ms == due
    for kind, due in ideal.due.values():  # what did not fire is not due
        assert due > (town.now_ms if kind == "real" else state.world_ms) or (kind == "world" and state.paused)


@given(spaced, st.integers(0, 2_000_000), st.integers(1, 10**8))
@relaxed
def test_a_wake_by_world_time_fires_in_the_millisecond_in_which_it_is_due(steps: list[tuple[int, Any]], at_ms: int, in_ms: int) -> None:
    """Whatever the speed was changed to before. (No pause and no change behind it: then it is due when the world says so.)"""
    before = [(gap, wish) for gap, wish in steps if isinstance(wish, ClockScaleRequested)]
    town, ideal, _ = play([gap for gap, _ in before], [wish for _, wish in before])
    town.wait(at_ms)
    asked_at, world_ms = town.now_ms, ideal.world_ms(town.now_ms)
    needed = -((-(in_ms * 1000 - (ideal.thousandths + (asked_at - ideal.at_ms) * ideal.scale) % 1000)) // ideal.scale)
    assume(needed < 10**7)
    town.say(WakeRequested(name="x", in_world_ms=in_ms), "e1")
    town.speak_until(asked_at + needed + 1000)

    ((when, fired),) = town.moments(WakeFired)
    assert (when, fired.due_world_ms) == (asked_at + needed, world_ms + in_ms)
    assert fired.now.world_ms == fired.due_world_ms


anything = st.one_of(
    wishes,
    st.builds(lambda scale: ClockScaleRequested(scale=scale), st.integers(1, 3_600_000)),
    st.builds(
        lambda name, ms, every: ScheduledEventRequested(name=name, in_world_ms=ms, every_world_ms=every, times=3),
        st.sampled_from(["bell", "fair"]),
        st.integers(0, 10**8),
        st.integers(60_000, 10**9),
    ),
)


@given(st.lists(st.tuples(st.integers(0, 3000), anything), max_size=40))
@relaxed
def test_whatever_is_asked_nothing_is_early_and_no_millisecond_is_told_twice(steps: list[tuple[int, Any]]) -> None:
    town, _, fired = play([gap for gap, _ in steps], [wish for _, wish in steps])
    state = town.town.state(time, CLOCK)

    assert town.town.refold()["time", CLOCK] == state
    assert state.real_ms <= town.now_ms
    assert town.words <= town.now_ms // EVERY_MS + BURST, "more words than a steady ticker says"
    for when, _, (kind, due) in fired:
        if kind == "real":
            assert due <= when
            assert when <= due + 2 * EVERY_MS or state.owed >= 1000
    moved = [message.now.world_ms for _, message in town.said if isinstance(message, ClockAdvanced)]
    assert moved == sorted(moved)


@given(spaced)
@relaxed
def test_a_change_of_how_time_runs_comes_true_when_it_was_asked_for(steps: list[tuple[int, Any]]) -> None:
    asked = [(gap, wish) for gap, wish in steps if not isinstance(wish, WakeRequested | WakeCancelRequested)]
    town, ideal = Simulated(60_000), Ideal(60_000)
    for gap, wish in asked:
        town.wait(gap)
        world_ms, before = ideal.world_ms(town.now_ms), (ideal.scale, ideal.paused)
        ideal.wish(town.now_ms, wish)
        said = len(town.said)
        town.say(wish, CLOCK)
        town.speak_until(town.now_ms)
        changed = [(when, one) for when, one in town.said[said:] if isinstance(one, ClockScaleChanged | ClockPaused | ClockResumed)]
        if (ideal.scale, ideal.paused) == before:
            assert not changed
        else:
            ((when, one),) = changed
            assert (when, one.now.world_ms) == (town.now_ms, world_ms)
            assert one.request_event_id
    assert len(town.moments(ClockChangeTaken)) == len(town.moments(ClockScaleChanged, ClockPaused, ClockResumed))


@given(st.integers(1, 60), st.integers(60_000, 10**7))
@relaxed
def test_a_repeated_event_keeps_its_beat(times: int, every: int) -> None:
    town = Simulated(60_000)
    town.speak_until(123_457)
    town.say(ScheduledEventRequested(name="bell", at_world_ms=1000, every_world_ms=every, times=times), CLOCK)
    town.speak_until(town.now_ms + times * every // 60 + 400_000)

    assert [one.due_world_ms for _, one in town.moments(ScheduledEventFired)] == [1000 + every * number for number in range(times)]
