"""The rules of weather, one by one, under tables small enough to know by heart."""

from __future__ import annotations

from math import nan
from typing import Any

import pytest

from bus.testing import Case, Rehearsal, given
from handlers.weather_manager import weather_manager
from handlers.weather_manager.climate import Spot
from handlers.weather_manager.state import Zone
from handlers.weather_manager.tables import parse
from schemas.gen.worldbus.time.v1.time_pb2 import ClockStartRequested, RealTimePassed, WakeCancelRequested, WakeFired, WakeRequested
from schemas.gen.worldbus.time.v1.types_pb2 import WorldTime
from schemas.gen.worldbus.weather.v1.types_pb2 import ForecastStep
from schemas.gen.worldbus.weather.v1.weather_pb2 import (
    ForecastIssued,
    ForecastRequested,
    OverrideCancelRequested,
    OverrideEnded,
    WeatherBegan,
    WeatherChanged,
    WeatherOverridden,
    WeatherOverrideRequested,
    WeatherRequestRefused,
    ZoneDeclared,
)
from tests.duskmarket import time, weather

HOUR = 3_600_000
ALWAYS = 10**12  # a season that does not end in these tests

# In `wet` the sky goes round: clear → rain → clear, one hour each. In `still` it is clear for ever. In `white` it snows, and nothing else.
CLOCKWORK = parse(
    {
        "step_minutes": 60,
        "skies": {
            "clear": {"levels": [0.0], "wind_mps": [1.0, 1.0], "warmth_c": 0.0},
            "rain": {"levels": [0.5], "wind_mps": [8.0, 8.0], "warmth_c": -4.0},
            "storm": {"levels": [0.4, 0.7, 1.0], "build": 0.9999, "fade": 0.0001, "wind_mps": [20.0, 20.0], "warmth_c": -6.0},
            "snow": {"levels": [0.5, 1.0], "build": 0.0, "fade": 1.0, "wind_mps": [3.0, 3.0], "warmth_c": -5.0},
        },
        "climates": {
            "clockwork": {
                "wet": {
                    "mean_c": 10.0,
                    "night_drop_c": 5.0,
                    "begins": {"clear": 1.0},
                    "next": {"clear": {"rain": 1.0}, "rain": {"clear": 1.0}},
                },
                "still": {"mean_c": 20.0, "night_drop_c": 0.0, "begins": {"clear": 1.0}, "next": {"clear": {"clear": 1.0}}},
                "white": {"mean_c": -5.0, "night_drop_c": 0.0, "begins": {"snow": 1.0}, "next": {"snow": {"snow": 1.0}}},
            },
            "gathering": {
                "wet": {"mean_c": 10.0, "night_drop_c": 0.0, "begins": {"storm": 1.0}, "next": {"storm": {"storm": 1.0}}},
            },
        },
    },
    "clockwork",
)
handler = weather_manager(CLOCKWORK)


def moment(hour: int, season: str = "wet", ends: int = ALWAYS, following: str = "wet", of_day: str = "day") -> WorldTime:
    return WorldTime(
        world_ms=hour * HOUR, year=1, season=season, day=1, time_of_day=of_day, season_ends_world_ms=ends, next_season=following
    )


def woken(case: Case[Zone], hour: int, name: str = "step", **now: Any) -> Case[Zone]:
    fired = WakeFired(subsystem="weather", entity="quay", name=name, due_world_ms=hour * HOUR, now=moment(hour, **now))
    return case.when(fired, entity="clock", subsystem="time")


def declared(climate: str = "clockwork") -> Case[Zone]:
    return given(handler, entity="quay").when(ZoneDeclared(climate=climate, seed=7))


def begun(climate: str = "clockwork", **now: Any) -> Case[Zone]:
    """Clear at hour 0; under `clockwork` it rains at every odd hour."""
    return woken(declared(climate), 0, **now)


def overridden(hours: int = 10) -> Case[Zone]:
    return begun().when(WeatherOverrideRequested(sky="snow", intensity=0.25, for_world_ms=hours * HOUR, reason="magic"))


def changed(case: Case[Any]) -> WeatherChanged:
    (said,) = (message for message in case.said if isinstance(message, WeatherChanged))
    return said


def refusal(case: Case[Any]) -> str:
    (said,) = case.said
    assert isinstance(said, WeatherRequestRefused)
    assert said.request
    assert said.request_event_id
    assert len(said.reason) > 20
    return said.code


def test_a_declared_zone_waits_for_the_clock() -> None:
    declared().then(WeatherBegan(climate="clockwork", seed=7), WakeRequested(name="step"))


