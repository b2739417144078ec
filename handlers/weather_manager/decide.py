"""A zone's answers: its walk goes on at every timer, overrides reign over it, forecasts look ahead of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Final

from google.protobuf.message import Message

from bus.event import Event
from handlers.weather_manager.climate import Climates, Laws, Spot, course, draw, outlook, roll
from handlers.weather_manager.state import STEP, Override, Zone, wake_of
from schemas.gen.worldbus.time.v1.time_pb2 import WakeCancelRequested, WakeFired, WakeRequested
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

MAX_STEPS: Final = 24  # of a forecast
DEFAULT_STEPS: Final = 12
MAX_OVERRIDE_MS: Final = 2_592_000_000  # 30 days of 24 hours
MAX_CATCH_UP: Final = 1_000  # steps walked at once; of a longer sleep only the last ones count
TEMPERATURE_MOVED: Final = 2.0  # degrees Celsius worth saying
MAX_REASON: Final = 256  # characters
MAX_REQUEST_ID: Final = 64
COOLING: Final = {"day": 0.0, "dawn": 0.75, "dusk": 0.4, "night": 1.0}  # share of the season's night_drop_c

Said = Sequence[Message]


def decide(climates: Climates, event: Event, zone: Zone) -> Said:
    """The zone's answer to `event`."""
    match event.data:
        case WakeFired() as it:
            return _woken(climates, it, zone)
        case ZoneDeclared() as it:
            return _declared(climates, event, it, zone)
        case WeatherOverrideRequested() as it:
            return _override(climates, event, it, zone)
        case OverrideCancelRequested():
            return _cancel(climates, event, zone)
        case ForecastRequested() as it:
            return _forecast(climates, event, it, zone)
        case _:
            return ()


def _refused(event: Event, code: str, reason: str) -> Said:
    return (WeatherRequestRefused(request=event.name, request_event_id=event.id, code=code, reason=reason),)


def _no_weather(event: Event, zone: Zone) -> Said:
    if not zone.climate:
        return _refused(event, "NOT_DECLARED", f"zone {event.entity} has not been declared: say ZoneDeclared first")
    return _refused(event, "NO_WEATHER_YET", f"zone {event.entity} waits for the clock's next step: is the clock started and running?")


def _declared(climates: Climates, event: Event, it: ZoneDeclared, zone: Zone) -> Said:
    if it.climate not in climates.laws:
        return _refused(event, "UNKNOWN_CLIMATE", f"wanted one of {', '.join(climates.laws)}, found {ascii(it.climate)[:80]}")
    seed = it.seed or int.from_bytes(blake2b(f"{event.world}\n{event.entity}".encode(), digest_size=8).digest(), "big") or 1
    if zone.climate:
        if (zone.climate, zone.seed) == (it.climate, seed):
            return (WakeRequested(name=STEP, at_world_ms=zone.next_ms),)  # harmless, and wakes a zone whose wake was refused
        return _refused(event, "ALREADY_DECLARED", f"zone {event.entity} has climate {zone.climate} and seed {zone.seed} for ever")
    return WeatherBegan(climate=it.climate, seed=seed), WakeRequested(name=STEP)


def _woken(climates: Climates, it: WakeFired, zone: Zone) -> Said:
    if not zone.climate:
        return ()
    if it.name == STEP:
        return _stepped(climates, it.now, zone)
    if zone.override is not None and it.name == wake_of(zone.override.number):
        return _expired(climates, it.now, zone, zone.override.number)
    return ()  # of an override that is over


def _expired(climates: Climates, now: WorldTime, zone: Zone, number: int) -> Said:
    """Back to nature, as its last step left it: in that step's season, whose skies the season that begins now may not know. The next step
    takes the zone into this one.
    """
    spot, since = _walk(climates, zone, zone.next_ms, now=now.season)
    moment = zone.next_ms - climates.tables.step_ms
    then = zone.season_at(moment, now.season)
    if then != now.season:
        now = WorldTime(
            world_ms=moment,
            time_of_day=now.time_of_day,
            day=now.day,
            season=then,
            season_ends_world_ms=zone.seasons_known_ms,
            next_season=now.season,
        )
    return OverrideEnded(number=number, cause="expired"), _nature(climates, zone, now, spot, since, cause="override_ended")


