"""The climates of a world as a designer writes them (TOML), read and checked: every problem is named, none is guessed around."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isclose
from pathlib import Path
from typing import Any, Final

from bus import toml
from handlers.names import NAME_RULE, is_token

MINUTE_MS: Final = 60_000
MAX_LEVELS: Final = 8
SHARE_TOLERANCE: Final = 1e-6

Shares = Mapping[str, float]  # sky → probability, adding up to 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sky:
    """One kind of weather. `levels` are its intensities, rising; `build` and `fade` are probabilities per step."""

    levels: tuple[float, ...]
    wind_mps: tuple[float, float]
    warmth_c: float
    build: float = 0.0
    fade: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Season:
    """One season of a climate. The keys of `next` are the skies that may occur in it."""

    mean_c: float
    night_drop_c: float
    begins: Shares
    next: Mapping[str, Shares]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """Checked weather tables of a world."""

    step_ms: int
    skies: Mapping[str, Sky]
    climates: Mapping[str, Mapping[str, Season]]  # climate → season → table


def load(path: Path) -> Tables:
    """The tables in a TOML file; raises `BadSettings` with every problem found."""
    return toml.read(path, parse)


def parse(table: Mapping[str, Any], name: str) -> Tables:
    """The tables in a parsed file called `name`; raises `BadSettings` with every problem found."""
    root = toml.of(table, name)
    root.only("step_minutes", "skies", "climates")
    tables = Tables(
        step_ms=root.value("step_minutes", int) * MINUTE_MS,
        skies={sky: body.into(Sky) for sky, body in root.tables("skies").items()},
        climates={climate: {season: seasons.table(season).into(Season) for season in seasons}
                  for climate, seasons in root.tables("climates").items()},
    )  # fmt: skip
    root.refuse(problems(tables))
    return tables


def problems(tables: Tables) -> list[str]:
    """The faults of the tables, for people; empty if there are none."""
    found = [] if tables.step_ms >= MINUTE_MS else [f"step_minutes must be 1 or more, found {tables.step_ms / MINUTE_MS:g}"]
    if not tables.climates:
        found.append("wanted at least one climate, found none")
    for name, sky in tables.skies.items():
        found += [f"skies.{name}: {problem}" for problem in _sky_problems(name, sky)]
    for climate, seasons in tables.climates.items():
        if not is_token(climate) or not seasons:
            found.append(f"climates.{climate}: wanted a name of {NAME_RULE} and at least one season")
        for season, table in seasons.items():
            found += [f"climates.{climate}.{season}: {problem}" for problem in _season_problems(table, tables.skies)]
    return found


def _sky_problems(name: str, sky: Sky) -> list[str]:
    found: list[str] = []
    if not is_token(name):
        found.append(f"a sky's name must be {NAME_RULE}")
    if not 1 <= len(sky.levels) <= MAX_LEVELS or list(sky.levels) != sorted(set(sky.levels)):
        found.append(f"wanted 1 to {MAX_LEVELS} rising levels, found {list(sky.levels)}")
    if any(not 0 <= level <= 1 for level in sky.levels):
        found.append(f"levels must be 0 to 1, found {list(sky.levels)}")
    if min(sky.build, sky.fade) < 0 or sky.build + sky.fade > 1:
        found.append(f"build and fade must be 0 or more and at most 1 together, found {sky.build} and {sky.fade}")
    if len(sky.levels) > 1 and sky.fade == 0:
        found.append("a sky of several levels needs fade above 0, or it never ends")
    low, high = sky.wind_mps
    if not 0 <= low <= high <= 100:
        found.append(f"wind_mps must be rising within 0 to 100, found {list(sky.wind_mps)}")
    return found


def _season_problems(season: Season, skies: Mapping[str, Sky]) -> list[str]:
    found = _share_problems("begins", season.begins, season)
    for sky, shares in season.next.items():
        if sky not in skies:
            found.append(f"next.{sky}: no such sky, there are {', '.join(skies)}")
        found += _share_problems(f"next.{sky}", shares, season)
    if not -60 <= season.mean_c <= 50 or not 0 <= season.night_drop_c <= 25:
        found.append(f"wanted mean_c -60 to 50 and night_drop_c 0 to 25, found {season.mean_c} and {season.night_drop_c}")
    return found


def _share_problems(row: str, shares: Shares, season: Season) -> list[str]:
    found = [f"{row}.{sky}: {sky} has no row of its own in next" for sky in shares if sky not in season.next]
    if any(share < 0 for share in shares.values()):
        found.append(f"{row}: probabilities must be 0 or more, found {dict(shares)}")
    if not isclose(sum(shares.values()), 1, abs_tol=SHARE_TOLERANCE):
        found.append(f"{row}: probabilities must add up to 1, found {sum(shares.values()):g}")
    return found