def test_a_zone_without_a_seed_gets_one_from_its_name() -> None:
    seeds = set()
    for entity in ("quay", "moor"):
        (said, _) = given(handler, entity=entity).when(ZoneDeclared(climate="clockwork")).said
        assert isinstance(said, WeatherBegan)
        seeds.add(said.seed)

    assert len(seeds - {0}) == 2


def test_declaring_again_alike_asks_for_the_next_wake_again() -> None:
    begun().when(ZoneDeclared(climate="clockwork", seed=7)).then(WakeRequested(name="step", at_world_ms=HOUR))


@pytest.mark.parametrize("again", [ZoneDeclared(climate="clockwork", seed=8), ZoneDeclared(climate="gathering", seed=7)])
def test_declaring_again_otherwise_is_refused(again: ZoneDeclared) -> None:
    assert refusal(begun().when(again)) == "ALREADY_DECLARED"


def test_a_zone_needs_a_known_climate() -> None:
    assert refusal(given(handler, entity="quay").when(ZoneDeclared(climate="desert"))) == "UNKNOWN_CLIMATE"


def test_the_first_wake_brings_the_first_weather() -> None:
    case = begun()

    case.then_types(WeatherChanged, WakeRequested)
    first = changed(case)
    assert (first.sky, first.intensity, first.level, first.cause, first.season) == ("clear", 0, 1, "began", "wet")
    assert (first.since_world_ms, first.expected_until_world_ms, first.wind_mps) == (0, HOUR, 1)
    assert 8 <= first.temperature_c <= 12
    assert case.said[1] == WakeRequested(name="step", at_world_ms=HOUR)


def test_a_zone_declared_late_begins_at_the_last_full_step() -> None:
    case = declared().when(
        WakeFired(subsystem="weather", entity="quay", name="step", now=WorldTime(world_ms=5 * HOUR + 7, season="wet")),
        entity="clock",
        subsystem="time",
    )

    assert changed(case).since_world_ms == 5 * HOUR
    assert case.said[1] == WakeRequested(name="step", at_world_ms=6 * HOUR)


def test_every_step_goes_on_by_the_table() -> None:
    case = woken(begun(), 1)
    assert (changed(case).sky, changed(case).intensity, changed(case).cause, changed(case).since_world_ms) == ("rain", 0.5, "natural", HOUR)

    case = woken(case, 2)
    assert (changed(case).sky, changed(case).since_world_ms) == ("clear", 2 * HOUR)
    assert case.said[1] == WakeRequested(name="step", at_world_ms=3 * HOUR)


def test_weather_that_stays_is_not_said_again() -> None:
    case = begun(season="still")

    woken(case, 1, season="still").then(WakeRequested(name="step", at_world_ms=2 * HOUR))


def test_a_wake_that_comes_early_or_twice_says_nothing() -> None:
    case = woken(begun(), 1)

    woken(case, 1).then_nothing()
    woken(case, 0).then_nothing()


def test_a_wake_that_comes_late_takes_the_missed_steps_at_once() -> None:
    case = woken(begun(), 5)

    assert (changed(case).sky, changed(case).since_world_ms) == ("rain", 5 * HOUR)
    assert case.said[1] == WakeRequested(name="step", at_world_ms=6 * HOUR)
    woken(begun(), 4).then_types(WakeRequested)  # clear again, as before


def test_a_storm_gathers_one_level_at_a_time() -> None:
    case = begun("gathering")
    assert (changed(case).level, changed(case).intensity) == (1, 0.4)
    case = woken(case, 1)
    assert (changed(case).level, changed(case).intensity, changed(case).since_world_ms) == (2, 0.7, 0)
    case = woken(case, 2)

    assert (changed(case).level, changed(case).intensity, changed(case).since_world_ms) == (3, 1.0, 0)


def test_warmth_follows_season_sky_and_time_of_day() -> None:
    day = changed(begun()).temperature_c
    night = changed(begun(of_day="night")).temperature_c
    rain = changed(woken(begun(), 1)).temperature_c
    still = changed(begun(season="still")).temperature_c

    assert (round(night - day, 1), round(rain - day, 1), round(still - day, 1)) == (-5, -2, 10)


def test_a_colder_night_is_worth_saying() -> None:
    case = woken(begun(), 1)
    case = woken(case, 3, of_day="night")

    assert changed(case).sky == "rain"
    assert changed(case).cause == "natural"


