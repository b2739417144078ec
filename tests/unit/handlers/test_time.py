"""The rules of the clock, one by one."""

from __future__ import annotations

from typing import Any

import pytest

from bus.handler import MAX_OUTPUTS
from bus.testing import Case, Rehearsal, given
from handlers.time_manager.decide import MAX_EVENTS, MAX_WAKES
from handlers.time_manager.schedule import Schedule
from handlers.time_manager.state import Clock, Planned
from schemas.gen.worldbus.request.v1.request_pb2 import RequestFoundDone
from schemas.gen.worldbus.time.v1.time_pb2 import (
    ClockAdvanced,
    ClockPaused,
    ClockPauseRequested,
    ClockRequestRefused,
    ClockResumed,
    ClockResumeRequested,
    ClockScaleChanged,
    ClockScaleRequested,
    ClockStarted,
    ClockStartRequested,
    DayBegan,
    EventScheduled,
    PausedTimePassed,
    RealTimePassed,
    ScheduledEventCancelled,
    ScheduledEventCancelRequested,
    ScheduledEventFired,
    ScheduledEventRequested,
    SeasonChanged,
    TimeOfDayChanged,
    WakeCancelled,
    WakeCancelRequested,
    WakeFired,
    WakeRequested,
    WakeScheduled,
)
from schemas.gen.worldbus.time.v1.types_pb2 import Calendar, SeasonRule
from tests.duskmarket import time

HOUR = 3_600_000
DAY = 24 * HOUR
MIDNIGHT_START = Calendar(
    hours_per_day=24,
    seasons=[
        SeasonRule(name="wet", days=2, dawn_minute=360, day_minute=420, dusk_minute=1080, night_minute=1200),
        SeasonRule(name="dry", days=3, dawn_minute=300, day_minute=360, dusk_minute=1140, night_minute=1260),
    ],
)


def started(scale: int = 1000, calendar: Calendar = MIDNIGHT_START) -> Case[Clock]:
    return given(time, entity="clock").when(ClockStartRequested(scale=scale, calendar=calendar))


def refusal(case: Case[Any]) -> str:
    """The code of the refusal, which must be all that was said and must explain itself."""
    (said,) = case.said
    assert isinstance(said, ClockRequestRefused)
    assert said.request
    assert said.request_event_id
    assert len(said.reason) > 20
    return said.code


def names(case: Case[Any]) -> list[str]:
    return [type(message).__name__ for message in case.said]


def test_a_clock_starts_at_zero_with_its_whole_calendar() -> None:
    case = started(scale=60_000)

    (said,) = case.said
    assert isinstance(said, ClockStarted)
    assert (said.scale, said.calendar, said.now.world_ms) == (60_000, MIDNIGHT_START, 0)
    assert (said.now.year, said.now.season, said.now.day, said.now.hour, said.now.time_of_day) == (1, "wet", 1, 0, "night")


def test_a_clock_without_a_calendar_of_its_own_takes_the_worlds() -> None:
    case = given(time, entity="clock").when(ClockStartRequested())

    (said,) = case.said
    assert isinstance(said, ClockStarted)
    assert (said.scale, said.now.season, said.now.hour) == (1000, "spring", 8)


def test_the_calendar_offset_says_what_it_is_at_the_start() -> None:
    late = Calendar(hours_per_day=24, seasons=MIDNIGHT_START.seasons, offset_ms=3 * DAY + 13 * HOUR)

    (said,) = started(calendar=late).said
    assert isinstance(said, ClockStarted)
    assert (said.now.season, said.now.day, said.now.day_of_season, said.now.hour, said.now.world_ms) == ("dry", 4, 2, 13, 0)


def test_starting_again_alike_changes_nothing() -> None:
    started(5000).when(ClockStartRequested(scale=5000, calendar=MIDNIGHT_START)).then_types(RequestFoundDone)
    started(5000).when(ClockStartRequested(scale=5000)).then_types(RequestFoundDone)


def test_starting_again_otherwise_is_refused() -> None:
    assert refusal(started(5000).when(ClockStartRequested(scale=6000, calendar=MIDNIGHT_START))) == "ALREADY_STARTED"
    other = Calendar(hours_per_day=20, seasons=MIDNIGHT_START.seasons)
    assert refusal(started(5000).when(ClockStartRequested(scale=5000, calendar=other))) == "ALREADY_STARTED"


