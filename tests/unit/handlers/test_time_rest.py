"""The rules of a clock that rests: whoever speaks for it is silent until something is due or asked for."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.message import Message

from bus.handler import MAX_OUTPUTS
from bus.testing import Case, Rehearsal, given
from handlers.time_manager import CLOCK
from handlers.time_manager.advance import MAX_COUNTED
from handlers.time_manager.decide import MAX_CHANGES
from handlers.time_manager.rest import LIFE
from handlers.time_manager.schedule import EMPTY
from handlers.time_manager.state import Clock
from schemas.gen.worldbus.npc.v1.npc_pb2 import NpcActed
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerHeartbeat, PlayerJoined, PlayerLeft
from schemas.gen.worldbus.request.v1.request_pb2 import RequestFoundDone
from schemas.gen.worldbus.time.v1.time_pb2 import (
    ClockAdvanced,
    ClockChangeTaken,
    ClockPaused,
    ClockPauseRequested,
    ClockRequestRefused,
    ClockResumed,
    ClockResumeRequested,
    ClockScaleChanged,
    ClockScaleRequested,
    ClockStartRequested,
    DayBegan,
    EventScheduled,
    PausedTimePassed,
    RealTimePassed,
    ScheduledEventCancelled,
    ScheduledEventCancelRequested,
    ScheduledEventFired,
    ScheduledEventRequested,
    WakeCancelled,
    WakeCancelRequested,
    WakeFired,
    WakeRequested,
    WakeScheduled,
)
from schemas.gen.worldbus.time.v1.types_pb2 import Calendar, SeasonRule, WishCounted
from schemas.gen.worldbus.weather.v1.weather_pb2 import WeatherChanged, ZoneDeclared
from tests.duskmarket import npc, player, time, weather

RESTS = 310_000
MINUTE = 60_000
HOUR = 60 * MINUTE
DAYS = Calendar(
    hours_per_day=24, seasons=[SeasonRule(name="only", days=9, dawn_minute=300, day_minute=360, dusk_minute=1140, night_minute=1260)]
)


def word(real_ms: int, rests_ms: int = RESTS) -> RealTimePassed:
    return RealTimePassed(real_ms=real_ms, rests_ms=rests_ms)


def resting(scale: int = 1000, real_ms: int = 1) -> Case[Clock]:
    """A clock that has been told of one millisecond and rests since."""
    return given(time, entity=CLOCK).when(ClockStartRequested(scale=scale, calendar=DAYS)).when(word(real_ms))


def wake(case: Case[Clock], entity: str = "quay", subsystem: str = "market", **wish: Any) -> Case[Clock]:
    return case.when(WakeRequested(**wish), entity=entity, subsystem=subsystem)


def stepped(case: Case[Any]) -> ClockAdvanced:
    (step,) = [message for message in case.said if isinstance(message, ClockAdvanced)]
    return step


def fired(case: Case[Any]) -> list[str]:
    return [message.name for message in case.said if isinstance(message, WakeFired)]


def test_a_step_into_rest_says_when_something_is_due_next() -> None:
    case = resting()
    step = stepped(case)

    assert (step.rests_ms, step.asleep) == (RESTS, True)
    assert step.next_real_ms == 5 * HOUR, "dawn"
    case = wake(case, name="n", at_world_ms=9_000)
    assert stepped(case.when(word(10))).next_real_ms == 9_000


def test_a_steady_clock_says_nothing_of_it() -> None:
    case = given(time, entity=CLOCK).when(ClockStartRequested(calendar=DAYS)).when(RealTimePassed(real_ms=5))

    step = stepped(case)
    assert (step.rests_ms, step.next_real_ms, step.asleep, list(step.counted)) == (0, 0, False, [])
    wake(case, name="n", in_world_ms=10).then(WakeScheduled(subsystem="market", entity="quay", name="n", due_world_ms=15))


@pytest.mark.parametrize(
    ("wish", "taken", "counted"),
    [
        ({"in_world_ms": 700}, {"due_world_ms": 701, "in_world_ms": 700}, {"due_world_ms": 60_001 + 700}),
        ({"in_real_ms": 700}, {"due_real_ms": 701, "in_real_ms": 700}, {"due_real_ms": 60_001 + 700}),
        ({}, {}, {}),
        ({"at_world_ms": 1}, {"due_world_ms": 1}, {"due_world_ms": 1}),
    ],
)
def test_a_wish_from_now_on_counts_from_the_next_step(wish: dict[str, Any], taken: dict[str, Any], counted: dict[str, Any]) -> None:
    """The clock's own count is a minute old when it is heard."""
    who: dict[str, Any] = {"subsystem": "market", "entity": "quay", "name": "n"}
    case = wake(resting(), name="n", **wish).then(WakeScheduled(**who, from_next_step=True, **taken))

    case = case.when(word(60_000)).then_types(ClockAdvanced)
    step = stepped(case)
    assert list(step.counted) == [WishCounted(**who, **counted)]
    assert step.next_real_ms == (60_701 if wish.get("in_world_ms") or wish.get("in_real_ms") else 60_001)
    assert fired(case.when(word(700))) == ["n"]