def test_a_new_season_is_said_and_its_table_rules_from_its_first_step() -> None:
    case = begun(season="still", ends=2 * HOUR, following="white")
    case = woken(case, 1, season="still", ends=2 * HOUR, following="white").then_types(WakeRequested)
    case = woken(case, 2, season="white")

    assert (changed(case).sky, changed(case).season) == ("snow", "white")


def test_steps_missed_before_a_new_season_are_taken_under_the_old_one() -> None:
    case = begun(ends=2 * HOUR, following="white")  # rain at hour 1, snow from hour 2 on
    case = woken(case, 4, season="white")

    assert (changed(case).sky, changed(case).since_world_ms) == ("snow", 2 * HOUR)


def test_a_season_that_the_tables_do_not_know_is_taken_as_the_first() -> None:
    assert changed(begun(season="monsoon")).sky == "clear"


def test_an_override_reigns_and_asks_for_its_own_end() -> None:
    case = overridden()

    case.then_types(WeatherOverridden, WakeRequested, WeatherChanged)
    assert case.said[0] == WeatherOverridden(number=1, sky="snow", intensity=0.25, for_world_ms=10 * HOUR, reason="magic")
    assert case.said[1] == WakeRequested(name="override-1", in_world_ms=10 * HOUR)
    shown = changed(case)
    assert (shown.sky, shown.intensity, shown.cause, shown.level, shown.wind_mps) == ("snow", 0.25, "overridden", 0, 3)
    assert (shown.expected_until_world_ms, shown.season) == (10 * HOUR, "wet")


def test_under_an_override_nature_goes_on_unseen() -> None:
    woken(overridden(), 1).then(WakeRequested(name="step", at_world_ms=2 * HOUR)).then_state(sky="snow", intensity=0.25)


@pytest.mark.parametrize(("hours", "sky", "since"), [(3, "rain", 3), (4, "clear", 4)])
def test_when_an_override_expires_the_weather_is_what_it_would_have_been(hours: int, sky: str, since: int) -> None:
    case = overridden(hours)
    for hour in range(1, hours + 1):
        case = woken(case, hour)
    case = woken(case, hours, name="override-1")

    case.then_types(OverrideEnded, WeatherChanged).then_state(override=None, sky=sky)
    assert case.said[0] == OverrideEnded(number=1, cause="expired")
    assert (changed(case).sky, changed(case).cause, changed(case).since_world_ms) == (sky, "override_ended", since * HOUR)
    woken(case, hours + 1).then_types(WeatherChanged, WakeRequested)


def test_a_cancelled_override_gives_way_at_once() -> None:
    case = woken(woken(overridden(), 1), 2)
    case = woken(case, 3).when(OverrideCancelRequested())

    case.then_types(OverrideEnded, WakeCancelRequested, WeatherChanged)
    assert case.said[:2] == (OverrideEnded(number=1, cause="cancelled"), WakeCancelRequested(name="override-1"))
    assert (changed(case).sky, changed(case).since_world_ms, changed(case).season) == ("rain", 3 * HOUR, "wet")
    assert changed(case).temperature_c == changed(woken(begun(), 3)).temperature_c


def test_cancelling_after_the_season_turned_shows_the_new_season() -> None:
    case = begun(ends=2 * HOUR, following="white").when(WeatherOverrideRequested(sky="clear", intensity=0, for_world_ms=9 * HOUR))
    case = woken(woken(case, 1), 3, season="white").when(OverrideCancelRequested())

    assert (changed(case).sky, changed(case).season, changed(case).season_ends_world_ms) == ("snow", "white", 0)
    case = woken(case, 4, season="white", ends=9 * HOUR)
    assert changed(case).season_ends_world_ms == 9 * HOUR


def test_a_second_override_replaces_the_first_whose_wake_then_says_nothing() -> None:
    case = overridden().when(WeatherOverrideRequested(sky="rain", intensity=1, for_world_ms=HOUR))

    case.then_types(WeatherOverridden, WakeCancelRequested, WakeRequested, WeatherChanged).then_state(sky="rain", overrides=2)
    assert case.said[1] == WakeCancelRequested(name="override-1")
    woken(case, 10, name="override-1").then_nothing()
    woken(case, 1, name="override-2").then_types(OverrideEnded, WeatherChanged)


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        ({"sky": "ash"}, "UNKNOWN_SKY"),
        ({"intensity": 1.1}, "BAD_INTENSITY"),
        ({"intensity": -0.1}, "BAD_INTENSITY"),
        ({"intensity": nan}, "BAD_INTENSITY"),
        ({"for_world_ms": 0}, "BAD_DURATION"),
        ({"for_world_ms": 2_592_000_001}, "BAD_DURATION"),
        ({"reason": "x" * 257}, "TOO_LONG"),
    ],
)
def test_an_override_that_makes_no_sense_is_refused(wish: dict[str, Any], code: str) -> None:
    case = begun().when(WeatherOverrideRequested(**{"sky": "rain", "intensity": 1, "for_world_ms": HOUR, **wish}))

    assert refusal(case) == code
    case.then_state(override=None)