@pytest.mark.parametrize(
    "calendar",
    [
        Calendar(),
        Calendar(hours_per_day=24),
        Calendar(hours_per_day=0, seasons=MIDNIGHT_START.seasons),
        Calendar(hours_per_day=241, seasons=MIDNIGHT_START.seasons),
        Calendar(hours_per_day=24, seasons=MIDNIGHT_START.seasons, offset_ms=-1),
        Calendar(hours_per_day=20, seasons=[*MIDNIGHT_START.seasons[1:], SeasonRule(name="late", days=1, night_minute=1300)]),
        Calendar(hours_per_day=24, seasons=[MIDNIGHT_START.seasons[0]] * 2),
        Calendar(hours_per_day=24, seasons=[SeasonRule(name="a.b", days=1, dawn_minute=1, day_minute=2, dusk_minute=3, night_minute=4)]),
        Calendar(hours_per_day=24, seasons=[SeasonRule(name="s", days=0, dawn_minute=1, day_minute=2, dusk_minute=3, night_minute=4)]),
        Calendar(hours_per_day=24, seasons=[SeasonRule(name="s", days=1, dawn_minute=2, day_minute=2, dusk_minute=3, night_minute=4)]),
    ],
)
def test_a_calendar_that_does_not_work_is_refused(calendar: Calendar) -> None:
    assert refusal(started(calendar=calendar)) == "BAD_CALENDAR"


@pytest.mark.parametrize(
    "wish",
    [RealTimePassed(real_ms=1), ClockScaleRequested(scale=1), ClockPauseRequested(), ClockResumeRequested()],
    ids=lambda w: type(w).__name__,
)
def test_a_clock_that_has_not_started_does_nothing(wish: Any) -> None:
    assert refusal(given(time, entity="clock").when(wish)) == "NOT_STARTED"


@pytest.mark.parametrize("scale", [-1, 3_600_001])
def test_a_scale_out_of_range_is_refused(scale: int) -> None:
    assert refusal(started(scale)) == "BAD_SCALE"
    assert refusal(started().when(ClockScaleRequested(scale=scale))) == "BAD_SCALE"


def test_the_scale_zero_is_refused_because_pausing_says_so_better() -> None:
    assert refusal(started().when(ClockScaleRequested(scale=0))) == "BAD_SCALE"


@pytest.mark.parametrize("real_ms", [0, -5, 3_600_001])
def test_real_time_passes_in_steps_of_a_millisecond_to_an_hour(real_ms: int) -> None:
    assert refusal(started().when(RealTimePassed(real_ms=real_ms))) == "BAD_DURATION"


def test_real_time_becomes_world_time_by_the_scale() -> None:
    case = started(60_000).when(RealTimePassed(real_ms=250))

    (said,) = case.said
    assert isinstance(said, ClockAdvanced)
    assert (said.now.world_ms, said.advanced_ms, said.real_ms, said.owed_thousandths, said.scale) == (15_000, 15_000, 250, 0, 60_000)


def test_fractions_of_a_world_millisecond_are_kept() -> None:
    case = started(1)
    for _ in range(999):
        case = case.when(RealTimePassed(real_ms=1))
    case.then_state(world_ms=0, owed=999)

    case.when(RealTimePassed(real_ms=1)).then_state(world_ms=1, owed=0, real_ms=1000)