def test_a_wish_for_a_moment_to_come_needs_no_step() -> None:
    case = wake(resting(), name="n", at_world_ms=90_000).then(
        WakeScheduled(subsystem="market", entity="quay", name="n", due_world_ms=90_000)
    )

    case = case.when(word(100_000))
    assert fired(case) == ["n"]
    assert case.said[0].now.world_ms == 90_000  # type: ignore[attr-defined]


def test_what_is_overdue_when_asked_for_fires_with_the_present_moment() -> None:
    """Not with the last step's, which may be minutes old."""
    case = wake(resting(), name="n").when(word(60_000))
    assert fired(case) == []

    case = case.when(word(1))
    assert fired(case) == ["n"]
    assert case.said[0].now.world_ms == 60_001  # type: ignore[attr-defined]


def test_a_wake_by_real_time_knows_the_present_moment() -> None:
    case = wake(resting(), name="n", in_real_ms=200_000).when(word(1)).when(word(200_000))

    assert fired(case) == ["n"]
    assert case.said[0].now.world_ms == stepped(case).now.world_ms == 200_002  # type: ignore[attr-defined]


def test_a_wish_that_waits_may_be_replaced_and_cancelled() -> None:
    case = wake(wake(resting(), name="n", in_world_ms=100), name="n", in_real_ms=300)
    assert [wish.due_real_ms for wish in stepped(case.when(word(10))).counted] == [311]

    case = case.when(WakeCancelRequested(name="n"), entity="quay", subsystem="market")
    case = case.then(WakeCancelled(subsystem="market", entity="quay", name="n"))
    assert list(stepped(case.when(word(10))).counted) == []


def test_a_scheduled_event_waits_as_well_and_keeps_the_beat_it_was_given() -> None:
    case = resting(scale=60_000).when(ScheduledEventRequested(name="bell", in_world_ms=MINUTE, every_world_ms=MINUTE, times=2))
    due = 60 + MINUTE  # at the earliest
    case = case.then(EventScheduled(name="bell", due_world_ms=due, every_world_ms=MINUTE, times=2, from_next_step=True, in_world_ms=MINUTE))
    case = case.when(word(1000))
    assert list(stepped(case).counted) == [WishCounted(name="bell", due_world_ms=60_060 + MINUTE)]
    case = case.when(word(2000))
    assert [one.due_world_ms for one in case.said if isinstance(one, ScheduledEventFired)] == [120_060, 180_060]

    case = case.when(ScheduledEventRequested(name="late", at_world_ms=7, every_world_ms=MINUTE)).when(word(1))
    assert stepped(case).counted[0].due_world_ms == 7
    case = case.when(ScheduledEventRequested(name="never")).when(ScheduledEventCancelRequested(name="never"))
    case.then(ScheduledEventCancelled(name="never"))
    assert [wish.name for wish in stepped(case.when(word(1))).counted] == []


