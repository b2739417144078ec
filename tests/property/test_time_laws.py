"""Laws of the clock, whatever is asked of it in whatever order."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bus.handler import MAX_OUTPUTS
from bus.testing import Case
from bus.testing import given as lane
from handlers.time_manager import calendar as cal
from handlers.time_manager.schedule import EMPTY
from handlers.time_manager.state import Clock
from schemas.gen.worldbus.time.v1.time_pb2 import (
    ClockAdvanced,
    ClockPauseRequested,
    ClockResumeRequested,
    ClockScaleRequested,
    ClockStartRequested,
    RealTimePassed,
    ScheduledEventCancelRequested,
    ScheduledEventFired,
    ScheduledEventRequested,
    WakeCancelRequested,
    WakeFired,
    WakeRequested,
)
from tests.duskmarket import time

relaxed = settings(deadline=None)
names = st.sampled_from(["a", "b", "c"])
soon = st.integers(0, 10**7)
ticks = st.builds(lambda ms: RealTimePassed(real_ms=ms), st.integers(1, 5000) | st.integers(1, 3_600_000))
wakes = st.one_of(
    st.builds(lambda name, ms: WakeRequested(name=name, at_world_ms=ms), names, soon),
    st.builds(lambda name, ms: WakeRequested(name=name, in_world_ms=ms), names, soon),
    st.builds(lambda name, ms: WakeRequested(name=name, in_real_ms=ms), names, st.integers(0, 10_000)),
)
wishes = st.one_of(
    ticks,
    ticks,
    wakes,
    st.builds(lambda name: WakeCancelRequested(name=name), names),
    st.builds(lambda scale: ClockScaleRequested(scale=scale), st.integers(1, 3_600_000)),
    st.just(ClockPauseRequested()),
    st.just(ClockResumeRequested()),
    st.builds(
        lambda name, ms, every, times: ScheduledEventRequested(name=name, in_world_ms=ms, every_world_ms=every, times=times),
        names,
        soon,
        st.integers(3_600_000, 10**8),
        st.integers(0, 4),
    ),
    st.builds(lambda name: ScheduledEventCancelRequested(name=name), names),
)
entities = st.sampled_from(["quay", "moor"])
START = ClockStartRequested(scale=60_000)


@st.composite
def calendars(draw: st.DrawFn) -> cal.Calendar:
    hours = draw(st.integers(1, 48))
    seasons = []
    for index in range(draw(st.integers(1, 5))):
        marks = sorted(draw(st.lists(st.integers(0, hours * 60 - 1), min_size=4, max_size=4, unique=True)))
        seasons.append(
            cal.Season(
                name=f"s{index}",
                days=draw(st.integers(1, 7)),
                dawn_minute=marks[0],
                day_minute=marks[1],
                dusk_minute=marks[2],
                night_minute=marks[3],
            )
        )
    return cal.Calendar(hours_per_day=hours, seasons=tuple(seasons), offset_ms=draw(st.integers(0, 10**9)))


class Naive:
    """A calendar read by counting one day after the other."""

    def __init__(self, calendar: cal.Calendar, world_ms: int) -> None:
        left = world_ms + calendar.offset_ms
        self.day, self.year, index, self.day_of_season = 1, 1, 0, 1
        while left >= calendar.day_ms:
            left -= calendar.day_ms
            self.day += 1
            self.day_of_season += 1
            if self.day_of_season > calendar.seasons[index].days:
                self.day_of_season = 1
                index += 1
                if index == len(calendar.seasons):
                    index, self.year = 0, self.year + 1
        season = calendar.seasons[index]
        self.season, self.minute = season.name, left // 60_000
        self.next_season = calendar.seasons[(index + 1) % len(calendar.seasons)].name
        self.ends = world_ms - left + (season.days - self.day_of_season + 1) * calendar.day_ms
        self.time_of_day = "night"
        for name, mark in zip(("dawn", "day", "dusk", "night"), season.marks, strict=True):
            if self.minute >= mark:
                self.time_of_day = name


@given(calendars(), st.integers(0, 3 * 10**10))
@relaxed
def test_the_calendar_agrees_with_counting_days(calendar: cal.Calendar, world_ms: int) -> None:
    assert cal.problems(calendar) == []
    read, naive = cal.read(calendar, world_ms), Naive(calendar, world_ms)

    assert (read.day, read.year, read.season, read.day_of_season, read.minute_of_day, read.time_of_day) == (
        naive.day, naive.year, naive.season, naive.day_of_season, naive.minute, naive.time_of_day,
    )  # fmt: skip
    assert (read.season_ends_world_ms, read.next_season) == (naive.ends, naive.next_season)


@given(st.integers(0, 100 * 365 * 86_400_000))
@relaxed
def test_a_calendar_of_earthly_months_agrees_with_the_standard_library(world_ms: int) -> None:
    """A year of 365 days, as 2001 to 2003 have them."""
    lengths = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    months = tuple(
        cal.Season(name=str(month), days=days, dawn_minute=1, day_minute=2, dusk_minute=3, night_minute=4)
        for month, days in enumerate(lengths, start=1)
    )
    read = cal.read(cal.Calendar(hours_per_day=24, seasons=months), world_ms)
    earth = datetime(2001, 1, 1, tzinfo=UTC) + timedelta(milliseconds=world_ms % (365 * 86_400_000))

    assert (read.season, read.day_of_season, read.minute_of_day) == (str(earth.month), earth.day, earth.hour * 60 + earth.minute)


@given(calendars(), st.integers(0, 10**9))
@relaxed
def test_nothing_turns_before_the_next_turn(calendar: cal.Calendar, world_ms: int) -> None:
    turn = cal.next_turn(calendar, world_ms)
    now, before = cal.read(calendar, world_ms), cal.read(calendar, turn - 1)

    assert world_ms < turn
    assert (now.day, now.season, now.time_of_day) == (before.day, before.season, before.time_of_day)


@given(calendars())
@relaxed
def test_a_calendar_survives_its_event(calendar: cal.Calendar) -> None:
    assert cal.from_proto(calendar.to_proto()) == calendar


def run(asked: list[tuple[str, Any]]) -> list[tuple[Case[Clock], Any]]:
    """The clock after each wish, with the wish; started first."""
    case = lane(time, entity="clock").when(START)
    steps = []
    for entity, wish in asked:
        about = entity if isinstance(wish, WakeRequested | WakeCancelRequested) else "clock"
        case = case.when(wish, entity=about)
        steps.append((case, wish))
    return steps


@given(st.lists(st.tuples(entities, wishes), max_size=40))
@relaxed
def test_world_time_never_goes_back_and_no_step_is_too_long(asked: list[tuple[str, Any]]) -> None:
    last = 0
    for case, _ in run(asked):
        assert len(case.said) <= MAX_OUTPUTS
        for message in case.said:
            if "now" in message.DESCRIPTOR.fields_by_name:
                assert message.now.world_ms >= last  # type: ignore[attr-defined]
                last = message.now.world_ms  # type: ignore[attr-defined]
        assert case.state.world_ms == last or not case.said


@given(st.lists(st.tuples(entities, wishes), max_size=40))
@relaxed
def test_world_time_is_exactly_what_real_time_and_scale_make_it(asked: list[tuple[str, Any]]) -> None:
    """Continuous under changes of scale, unmoved by pauses, nothing lost to rounding; what a cut step owes is known."""
    scale, paused, thousandths = START.scale, False, 0
    for case, wish in run(asked):
        match wish:
            case RealTimePassed(real_ms=ms):
                thousandths += 0 if paused else ms * scale
            case ClockScaleRequested():
                scale = wish.scale
            case ClockPauseRequested() | ClockResumeRequested():
                paused = isinstance(wish, ClockPauseRequested)
        assert case.state.world_ms * 1000 + case.state.owed == thousandths


class Expected:
    """A naive clock: a plain dict of what is planned, checked against everything that is said."""

    def __init__(self) -> None:
        self.world: dict[tuple[str, str], int] = {}
        self.real: dict[tuple[str, str], int] = {}

    def hear(self, before: Clock, entity: str, wish: Any) -> None:
        key = (entity, getattr(wish, "name", ""))
        if isinstance(wish, WakeRequested | WakeCancelRequested):
            self.world.pop(key, None)
            self.real.pop(key, None)
        if isinstance(wish, WakeRequested):
            if wish.in_real_ms:
                self.real[key] = before.real_ms + wish.in_real_ms
            else:
                self.world[key] = before.world_ms + wish.in_world_ms if wish.in_world_ms else wish.at_world_ms

    def see(self, fired: WakeFired, real_ms: int) -> None:
        key = (fired.entity, fired.name)
        planned, moment = (self.real, real_ms) if fired.due_real_ms else (self.world, fired.now.world_ms)
        due = planned.pop(key)  # exactly once: a second time it would not be there

        assert due == (fired.due_real_ms or fired.due_world_ms)
        assert due <= moment, "never early"
        assert all(due <= other for other in planned.values()), "in due order"


@given(st.lists(st.tuples(entities, st.one_of(ticks, wakes, wishes)), max_size=40))
@relaxed
def test_every_wish_fires_exactly_once_never_early_and_in_order(asked: list[tuple[str, Any]]) -> None:
    expected, before = Expected(), Clock()
    for (case, wish), (entity, _) in zip(run(asked), asked, strict=True):
        expected.hear(before, entity, wish)
        for message in case.said:
            if isinstance(message, WakeFired):
                expected.see(message, case.state.real_ms)
        before = case.state
        overdue = [due for due in expected.world.values() if due <= case.state.world_ms]
        if isinstance(wish, RealTimePassed) and not case.state.paused and case.state.owed < 1000:
            assert overdue == [], "nothing that is due is forgotten"
        assert len(before.real_wakes) == len(expected.real)


@given(st.integers(1, 6), st.integers(0, 10**7), st.integers(60_000, 10**7), st.lists(ticks, max_size=30))
@relaxed
def test_a_repeated_event_happens_at_each_of_its_times_once(times: int, first: int, every: int, steps: list[RealTimePassed]) -> None:
    case = lane(time, entity="clock").when(START)
    case = case.when(ScheduledEventRequested(name="bell", at_world_ms=first, every_world_ms=every, times=times))
    said: list[ScheduledEventFired] = []
    for step in steps:
        case = case.when(step)
        said += [message for message in case.said if isinstance(message, ScheduledEventFired)]

    due = [moment for moment in range(first, first + times * every, every) if moment <= case.state.world_ms and steps]
    found = [one.due_world_ms for one in said]
    assert found == due[: len(found)]
    if case.state.owed < 1000:
        assert found == due
    assert [one.occurrence for one in said] == list(range(1, len(said) + 1))


@given(st.lists(ticks, min_size=1, max_size=20), st.data())
@relaxed
def test_how_real_time_is_cut_in_steps_makes_no_difference_to_what_is_said(steps: list[RealTimePassed], data: st.DataObject) -> None:
    total = min(sum(step.real_ms for step in steps), 600_000)
    cuts = sorted(data.draw(st.lists(st.integers(0, total), max_size=5)))
    pieces = [end - begin for begin, end in zip([0, *cuts], [*cuts, total], strict=True) if end > begin]

    assert turns([total]) == turns(pieces)


def turns(steps: list[int]) -> Counter[str]:
    """What a clock says about days, seasons and times of day, after as many further steps as it needs to catch up."""
    case = lane(time, entity="clock").when(START).when(ClockScaleRequested(scale=3_600_000))
    said: Counter[str] = Counter()
    for ms in steps:
        case = case.when(RealTimePassed(real_ms=ms))
        said.update(str(message) for message in case.said if not isinstance(message, ClockAdvanced))
    case = case.when(ClockScaleRequested(scale=1))
    while case.state.owed >= 1000:
        case = case.when(RealTimePassed(real_ms=1))
        said.update(str(message) for message in case.said if not isinstance(message, ClockAdvanced))
    said.pop("", None)
    return said


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 20) | st.none()), max_size=60))
@relaxed
def test_a_schedule_is_a_sorted_dict(changes: list[tuple[str, int | None]]) -> None:
    schedule, model = EMPTY, dict[str, int]()
    for key, due in changes:
        if due is None:
            schedule = schedule.remove(key)
            model.pop(key, None)
        else:
            schedule = schedule.put(key, due)
            model[key] = due
        assert list(schedule) == sorted((when, name) for name, when in model.items())
        assert len(schedule) == len(model)
        assert all(schedule.get(name) == model.get(name) for name in "abcdefgh")
