"""Laws of weather: whatever is asked of a zone, and however unevenly the clock wakes it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bus.testing import Rehearsal
from handlers.weather_manager.climate import Laws, Outlook, Spot, course, outlook, prepare, roll
from handlers.weather_manager.tables import load
from schemas.gen.worldbus.time.v1.time_pb2 import ClockScaleRequested, ClockStartRequested, RealTimePassed
from schemas.gen.worldbus.time.v1.types_pb2 import Calendar, SeasonRule
from schemas.gen.worldbus.weather.v1.weather_pb2 import (
    ForecastIssued,
    ForecastRequested,
    OverrideCancelRequested,
    OverrideEnded,
    WeatherChanged,
    WeatherOverridden,
    WeatherOverrideRequested,
    ZoneDeclared,
)
from tests.duskmarket import FOLDER, time, weather

HOUR = 3_600_000
TABLES = load(FOLDER / "weather.toml")
CLIMATES = prepare(TABLES)
SHORT_YEAR = Calendar(  # seasons of two days, so that a short run sees them all
    hours_per_day=24,
    seasons=[
        SeasonRule(name=name, days=2, dawn_minute=360, day_minute=420, dusk_minute=1080, night_minute=1200)
        for name in ("spring", "summer", "autumn", "winter")
    ],
)

climates = st.sampled_from(sorted(TABLES.climates))
seeds = st.integers(1, 2**64 - 1)
skies = st.sampled_from(sorted(TABLES.skies))
strengths = st.floats(0, 1)
hours = st.integers(1, 12)
wishes = st.one_of(
    st.builds(lambda n: RealTimePassed(real_ms=n * 1000), hours),
    st.builds(lambda n: RealTimePassed(real_ms=n * 1000), hours),
    st.builds(lambda ms: RealTimePassed(real_ms=ms), st.integers(1, 5000)),
    st.builds(lambda s, i, n: WeatherOverrideRequested(sky=s, intensity=i, for_world_ms=n * HOUR), skies, strengths, hours),
    st.just(OverrideCancelRequested()),
    st.builds(lambda n: ForecastRequested(steps=n), st.integers(1, 24)),
)


def town_of(climate: str, seed: int) -> Rehearsal:
    """A clock in which a real second is a world hour, and one zone."""
    town = Rehearsal(time, weather)
    town.say(ClockStartRequested(scale=HOUR, calendar=SHORT_YEAR), entity="clock")
    town.say(ZoneDeclared(climate=climate, seed=seed), entity="quay")
    return town


def live(climate: str, seed: int, asked: list[Any]) -> Iterator[tuple[Rehearsal, tuple[Any, ...]]]:
    town = town_of(climate, seed)
    for wish in asked:
        yield town, town.say(wish, entity="clock" if isinstance(wish, RealTimePassed) else "quay")


FORCED = WeatherOverrideRequested(sky="clear", intensity=0, for_world_ms=10 * HOUR)
LEAP = [*(RealTimePassed(real_ms=hours * 1000) for hours in (1, 1, 1, 1, 1, 1, 8, 12, 12)), FORCED, RealTimePassed(real_ms=10_000)]


@given(climates, seeds, st.lists(wishes, max_size=30))
@example("harbour", 863848, LEAP)  # the clock leaps over the next step and into summer, and the end of the override is heard first
@settings(deadline=None)
def test_natural_weather_keeps_to_its_season_and_its_bounds(climate: str, seed: int, asked: list[Any]) -> None:
    for _, said in live(climate, seed, asked):
        for it in said:
            if isinstance(it, WeatherChanged):
                assert 0 <= it.intensity <= 1
                assert -90 <= it.temperature_c <= 60
                assert 0 <= it.wind_mps <= 100
                assert it.since_world_ms < it.expected_until_world_ms
                assert (it.level == 0) == (it.cause == "overridden")
                assert it.level == 0 or it.sky in TABLES.climates[climate][it.season].next, "snow only where the season's table has it"


@given(climates, seeds, st.lists(wishes, max_size=30))
@settings(deadline=None)
def test_an_override_wins_until_it_ends(climate: str, seed: int, asked: list[Any]) -> None:
    reigns: WeatherOverridden | None = None
    for town, said in live(climate, seed, asked):
        for it in said:
            if isinstance(it, WeatherOverridden):
                reigns = it
            elif isinstance(it, OverrideEnded):
                assert reigns is not None
                assert it.number == reigns.number
                reigns = None
            elif isinstance(it, WeatherChanged):
                assert (it.cause == "overridden") == (reigns is not None)
                assert reigns is None or (it.sky, it.intensity) == (reigns.sky, reigns.intensity)
        assert (town.state(weather, "quay").override is None) == (reigns is None)


@given(climates, seeds, st.lists(wishes, max_size=30))
@settings(deadline=None)
def test_the_state_is_the_fold_of_what_was_said(climate: str, seed: int, asked: list[Any]) -> None:
    town = town_of(climate, seed)
    for town, _ in live(climate, seed, asked):  # noqa: B007 - the last town is wanted
        pass

    assert town.refold() == {key: town.state(town.handlers[key[0]], key[1]) for key in town.refold()}


def sky_by_hour(town: Rehearsal, until: int) -> list[str]:
    """What the sky was at each full hour before `until`, by what was said."""
    changes = [it for it in town.said(WeatherChanged) if it.cause != "overridden"]
    skies = []
    for hour in range(until):
        known = [it.sky for it in changes if it.since_world_ms <= hour * HOUR]
        skies.append(known[-1] if known else "")
    return skies


def days(town: Rehearsal, pieces: list[int], until: int) -> None:
    """Let `until` hours pass in the given pieces (hours), over and over."""
    passed = 0
    while passed < until:
        for piece in pieces:
            town.say(RealTimePassed(real_ms=piece * 1000), entity="clock")
            passed += piece
    town.say(ClockScaleRequested(scale=1), entity="clock")
    for _ in range(3):  # wakes that were asked for during the last step
        town.say(RealTimePassed(real_ms=1), entity="clock")


@given(climates, seeds, st.lists(st.integers(1, 30), min_size=1, max_size=4))
@settings(deadline=None)
def test_the_same_seed_gives_the_same_weather_however_the_clock_is_cut(climate: str, seed: int, pieces: list[int]) -> None:
    """Wakes come late when steps of the clock are long; the walk is the same, over the turns of seasons too."""
    fine, coarse = town_of(climate, seed), town_of(climate, seed)
    days(fine, [1], 120)
    days(coarse, pieces, 120)

    reached = min(town.state(time, "clock").world_ms for town in (fine, coarse)) // HOUR
    walk = sky_by_hour(fine, reached + 1)
    at_the_end = [it for it in coarse.said(WeatherChanged) if it.since_world_ms <= reached * HOUR]
    for it in at_the_end:
        assert walk[it.since_world_ms // HOUR] == it.sky
    if coarse.state(time, "clock").world_ms // HOUR == reached:
        assert coarse.state(weather, "quay").natural.sky == walk[reached]


@given(climates, seeds, skies, strengths, st.integers(1, 60), st.integers(0, 40))
@example(climate="harbour", seed=1, sky="clear", strength=0.0, length=55, at=40)  # over a whole season
@settings(deadline=None)
def test_after_an_override_the_weather_is_what_it_would_have_been(
    climate: str, seed: int, sky: str, strength: float, length: int, at: int
) -> None:
    left_alone, disturbed = town_of(climate, seed), town_of(climate, seed)
    for hour in range(at + length + 10):
        if hour == at + 1:
            disturbed.say(WeatherOverrideRequested(sky=sky, intensity=strength, for_world_ms=length * HOUR), entity="quay")
        for town in (left_alone, disturbed):
            town.say(RealTimePassed(real_ms=1000), entity="clock")

    one, other = left_alone.state(weather, "quay"), disturbed.state(weather, "quay")
    assert len(disturbed.said(OverrideEnded)) == 1
    assert (one.natural, one.sky, one.since_ms, one.next_ms, one.season) == (
        other.natural,
        other.sky,
        other.since_ms,
        other.next_ms,
        other.season,
    )


@given(climates, seeds, st.lists(wishes, max_size=20), st.integers(1, 24))
@settings(deadline=None)
def test_confidence_is_a_probability_and_never_grows_with_the_distance(climate: str, seed: int, asked: list[Any], steps: int) -> None:
    town = town_of(climate, seed)
    for wish in [RealTimePassed(real_ms=1000), *asked]:
        town.say(wish, entity="clock" if isinstance(wish, RealTimePassed) else "quay")
    (said,) = town.say(ForecastRequested(steps=steps), entity="quay")

    assert isinstance(said, ForecastIssued)
    confidences = [step.confidence for step in said.steps]
    assert len(confidences) == steps
    assert confidences == sorted(confidences, reverse=True)
    assert all(0 < confidence <= 1 for confidence in confidences)
    assert all(0 <= step.intensity <= 1 for step in said.steps)
    assert [step.at_world_ms - said.steps[0].at_world_ms for step in said.steps] == [hour * HOUR for hour in range(steps)]


@pytest.mark.parametrize(("climate", "season"), [(climate, season) for climate, table in TABLES.climates.items() for season in table])
def test_forecasts_come_true_as_often_as_they_say(climate: str, season: str) -> None:
    """Simulated runs: forecasts are binned by stated confidence, and each bin is counted. Seeds are fixed, so the figures are too."""
    laws = CLIMATES.of(climate, season)
    stated: dict[int, list[float]] = defaultdict(list)
    true: dict[int, list[bool]] = defaultdict(list)
    for seed in range(1, 301):
        walk = list(course(Spot(next(iter(laws.season.next)), 1), range(60), seed, lambda step: laws))
        for begin in (19, 39):
            confidence = 1.0
            for ahead, happened in zip(cached_outlook(walk[begin], climate, season, laws), walk[begin + 1 : begin + 13], strict=True):
                confidence = min(confidence, ahead.likelihood)
                stated[int(confidence * 10)].append(confidence)
                true[int(confidence * 10)].append(happened.sky == ahead.sky)

    checked = [tenth for tenth in stated if len(stated[tenth]) >= 300]
    assert len(checked) >= 3, "too few forecasts to judge"
    for tenth in checked:
        said, found = sum(stated[tenth]) / len(stated[tenth]), sum(true[tenth]) / len(true[tenth])
        assert -0.08 <= found - said <= 0.15, f"said {said:.2f}, came true {found:.2f} of {len(true[tenth])}"


_OUTLOOKS: dict[tuple[Spot, str, str], list[Outlook]] = {}


def cached_outlook(spot: Spot, climate: str, season: str, laws: Laws) -> list[Outlook]:
    key = (spot, climate, season)
    if key not in _OUTLOOKS:
        _OUTLOOKS[key] = list(outlook(spot, range(12), CLIMATES, lambda step: laws))
    return _OUTLOOKS[key]


@given(seeds, st.integers(0, 10**12))
@settings(deadline=None)
def test_dice_are_fair_in_range_and_fall_the_same_way_again(seed: int, number: int) -> None:
    assert 0 <= roll(seed, "step", number) < 1
    assert roll(seed, "step", number) == roll(seed, "step", number)
    assert roll(seed, "step", number) != roll(seed, "wind", number)
