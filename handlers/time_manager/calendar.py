"""The calendar: how a count of world milliseconds reads as year, season, day and hour. Pure arithmetic, no state."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from bus import toml
from handlers.names import NAME_RULE, is_token
from schemas.gen.worldbus.time.v1 import types_pb2 as proto

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
MAX_HOURS: Final = 240
MAX_SEASONS: Final = 32
MAX_SEASON_DAYS: Final = 1000
MAX_OFFSET_MS: Final = 10**15  # about 30 000 years
TIMES_OF_DAY: Final = ("night", "dawn", "day", "dusk", "night")


@dataclass(frozen=True, slots=True, kw_only=True)
class Season:
    """One season; the marks are minutes after midnight."""

    name: str
    days: int
    dawn_minute: int
    day_minute: int
    dusk_minute: int
    night_minute: int

    @property
    def marks(self) -> tuple[int, int, int, int]:
        """The minutes at which dawn, day, dusk and night begin, rising."""
        return self.dawn_minute, self.day_minute, self.dusk_minute, self.night_minute


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """A checked calendar; build it with `checked`, `from_proto` or `load`."""

    hours_per_day: int
    seasons: tuple[Season, ...]
    offset_ms: int = 0

    @property
    def day_ms(self) -> int:
        """World milliseconds in a day."""
        return self.hours_per_day * HOUR_MS

    @property
    def year_days(self) -> int:
        """Days in a year."""
        return sum(season.days for season in self.seasons)

    def to_proto(self) -> proto.Calendar:
        """The calendar's form in events."""
        return proto.Calendar(hours_per_day=self.hours_per_day, offset_ms=self.offset_ms, seasons=map(_season_to_proto, self.seasons))


def _season_to_proto(season: Season) -> proto.SeasonRule:
    return proto.SeasonRule(
        name=season.name,
        days=season.days,
        dawn_minute=season.dawn_minute,
        day_minute=season.day_minute,
        dusk_minute=season.dusk_minute,
        night_minute=season.night_minute,
    )


def from_proto(message: proto.Calendar) -> Calendar:
    """The calendar in a recorded event, unchecked: it was checked before it was recorded."""
    return Calendar(
        hours_per_day=message.hours_per_day,
        offset_ms=message.offset_ms,
        seasons=tuple(
            Season(
                name=rule.name,
                days=rule.days,
                dawn_minute=rule.dawn_minute,
                day_minute=rule.day_minute,
                dusk_minute=rule.dusk_minute,
                night_minute=rule.night_minute,
            )
            for rule in message.seasons
        ),
    )


def problems(calendar: Calendar) -> list[str]:
    """The faults of a calendar, for people; empty if there are none."""
    found: list[str] = []
    if not 1 <= calendar.hours_per_day <= MAX_HOURS:
        found.append(f"hours_per_day must be 1 to {MAX_HOURS}, found {calendar.hours_per_day}")
    if not 0 <= calendar.offset_ms <= MAX_OFFSET_MS:
        found.append(f"offset_ms must be 0 to {MAX_OFFSET_MS}, found {calendar.offset_ms}")
    if not 1 <= len(calendar.seasons) <= MAX_SEASONS:
        found.append(f"a year needs 1 to {MAX_SEASONS} seasons, found {len(calendar.seasons)}")
    names = [season.name for season in calendar.seasons]
    if len(set(names)) != len(names):
        found.append(f"season names must differ, found {', '.join(names)}")
    for season in calendar.seasons:
        found += _season_problems(season, calendar.hours_per_day * 60)
    return found


def _season_problems(season: Season, day_minutes: int) -> list[str]:
    found: list[str] = []
    if not is_token(season.name):
        found.append(f"a season's name must be {NAME_RULE}, found {ascii(season.name)[:80]}")
    if not 1 <= season.days <= MAX_SEASON_DAYS:
        found.append(f"{season.name}: days must be 1 to {MAX_SEASON_DAYS}, found {season.days}")
    marks = season.marks
    if not (0 <= marks[0] < marks[1] < marks[2] < marks[3] < day_minutes):
        found.append(f"{season.name}: wanted 0 <= dawn < day < dusk < night < {day_minutes} minutes, found {marks}")
    return found


def load(path: Path) -> Calendar:
    """The calendar in a TOML file; raises `BadSettings` with every problem found."""
    return toml.read(path, parse)


def parse(table: Mapping[str, Any], name: str) -> Calendar:
    """The calendar in a parsed file called `name`; raises `BadSettings` with every problem found."""
    root = toml.of(table, name)
    root.only("hours_per_day", "offset_minutes", "seasons")
    calendar = Calendar(
        hours_per_day=root.value("hours_per_day", int),
        offset_ms=root.value("offset_minutes", int, 0) * MINUTE_MS,
        seasons=tuple(season.into(Season) for season in root.rows("seasons")),
    )
    root.refuse(f"{_key_of(problem)}{problem}" for problem in problems(calendar))
    return calendar


def _key_of(problem: str) -> str:
    """The key of a file that a problem of any calendar concerns; empty where it begins with it."""
    return "" if problem.startswith("hours_per_day") else "offset_minutes: " if problem.startswith("offset_ms") else "seasons: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One moment, read by a calendar."""

    world_ms: int
    year: int
    season: str
    day: int
    day_of_season: int
    minute_of_day: int
    time_of_day: str
    season_ends_world_ms: int
    next_season: str

    def to_proto(self) -> proto.WorldTime:
        """The reading's form in events."""
        hour, minute = divmod(self.minute_of_day, 60)
        return proto.WorldTime(
            world_ms=self.world_ms,
            year=self.year,
            season=self.season,
            day=self.day,
            day_of_season=self.day_of_season,
            hour=hour,
            minute=minute,
            time_of_day=self.time_of_day,
            season_ends_world_ms=self.season_ends_world_ms,
            next_season=self.next_season,
        )


@lru_cache(maxsize=64)
def _season_starts(calendar: Calendar) -> tuple[int, ...]:
    """On which day of the year (0 first) each season begins."""
    starts, day = [], 0
    for season in calendar.seasons:
        starts.append(day)
        day += season.days
    return tuple(starts)


def read(calendar: Calendar, world_ms: int) -> Reading:
    """The calendar's reading at `world_ms`."""
    day_ms = calendar.day_ms
    days, in_day = divmod(world_ms + calendar.offset_ms, day_ms)
    year, day_of_year = divmod(days, calendar.year_days)
    starts = _season_starts(calendar)
    index = bisect_right(starts, day_of_year) - 1
    season = calendar.seasons[index]
    minute = in_day // MINUTE_MS
    left = starts[index] + season.days - day_of_year  # days until the season ends, today included
    return Reading(
        world_ms=world_ms,
        year=year + 1,
        season=season.name,
        day=days + 1,
        day_of_season=day_of_year - starts[index] + 1,
        minute_of_day=minute,
        time_of_day=TIMES_OF_DAY[bisect_right(season.marks, minute)],
        season_ends_world_ms=world_ms - in_day + left * day_ms,
        next_season=calendar.seasons[(index + 1) % len(calendar.seasons)].name,
    )


def next_turn(calendar: Calendar, world_ms: int) -> int:
    """The first moment after `world_ms` at which a day or a time of day may begin."""
    days, in_day = divmod(world_ms + calendar.offset_ms, calendar.day_ms)
    midnight = world_ms - in_day
    season = calendar.seasons[bisect_right(_season_starts(calendar), days % calendar.year_days) - 1]
    for mark in season.marks:
        if mark * MINUTE_MS > in_day:
            return midnight + mark * MINUTE_MS
    return midnight + calendar.day_ms
