"""A zone's weather, folded from the handler's events about it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from bus.event import Event
from handlers.weather_manager.climate import Spot
from schemas.gen.worldbus.time.v1.time_pb2 import WakeRequested
from schemas.gen.worldbus.weather.v1.weather_pb2 import OverrideEnded, WeatherBegan, WeatherChanged, WeatherOverridden

STEP: Final = "step"  # name of the wake for the next step
NOWHERE: Final = Spot("", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """A weather that reigns for a while; `until_ms` is when it ends, as far as the zone knows the time."""

    number: int
    sky: str
    intensity: float
    since_ms: int
    until_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Zone:
    """One zone. Without a climate it has not been declared; without a natural sky its first wake is still to come.

    `natural` is the walk's spot at `known_ms`, the last step it took. Under an override the walk is not recorded (it can be walked again,
    the dice always fall the same way), so `known_ms` then stays behind `next_ms`, the step to come.
    """

    climate: str = ""
    seed: int = 0
    natural: Spot = NOWHERE
    known_ms: int = 0
    since_ms: int = 0
    next_ms: int = 0
    season: str = ""
    season_ends_ms: int = 0
    next_season: str = ""
    turned: tuple[tuple[str, int], ...] = ()  # seasons that began under the present override, and when each ends
    sky: str = ""  # what reigns: the override's, else the natural one
    intensity: float = 0.0
    temperature_c: float = 0.0
    wind_mps: float = 0.0
    override: Override | None = None
    overrides: int = 0  # so far

    @property
    def begun(self) -> bool:
        """True once there is weather."""
        return self.natural.level > 0

    def season_at(self, moment: int, now: str = "") -> str:
        """The season at a moment: those known, until they end, and then `now` (if not said, the one that follows)."""
        for season, ends_ms in ((self.season, self.season_ends_ms), *self.turned):
            if moment < ends_ms:
                return season
        return now or self.next_season

    @property
    def seasons_known_ms(self) -> int:
        """The moment until which the seasons are known."""
        return self.turned[-1][1] if self.turned else self.season_ends_ms


def wake_of(override: int) -> str:
    """Name of the wake that ends an override; each has its own, so that one still under way cannot end the next."""
    return f"override-{override}"


def evolve(step_ms: int, zone: Zone, event: Event) -> Zone:
    """The zone after the handler said `event`; `step_ms` is the length of a step."""
    match event.data:
        case WakeRequested(name=name, at_world_ms=at) if name == STEP:
            return replace(zone, next_ms=at, known_ms=zone.known_ms if zone.override else at - step_ms)
        case WeatherChanged() as it:
            return _changed(step_ms, zone, it)
        case WeatherOverridden() as it:
            override = Override(
                number=it.number,
                sky=it.sky,
                intensity=it.intensity,
                since_ms=it.since_world_ms,
                until_ms=it.since_world_ms + it.for_world_ms,
            )
            return replace(zone, override=override, overrides=it.number)
        case OverrideEnded():
            return replace(zone, override=None)
        case WeatherBegan() as it:
            return replace(zone, climate=it.climate, seed=it.seed)
        case _:
            return zone


def _changed(step_ms: int, zone: Zone, it: WeatherChanged) -> Zone:
    shown = replace(zone, sky=it.sky, intensity=it.intensity, temperature_c=it.temperature_c, wind_mps=it.wind_mps)
    if it.level == 0:  # an override: nature goes its own way underneath
        return _turned(shown, it) if it.season_ends_world_ms else shown
    return replace(
        shown,
        natural=Spot(it.sky, it.level),
        since_ms=it.since_world_ms,
        known_ms=zone.next_ms - step_ms,
        season=it.season,
        season_ends_ms=it.season_ends_world_ms,
        next_season=it.next_season,
        turned=(),
    )


def _turned(zone: Zone, it: WeatherChanged) -> Zone:
    return replace(zone, turned=(*zone.turned, (it.season, it.season_ends_world_ms)), next_season=it.next_season)