def test_days_seasons_and_times_of_day_are_said_when_they_begin() -> None:
    case = started(3_600_000)
    said: list[Any] = []
    for _ in range(49):
        case = case.when(RealTimePassed(real_ms=1000))
        said += [message for message in case.said if not isinstance(message, ClockAdvanced)]

    assert [(type(message).__name__, message.now.world_ms // HOUR, message.now.time_of_day) for message in said] == [
        ("TimeOfDayChanged", 6, "dawn"),
        ("TimeOfDayChanged", 7, "day"),
        ("TimeOfDayChanged", 18, "dusk"),
        ("TimeOfDayChanged", 20, "night"),
        ("DayBegan", 24, "night"),
        ("TimeOfDayChanged", 30, "dawn"),
        ("TimeOfDayChanged", 31, "day"),
        ("TimeOfDayChanged", 42, "dusk"),
        ("TimeOfDayChanged", 44, "night"),
        ("DayBegan", 48, "night"),
        ("SeasonChanged", 48, "night"),
    ]
    assert isinstance(said[-1], SeasonChanged)
    assert (said[-1].previous, said[-1].now.season, said[-1].now.next_season) == ("wet", "dry", "wet")
    assert (said[-1].now.season_ends_world_ms, said[-1].now.day_of_season) == (5 * DAY, 1)
    assert isinstance(said[0], TimeOfDayChanged)
    assert said[0].previous == "night"


def test_a_long_step_says_everything_on_its_way_in_order() -> None:
    case = started(3_600_000).when(RealTimePassed(real_ms=24_000))

    assert names(case) == ["TimeOfDayChanged"] * 4 + ["DayBegan", "ClockAdvanced"]


def test_a_step_with_too_much_on_its_way_is_finished_by_the_next_ones() -> None:
    case = started(3_600_000).when(RealTimePassed(real_ms=3_600_000))  # 150 days: some 800 events
    total = list(case.said)
    assert len(case.said) <= MAX_OUTPUTS
    assert case.state.owed > 1000
    while case.state.owed >= 1000:
        case = case.when(RealTimePassed(real_ms=1))
        assert len(case.said) <= MAX_OUTPUTS
        total += case.said

    days = [message.now.day for message in total if isinstance(message, DayBegan)]
    assert days == list(range(2, 152))
    assert case.state.world_ms == (case.state.real_ms * 3_600_000) // 1000


def test_pause_stops_the_world_and_resume_lets_it_go_on_from_there() -> None:
    case = started().when(RealTimePassed(real_ms=500)).when(ClockPauseRequested(reason="maintenance"))

    (paused,) = case.said
    assert isinstance(paused, ClockPaused)
    assert (paused.reason, paused.now.world_ms) == ("maintenance", 500)

    case = case.when(RealTimePassed(real_ms=700)).then(PausedTimePassed(real_ms=1200)).then_state(world_ms=500)
    case = case.when(ClockPauseRequested()).then_types(RequestFoundDone)
    case = case.when(ClockResumeRequested())
    (resumed,) = case.said
    assert isinstance(resumed, ClockResumed)
    assert resumed.now.world_ms == 500
    case.when(ClockResumeRequested()).then_types(RequestFoundDone)
    case.when(RealTimePassed(real_ms=100)).then_state(world_ms=600, real_ms=1300)


def test_a_reason_is_bounded() -> None:
    assert refusal(started().when(ClockPauseRequested(reason="x" * 257))) == "TOO_LONG"


def test_a_change_of_scale_does_not_move_the_clock() -> None:
    case = started(1000).when(RealTimePassed(real_ms=10)).when(ClockScaleRequested(scale=7))

    (said,) = case.said
    assert isinstance(said, ClockScaleChanged)
    assert (said.previous, said.scale, said.now.world_ms) == (1000, 7, 10)
    case.when(ClockScaleRequested(scale=7)).then_types(RequestFoundDone)
    case.when(RealTimePassed(real_ms=1000)).then_state(world_ms=17)


def wake(case: Case[Clock], entity: str = "quay", subsystem: str = "weather", **wish: Any) -> Case[Clock]:
    return case.when(WakeRequested(**wish), entity=entity, subsystem=subsystem)


def woken(case: Case[Any]) -> list[tuple[str, int]]:
    """(name, world time) of every wake that fired."""
    return [(message.name, message.now.world_ms) for message in case.said if isinstance(message, WakeFired)]


def test_a_wake_names_who_asked_and_knows_the_time() -> None:
    case = wake(started(), name="dinner", in_world_ms=1500).then(
        WakeScheduled(subsystem="weather", entity="quay", name="dinner", due_world_ms=1500)
    )
    case = case.when(RealTimePassed(real_ms=1499)).then_types(ClockAdvanced)
    case = case.when(RealTimePassed(real_ms=2)).then_types(WakeFired, ClockAdvanced)

    fired = case.said[0]
    assert isinstance(fired, WakeFired)
    assert (fired.subsystem, fired.entity, fired.name, fired.due_world_ms) == ("weather", "quay", "dinner", 1500)
    assert (fired.now.world_ms, fired.now.season, fired.now.time_of_day) == (1500, "wet", "night")
    case.when(RealTimePassed(real_ms=5000)).then_types(ClockAdvanced)


def test_wakes_fire_in_due_order_between_the_turns_of_the_day() -> None:
    case = started(3_600_000)
    for name, hour in (("c", 19), ("a", 3), ("b", 18)):
        case = wake(case, name=name, at_world_ms=hour * HOUR)
    case = case.when(RealTimePassed(real_ms=20_000))

    assert [getattr(message, "name", type(message).__name__) for message in case.said] == [
        "a", "TimeOfDayChanged", "TimeOfDayChanged", "TimeOfDayChanged", "b", "c", "TimeOfDayChanged", "ClockAdvanced",
    ]  # fmt: skip


def test_asking_again_under_the_same_name_replaces_the_wish() -> None:
    case = wake(wake(started(), name="n", in_world_ms=100), name="n", in_world_ms=300)

    case = case.when(RealTimePassed(real_ms=200)).then_types(ClockAdvanced)
    assert woken(case.when(RealTimePassed(real_ms=200))) == [("n", 300)]


def test_a_wish_may_change_from_world_time_to_real_time() -> None:
    case = wake(wake(started(), name="n", in_world_ms=100), name="n", in_real_ms=300)

    case = case.when(RealTimePassed(real_ms=200)).then_types(ClockAdvanced)
    case = case.when(RealTimePassed(real_ms=200)).then_types(WakeFired, ClockAdvanced)
    case.when(RealTimePassed(real_ms=5000)).then_types(ClockAdvanced)


def test_equal_names_of_different_entities_are_different_wishes() -> None:
    case = wake(wake(started(), entity="quay", name="n", in_world_ms=10), entity="moor", name="n", in_world_ms=10)

    case.when(RealTimePassed(real_ms=10)).then_types(WakeFired, WakeFired, ClockAdvanced)


def test_a_cancelled_wake_does_not_fire_and_cancelling_nothing_says_nothing() -> None:
    case = wake(started(), name="n", in_world_ms=10)
    case.when(WakeCancelRequested(name="n"), entity="moor", subsystem="weather").then_nothing()
    case = case.when(WakeCancelRequested(name="n"), entity="quay", subsystem="weather")
    case = case.then(WakeCancelled(subsystem="weather", entity="quay", name="n"))

    case = case.when(WakeCancelRequested(name="n"), entity="quay", subsystem="weather").then_nothing()
    case.when(RealTimePassed(real_ms=10)).then_types(ClockAdvanced)


def test_a_wake_in_the_past_fires_at_the_next_step_and_not_before() -> None:
    case = wake(started().when(RealTimePassed(real_ms=1000)), name="n", at_world_ms=5).then_types(WakeScheduled)

    assert woken(case.when(RealTimePassed(real_ms=1))) == [("n", 1000)]


def test_wakes_wait_while_the_world_is_paused_but_not_those_by_real_time() -> None:
    case = started().when(ClockPauseRequested())
    case = wake(wake(case, name="world", in_world_ms=10), name="real", in_real_ms=10)

    case = case.when(RealTimePassed(real_ms=100)).then_types(WakeFired, PausedTimePassed)
    assert woken(case) == [("real", 0)]
    assert isinstance(case.said[0], WakeFired)
    assert (case.said[0].due_real_ms, case.said[0].due_world_ms) == (10, 0)
    assert woken(case.when(ClockResumeRequested()).when(RealTimePassed(real_ms=10))) == [("world", 10)]


def test_wishes_made_before_the_clock_starts_count_from_its_start() -> None:
    case = wake(given(time, entity="clock"), name="n", in_world_ms=50)
    case = case.when(ClockStartRequested(calendar=MIDNIGHT_START))

    case = case.when(RealTimePassed(real_ms=49)).then_types(ClockAdvanced)
    assert woken(case.when(RealTimePassed(real_ms=1))) == [("n", 50)]


def test_many_wakes_at_once_fire_over_several_steps_each_once() -> None:
    case = started()
    for number in range(200):
        case = wake(case, name=f"n{number:03}", in_world_ms=10)
    fired: list[str] = []
    for _ in range(5):
        case = case.when(RealTimePassed(real_ms=10))
        assert len(case.said) <= MAX_OUTPUTS
        fired += [name for name, _ in woken(case)]

    assert fired == [f"n{number:03}" for number in range(200)]
    assert case.state.world_ms == 50


def test_neither_kind_of_wake_starves_the_other() -> None:
    case = started()
    for number in range(100):
        case = wake(wake(case, name=f"r{number}", in_real_ms=1), name=f"w{number}", in_world_ms=1)
    case = case.when(RealTimePassed(real_ms=1))

    kinds = {name[0] for name, _ in woken(case)}
    assert kinds == {"r", "w"}


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        ({"name": ""}, "BAD_NAME"),
        ({"name": "a.b"}, "BAD_NAME"),
        ({"name": "n" * 65}, "BAD_NAME"),
        ({"name": "n", "at_world_ms": -1}, "BAD_DURATION"),
        ({"name": "n", "in_real_ms": -1}, "BAD_DURATION"),
        ({"name": "n", "in_world_ms": 2**62}, "BAD_DURATION"),
        ({"name": "n", "in_world_ms": 1, "in_real_ms": 1}, "TWO_TIMES"),
    ],
)
def test_a_wish_that_makes_no_sense_is_refused(wish: dict[str, Any], code: str) -> None:
    assert refusal(wake(started(), **wish)) == code