def _stepped(climates: Climates, now: WorldTime, zone: Zone) -> Said:
    if zone.begun and now.world_ms < zone.next_ms:
        return ()
    step_ms = climates.tables.step_ms
    reached = now.world_ms - now.world_ms % step_ms
    following = WakeRequested(name=STEP, at_world_ms=reached + step_ms)
    if not zone.begun:
        first = draw(climates.of(zone.climate, now.season).begins, roll(zone.seed, "step", reached // step_ms))
        return _nature(climates, zone, now, first, reached, cause="began"), following
    if zone.override is not None:
        return (*_turned(zone, zone.override, now, reached), following)
    spot, since = _walk(climates, zone, following.at_world_ms, now=now.season)
    changed = _nature(climates, zone, now, spot, since, cause="natural")
    return (changed, following) if _worth_saying(zone, changed) else (following,)


def _turned(zone: Zone, reigns: Override, now: WorldTime, reached: int) -> Said:
    """A season that begins under an override is said, with its end: nature has to walk it later on, whatever season that is then."""
    if now.world_ms < zone.seasons_known_ms or reached >= reigns.until_ms:
        return ()
    return (
        WeatherChanged(
            sky=reigns.sky,
            intensity=reigns.intensity,
            temperature_c=zone.temperature_c,
            wind_mps=zone.wind_mps,
            season=now.season,
            since_world_ms=reigns.since_ms,
            expected_until_world_ms=reigns.until_ms,
            cause="overridden",
            season_ends_world_ms=now.season_ends_world_ms,
            next_season=now.next_season,
        ),
    )


def _worth_saying(zone: Zone, it: WeatherChanged) -> bool:
    moved = abs(it.temperature_c - zone.temperature_c) >= TEMPERATURE_MOVED
    turned = (it.season, it.season_ends_world_ms) != (zone.season, zone.season_ends_ms)
    return moved or turned or Spot(it.sky, it.level) != zone.natural


def _walk(climates: Climates, zone: Zone, until_ms: int, *, now: str = "") -> tuple[Spot, int]:
    """The place of nature after every step before `until_ms`, and the moment since which its sky is there. `now` is today's season."""
    step_ms = climates.tables.step_ms
    last = (until_ms - 1) // step_ms
    steps = range(max(zone.known_ms // step_ms, last - MAX_CATCH_UP) + 1, last + 1)
    spot, since = zone.natural, zone.since_ms
    for step, following in zip(steps, _course(climates, zone, spot, steps, now), strict=True):
        since = since if following.sky == spot.sky else step * step_ms
        spot = following
    return spot, since


def _course(climates: Climates, zone: Zone, start: Spot, steps: Sequence[int], now: str) -> Iterable[Spot]:
    return course(start, steps, zone.seed, lambda step: _laws(climates, zone, step, now))


def _laws(climates: Climates, zone: Zone, step: int, now: str = "") -> Laws:
    return climates.of(zone.climate, zone.season_at(step * climates.tables.step_ms, now))


def _nature(climates: Climates, zone: Zone, now: WorldTime, spot: Spot, since: int, *, cause: str) -> WeatherChanged:
    """The natural weather at `spot`, as it is `now`."""
    laws = climates.of(zone.climate, now.season)
    intensity = climates.intensity(spot)
    chill = laws.season.night_drop_c * COOLING.get(now.time_of_day, 0.0)
    drift = 4 * roll(zone.seed, "day", now.day) - 2
    step_ms = climates.tables.step_ms
    reached = now.world_ms - now.world_ms % step_ms
    return WeatherChanged(
        sky=spot.sky,
        intensity=intensity,
        temperature_c=round(laws.season.mean_c - chill + drift + _warmth(climates, spot.sky, intensity), 1),
        wind_mps=_wind(climates, zone, spot.sky, intensity, reached),
        season=now.season,
        since_world_ms=since,
        expected_until_world_ms=reached + laws.stay.get(spot, 1) * step_ms,
        cause=cause,
        level=spot.level,
        season_ends_world_ms=now.season_ends_world_ms,
        next_season=now.next_season,
    )


def _warmth(climates: Climates, sky: str, intensity: float) -> float:
    known = climates.tables.skies.get(sky)
    return known.warmth_c * intensity if known else 0.0


def _wind(climates: Climates, zone: Zone, sky: str, intensity: float, moment: int) -> float:
    known = climates.tables.skies.get(sky)
    low, high = known.wind_mps if known else (0.0, 0.0)
    return round(low + (high - low) * (intensity + roll(zone.seed, "wind", moment)) / 2, 1)


def _override(climates: Climates, event: Event, it: WeatherOverrideRequested, zone: Zone) -> Said:
    if not zone.begun:
        return _no_weather(event, zone)
    if it.sky not in climates.tables.skies:
        return _refused(event, "UNKNOWN_SKY", f"wanted one of {', '.join(climates.tables.skies)}, found {ascii(it.sky)[:80]}")
    if not 0 <= it.intensity <= 1:
        return _refused(event, "BAD_INTENSITY", f"intensity must be 0 to 1, found {it.intensity}")
    if not 1 <= it.for_world_ms <= MAX_OVERRIDE_MS:
        return _refused(event, "BAD_DURATION", f"for_world_ms must be 1 to {MAX_OVERRIDE_MS} (30 days), found {it.for_world_ms}")
    if len(it.reason) > MAX_REASON:
        return _refused(event, "TOO_LONG", f"reason may have {MAX_REASON} characters, found {len(it.reason)}")
    number, since = zone.overrides + 1, zone.next_ms - climates.tables.step_ms
    said: list[Message] = [
        WeatherOverridden(
            number=number, sky=it.sky, intensity=it.intensity, since_world_ms=since, for_world_ms=it.for_world_ms, reason=it.reason
        )
    ]
    if zone.override is not None:
        said.append(WakeCancelRequested(name=wake_of(zone.override.number)))
    said.append(WakeRequested(name=wake_of(number), in_world_ms=it.for_world_ms))
    said.append(_forced(climates, zone, it, since))
    return said


def _forced(climates: Climates, zone: Zone, it: WeatherOverrideRequested, since: int) -> WeatherChanged:
    return WeatherChanged(
        sky=it.sky,
        intensity=it.intensity,
        temperature_c=_shifted(climates, zone, it.sky, it.intensity),
        wind_mps=_wind(climates, zone, it.sky, it.intensity, since),
        season=zone.season_at(since),
        since_world_ms=since,
        expected_until_world_ms=since + it.for_world_ms,
        cause="overridden",
    )


def _shifted(climates: Climates, zone: Zone, sky: str, intensity: float) -> float:
    """The temperature last said, as it would be under another sky: between two wakes a zone does not know the hour."""
    return round(zone.temperature_c - _warmth(climates, zone.sky, zone.intensity) + _warmth(climates, sky, intensity), 1)


def _cancel(climates: Climates, event: Event, zone: Zone) -> Said:
    if zone.override is None:
        return _refused(event, "NO_OVERRIDE", f"zone {event.entity} has no override: nothing to cancel")
    step_ms = climates.tables.step_ms
    spot, since = _walk(climates, zone, zone.next_ms)
    intensity, moment = climates.intensity(spot), zone.next_ms - step_ms
    season = zone.season_at(moment)
    natural = WeatherChanged(
        sky=spot.sky,
        intensity=intensity,
        temperature_c=_shifted(climates, zone, spot.sky, intensity),
        wind_mps=_wind(climates, zone, spot.sky, intensity, moment),
        season=season,
        since_world_ms=since,
        expected_until_world_ms=moment + _laws(climates, zone, moment // step_ms).stay.get(spot, 1) * step_ms,
        cause="override_ended",
        level=spot.level,
        season_ends_world_ms=zone.season_ends_ms if season == zone.season else 0,
        next_season=zone.next_season if season == zone.season else season,
    )
    number = zone.override.number
    return OverrideEnded(number=number, cause="cancelled"), WakeCancelRequested(name=wake_of(number)), natural


def _forecast(climates: Climates, event: Event, it: ForecastRequested, zone: Zone) -> Said:
    if not zone.begun:
        return _no_weather(event, zone)
    count = it.steps or DEFAULT_STEPS
    if not 1 <= count <= MAX_STEPS:
        return _refused(event, "BAD_STEPS", f"steps must be 1 to {MAX_STEPS}, found {it.steps}")
    if len(it.request_id) > MAX_REQUEST_ID:
        return _refused(event, "TOO_LONG", f"request_id may have {MAX_REQUEST_ID} characters, found {len(it.request_id)}")
    step_ms = climates.tables.step_ms
    steps = range(zone.next_ms // step_ms, zone.next_ms // step_ms + count)
    start, _ = _walk(climates, zone, zone.next_ms)
    said, confidence = [], 1.0
    for step, ahead in zip(steps, outlook(start, steps, climates, lambda step: _laws(climates, zone, step)), strict=True):
        moment, reigns = step * step_ms, zone.override
        if reigns is not None and moment < reigns.until_ms:
            said.append(ForecastStep(at_world_ms=moment, sky=reigns.sky, confidence=1.0, intensity=reigns.intensity))
            continue
        confidence = min(confidence, ahead.likelihood)
        said.append(ForecastStep(at_world_ms=moment, sky=ahead.sky, confidence=confidence, intensity=ahead.intensity))
    return (ForecastIssued(request_id=it.request_id, steps=said),)