@pytest.mark.parametrize("wish", [WeatherOverrideRequested(sky="rain", for_world_ms=1), ForecastRequested()])
def test_a_zone_without_weather_says_what_is_missing(wish: Any) -> None:
    assert refusal(given(handler, entity="quay").when(wish)) == "NOT_DECLARED"
    assert refusal(declared().when(wish)) == "NO_WEATHER_YET"


def test_without_an_override_there_is_none_to_cancel() -> None:
    assert refusal(begun().when(OverrideCancelRequested())) == "NO_OVERRIDE"


def test_a_forecast_of_a_certain_future_is_certain() -> None:
    case = begun().when(ForecastRequested(steps=3, request_id="q"))

    case.then(
        ForecastIssued(
            request_id="q",
            steps=[
                ForecastStep(at_world_ms=1 * HOUR, sky="rain", confidence=1, intensity=0.5),
                ForecastStep(at_world_ms=2 * HOUR, sky="clear", confidence=1, intensity=0),
                ForecastStep(at_world_ms=3 * HOUR, sky="rain", confidence=1, intensity=0.5),
            ],
        )
    )


def test_a_forecast_has_twelve_steps_if_nothing_is_said() -> None:
    (said,) = begun().when(ForecastRequested()).said
    assert isinstance(said, ForecastIssued)
    assert len(said.steps) == 12


def test_a_forecast_knows_the_coming_season() -> None:
    (said,) = begun(ends=2 * HOUR, following="white").when(ForecastRequested(steps=3)).said
    assert isinstance(said, ForecastIssued)

    assert [step.sky for step in said.steps] == ["rain", "snow", "snow"]


def test_a_forecast_knows_the_override_and_what_comes_after_it() -> None:
    (said,) = overridden(hours=2).when(ForecastRequested(steps=4)).said
    assert isinstance(said, ForecastIssued)

    assert [(step.sky, step.intensity) for step in said.steps] == [("snow", 0.25), ("clear", 0), ("rain", 0.5), ("clear", 0)]


@pytest.mark.parametrize(
    ("wish", "code"), [({"steps": -1}, "BAD_STEPS"), ({"steps": 25}, "BAD_STEPS"), ({"request_id": "x" * 65}, "TOO_LONG")]
)
def test_a_forecast_that_makes_no_sense_is_refused(wish: dict[str, Any], code: str) -> None:
    assert refusal(begun().when(ForecastRequested(**wish))) == code


def test_wakes_of_other_subsystems_and_false_wakes_concern_nobody() -> None:
    fired = WakeFired(subsystem="player", entity="quay", name="step", now=moment(1))
    begun().when(fired, entity="clock", subsystem="time").then_nothing()
    false = WakeFired(subsystem="weather", entity="quay", name="step", now=moment(1))
    begun().when(false, entity="clock", subsystem="game").then_nothing()  # only the clock wakes


def test_a_wake_for_a_zone_that_was_never_declared_says_nothing() -> None:
    woken(given(handler, entity="quay"), 1).then_nothing()


def test_a_sky_that_left_the_tables_gives_way_at_the_next_step() -> None:
    """Tables change between releases; the log keeps what was."""
    case: Case[Zone] = Case(handler=handler, entity="quay", state=begun().state)
    state = case.state
    case = Case(handler=handler, entity="quay", state=type(state)(**{**_fields(state), "natural": Spot("ash", 3), "sky": "ash"}))

    assert changed(woken(case, 1)).sky == "clear"


def _fields(state: Zone) -> dict[str, Any]:
    return {name: getattr(state, name) for name in state.__dataclass_fields__}


def test_with_the_clock_a_zone_lives_on_its_own() -> None:
    town = Rehearsal(time, weather)
    town.say(ZoneDeclared(climate="harbour", seed=1), entity="quay")
    town.say(ClockStartRequested(scale=3_600_000), entity="clock")
    for _ in range(48):
        town.say(RealTimePassed(real_ms=1000), entity="clock")

    assert len(town.said(WakeFired)) == 48  # one an hour: a wish made during a step is heard in the next
    assert len({one.sky for one in town.said(WeatherChanged, entity="quay")}) > 1
    assert town.refold()["weather", "quay"] == town.state(weather, "quay")