def test_the_number_of_wakes_is_bounded_but_known_ones_may_move() -> None:
    full = Schedule()
    for number in range(MAX_WAKES):
        full = full.put(f"weather.quay.n{number}", 10)
    case: Case[Clock] = Case(handler=time, entity="clock", state=Clock(wakes=full))

    assert refusal(wake(case, name="one-more")) == "TOO_MANY"
    wake(case, name="n7", at_world_ms=3).then_types(WakeScheduled)
    wake(case, name="one-more", in_real_ms=1).then_types(WakeScheduled)


def test_the_clock_hears_wishes_said_about_any_entity() -> None:
    town = Rehearsal(time)
    town.say(WakeRequested(name="n"), entity="festival")

    (said,) = town.said(WakeScheduled)
    assert (said.subsystem, said.entity) == ("game", "festival")
    assert [event.entity for event in town.log if event.subsystem == "time"] == ["clock"]


def test_a_scheduled_event_happens_as_often_as_asked() -> None:
    case = started().when(ScheduledEventRequested(name="bell", in_world_ms=60_000, every_world_ms=60_000, times=3, note="ding"))
    case = case.then(EventScheduled(name="bell", due_world_ms=60_000, every_world_ms=60_000, times=3, note="ding"))
    said = []
    for _ in range(5):
        case = case.when(RealTimePassed(real_ms=60_000))
        said += [message for message in case.said if isinstance(message, ScheduledEventFired)]

    found = [(one.occurrence, one.due_world_ms, one.next_world_ms, one.now.world_ms, one.note) for one in said]
    assert found == [
        (1, 60_000, 120_000, 60_000, "ding"),
        (2, 120_000, 180_000, 120_000, "ding"),
        (3, 180_000, 0, 180_000, "ding"),
    ]
    case.then_state(events={})