def test_a_change_of_speed_comes_true_at_the_next_step_with_its_moment() -> None:
    case = resting(scale=1000).when(ClockScaleRequested(scale=5000), id="faster")
    case = case.then(ClockChangeTaken(request="ClockScaleRequested", request_event_id="faster", scale=5000))
    case.when(ClockScaleRequested(scale=5000)).then_types(RequestFoundDone)

    case = case.when(word(10_000)).then_types(ClockAdvanced, ClockScaleChanged)
    step, changed = stepped(case), case.said[1]
    assert isinstance(changed, ClockScaleChanged)
    assert (step.advanced_ms, step.scale) == (10_000, 1000), "until then at the old speed"
    assert (changed.previous, changed.scale, changed.now.world_ms, changed.request_event_id) == (1000, 5000, 10_001, "faster")
    assert step.next_real_ms == 10_001 + -(-(5 * HOUR - 10_001) // 5), "planned with the new speed"
    case.when(word(1000)).then_state(world_ms=15_001)


def test_pause_and_resumption_come_true_at_the_next_step() -> None:
    case = resting().when(ClockPauseRequested(reason="lunch"), id="stop")
    case = case.then(ClockChangeTaken(request="ClockPauseRequested", request_event_id="stop", reason="lunch"))
    case.when(ClockPauseRequested()).then_types(RequestFoundDone)
    case = case.when(word(5000)).then_types(ClockAdvanced, ClockPaused)
    assert case.said[1] == ClockPaused(reason="lunch", now=stepped(case).now, request_event_id="stop")
    assert stepped(case).next_real_ms == 0, "nothing is due while the world stands still"

    case = case.when(word(7000)).then(PausedTimePassed(real_ms=12_001, rests_ms=RESTS, asleep=True))
    case = case.when(ClockResumeRequested(), id="go").when(word(3000)).then_types(PausedTimePassed, ClockResumed)
    case.when(ClockResumeRequested()).then_types(RequestFoundDone)
    case.when(word(1)).then_state(world_ms=5002)


def test_changes_that_undo_each_other_before_a_step_are_all_said_and_bounded() -> None:
    case = resting()
    for number in range(MAX_CHANGES):
        case = case.when(ClockPauseRequested() if number % 2 == 0 else ClockResumeRequested()).then_types(ClockChangeTaken)
    case = case.when(ClockPauseRequested())
    (refused,) = case.said
    assert isinstance(refused, ClockRequestRefused)
    assert refused.code == "TOO_MANY"

    case = case.when(word(10)).then_types(ClockAdvanced, *[ClockPaused, ClockResumed] * (MAX_CHANGES // 2))
    assert case.state.changes == ()


def test_a_farewell_counts_what_waited_and_makes_the_clock_steady() -> None:
    case = wake(resting(), name="n", in_world_ms=500).when(ClockScaleRequested(scale=7)).when(word(100, rests_ms=0))

    case.then_types(ClockAdvanced, ClockScaleChanged).then_state(rests=False, soon_world=EMPTY, changes=())
    assert stepped(case).counted[0].due_world_ms == 601
    case.when(ClockScaleRequested(scale=8)).then_types(ClockScaleChanged)


@pytest.mark.parametrize("rests_ms", [-1, 3_600_001])
def test_a_rest_is_bounded(rests_ms: int) -> None:
    (refused,) = resting().when(word(1, rests_ms)).said
    assert isinstance(refused, ClockRequestRefused)
    assert refused.code == "BAD_DURATION"


def test_many_wishes_begin_to_count_over_several_steps_each_once() -> None:
    case = resting()
    for number in range(MAX_COUNTED + 10):
        case = wake(case, name=f"n{number:04}", in_real_ms=50_000)
    case = case.when(word(10))
    assert len(stepped(case).counted) == MAX_COUNTED
    assert stepped(case).next_real_ms == 11, "the rest is asked for at once"

    case = case.when(word(10))
    assert len(stepped(case).counted) == 10
    case.then_state(soon_real=EMPTY)
    assert len(case.state.real_wakes) == MAX_COUNTED + 10


def test_wishes_that_a_farewell_has_no_room_for_count_from_the_steps_behind_it() -> None:
    case = resting()
    for number in range(MAX_COUNTED + 10):
        case = wake(case, name=f"n{number:04}", in_real_ms=50)
    case = case.when(word(10, rests_ms=0)).when(RealTimePassed(real_ms=10))
    assert len(stepped(case).counted) == 10
    case.then_state(soon_real=EMPTY, rests=False)

    heard = set[str]()
    for _ in range(100):
        case = case.when(RealTimePassed(real_ms=10))
        heard |= set(fired(case))
    assert len(heard) == MAX_COUNTED + 10


def test_a_step_never_says_more_than_it_may() -> None:
    case = resting()
    for number in range(100):
        case = wake(wake(case, name=f"r{number}", in_real_ms=5), name=f"w{number}", in_world_ms=5)
    for number in range(MAX_CHANGES):
        case = case.when(ClockScaleRequested(scale=2000 + number))
    case = case.when(word(1))
    kinds: set[str] = set()
    for number in range(MAX_CHANGES):
        case = case.when(ClockScaleRequested(scale=3000 + number))
    while case.state.real_wakes or case.state.wakes:
        case = case.when(word(50))
        assert len(case.said) <= MAX_OUTPUTS
        kinds |= {name[0] for name in fired(case)}
    assert kinds == {"r", "w"}


# -- nobody is about ----------------------------------------------------------------------------------------------------------------------


class Town:
    """Clock, players, weather and characters of Duskmarket; the ticker's words are said by hand."""

    def __init__(self) -> None:
        self.town = Rehearsal(time, player, weather, npc)
        self.town.say(ClockStartRequested(scale=60_000), entity=CLOCK)
        self.town.say(ZoneDeclared(climate="harbour", seed=7), entity="quay")
        self.words(1, 1, 1)

    def words(self, *reals: int) -> list[Message]:
        return [message for real_ms in reals for message in self.town.say(word(real_ms), entity=CLOCK, subsystem="ticker")]

    def join(self) -> None:
        self.town.say(PlayerJoined(display_name="Mira", zone="quay"), entity="mira")


def test_life_begins_in_an_empty_world_and_then_waits() -> None:
    town = Town()
    assert town.town.said(WeatherChanged), "a zone has its first weather at once"
    assert len(town.town.said(NpcActed)) == 6, "and characters look around once"

    said = town.words(*[60_000] * 30)
    days = [message for message in said if isinstance(message, DayBegan)]
    assert {type(message).__name__ for message in said} <= {"ClockAdvanced", "TimeOfDayChanged", "DayBegan"}
    assert days
    assert all(day.asleep for day in days)
    assert town.town.state(time, CLOCK).life.size == 7, "what waits is not forgotten"


def test_somebody_who_comes_finds_the_world_as_late_as_it_is() -> None:
    """Each zone and character is woken once, at the present moment, and makes up for what it missed."""
    town = Town()
    town.words(*[60_000] * 10)
    town.join()
    said = town.words(1, 1, 1)

    woken = [message for message in said if isinstance(message, WakeFired)]
    assert sorted(wake.subsystem for wake in woken) == ["npc"] * 6 + ["weather"]
    assert {wake.now.world_ms for wake in woken} == {town.town.state(time, CLOCK).world_ms - 120}  # two words of a millisecond each ago
    assert town.town.state(time, CLOCK).asleep is False
    assert any(isinstance(message, WakeFired) for message in town.words(59_000)), "and life goes on"


def test_the_weather_after_a_sleep_is_what_it_would_have_been_without_it() -> None:
    asleep, awake = Town(), Town()
    awake.join()
    for _ in range(40):
        awake.town.say(PlayerHeartbeat(), entity="mira")
        awake.words(15_000, 1)
    asleep.words(*[15_001] * 40)
    asleep.join()
    asleep.words(1, 1)
    awake.words(1, 1)

    (one, other) = (town.town.state(weather, "quay") for town in (asleep, awake))
    assert (one.natural, one.next_ms, one.season) == (other.natural, other.next_ms, other.season)
    assert len(asleep.town.log) < len(awake.town.log) / 3


def test_the_world_falls_asleep_when_the_last_one_has_left() -> None:
    town = Town()
    town.join()
    town.words(1, 1)
    assert not town.town.state(time, CLOCK).asleep
    town.town.say(PlayerLeft(), entity="mira")
    town.words(60_000, 60_000)

    assert town.town.state(time, CLOCK).asleep
    assert not [message for message in town.words(*[60_000] * 5) if isinstance(message, WakeFired)]


def test_a_player_who_is_online_counts_as_one_however_often_looked_at() -> None:
    """The clock knows who is about by the wakes of `player`: one for each session that is open, none for any other."""
    town = Town()
    for name in ("mira", "jory"):
        town.town.say(PlayerJoined(display_name=name, zone="quay"), entity=name)
    town.words(1)
    assert town.town.state(time, CLOCK).about == 2
    town.join()  # again: the session before is replaced, its wake still fires
    town.words(1)
    assert town.town.state(time, CLOCK).about == 3
    town.words(60_000, 1, 60_000, 1)
    assert town.town.state(time, CLOCK).about == 0, "nobody gave a sign of life"


def test_a_wish_for_right_now_does_not_wait_for_anybody() -> None:
    town = Town()
    town.words(*[60_000] * 3)
    town.town.say(ZoneDeclared(climate="moor", seed=7), entity="old-moor")

    assert [message.entity for message in town.words(1, 1) if isinstance(message, WakeFired)] == ["old-moor"]
    town.town.say(ZoneDeclared(climate="moor", seed=7), entity="old-moor")  # again: it asks for the step that it waits for
    assert not [message for message in town.words(60_000, 1, 60_000, 1) if isinstance(message, WakeFired)]


def test_life_is_told_by_name_and_everything_else_is_due() -> None:
    assert {subsystem for subsystem, _ in LIFE} == {"weather", "npc", "storyteller"}
    case = resting(scale=60_000)
    case = wake(wake(case, name="step", subsystem="weather", at_world_ms=HOUR), name="override-1", subsystem="weather", at_world_ms=HOUR)
    case = case.when(word(60_000))

    assert fired(case) == ["override-1"]