def test_a_long_step_repeats_a_scheduled_event_at_each_of_its_times() -> None:
    case = started(60_000).when(ScheduledEventRequested(name="bell", at_world_ms=30_000, every_world_ms=60_000))
    case = case.when(RealTimePassed(real_ms=5_000))

    assert [message.now.world_ms for message in case.said if isinstance(message, ScheduledEventFired)] == [
        30_000, 90_000, 150_000, 210_000, 270_000,
    ]  # fmt: skip
    case.then_state(events={"bell": Planned(every_ms=60_000, times=0, note="", happened=5)})


def test_a_repeated_event_that_is_due_at_the_very_end_of_a_step_belongs_to_it() -> None:
    case = started(60_000).when(ScheduledEventRequested(name="bell", at_world_ms=60_000, every_world_ms=60_000))
    case = case.when(RealTimePassed(real_ms=2_000))

    assert [message.now.world_ms for message in case.said if isinstance(message, ScheduledEventFired)] == [60_000, 120_000]


def test_a_cancelled_scheduled_event_does_not_happen() -> None:
    case = started().when(ScheduledEventRequested(name="bell", in_world_ms=10)).when(ScheduledEventCancelRequested(name="bell"))
    case = case.then(ScheduledEventCancelled(name="bell"))

    case.when(ScheduledEventCancelRequested(name="bell")).then_types(RequestFoundDone)
    case.when(RealTimePassed(real_ms=10)).then_types(ClockAdvanced)


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        ({"name": "a b"}, "BAD_NAME"),
        ({"name": "n", "at_world_ms": 1, "in_world_ms": 1}, "TWO_TIMES"),
        ({"name": "n", "at_world_ms": -1}, "BAD_DURATION"),
        ({"name": "n", "every_world_ms": 59_999}, "BAD_DURATION"),
        ({"name": "n", "every_world_ms": -60_000}, "BAD_DURATION"),
        ({"name": "n", "times": 2}, "BAD_TIMES"),
        ({"name": "n", "times": -1, "every_world_ms": 60_000}, "BAD_TIMES"),
        ({"name": "n", "note": "x" * 1025}, "TOO_LONG"),
    ],
)
def test_a_scheduled_event_that_makes_no_sense_is_refused(wish: dict[str, Any], code: str) -> None:
    assert refusal(started().when(ScheduledEventRequested(**wish))) == code


def test_the_number_of_scheduled_events_is_bounded_but_known_ones_may_move() -> None:
    full = {f"n{number}": Planned(every_ms=0, times=0, note="") for number in range(MAX_EVENTS)}
    case: Case[Clock] = Case(handler=time, entity="clock", state=Clock(events=full))

    assert refusal(case.when(ScheduledEventRequested(name="one-more"))) == "TOO_MANY"
    case.when(ScheduledEventRequested(name="n7")).then_types(EventScheduled)
