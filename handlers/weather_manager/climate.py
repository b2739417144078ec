"""The laws of weather: a walk over (sky, level) with dice that come from a seed. Pure functions of tables, seed and step.

`course` is what happens, `outlook` is how likely it was: both read the same rows, so a forecast's confidence is the true probability.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import ceil
from typing import NamedTuple

from handlers.weather_manager.tables import Season, Shares, Sky, Tables


class Spot(NamedTuple):
    """Where the walk stands: a sky and its level, 1 or more."""

    sky: str
    level: int


Row = tuple[tuple[Spot, float], ...]  # next spot → probability


@dataclass(frozen=True, slots=True)
class Laws:
    """The walk of one climate in one season. Spots that the season does not know go on as its `begins` says."""

    season: Season
    begins: Row
    rows: Mapping[Spot, Row]
    stay: Mapping[Spot, int]  # mean steps until the sky changes, rounded up

    def row(self, spot: Spot) -> Row:
        """Where the walk may go from `spot`."""
        return self.rows.get(spot, self.begins)


@dataclass(frozen=True, slots=True)
class Climates:
    """Every climate of a world, ready to walk."""

    tables: Tables
    laws: Mapping[str, Mapping[str, Laws]]

    def of(self, climate: str, season: str) -> Laws:
        """The laws in force; a season that the tables do not name is taken as the climate's first."""
        seasons = self.laws[climate]
        return seasons[season] if season in seasons else next(iter(seasons.values()))

    def intensity(self, spot: Spot) -> float:
        """How strong the weather is, 0 to 1."""
        sky = self.tables.skies.get(spot.sky)
        return 0.0 if sky is None else sky.levels[min(spot.level, len(sky.levels)) - 1]


def prepare(tables: Tables) -> Climates:
    """Turn checked tables into rows."""
    laws = {
        climate: {name: _laws(season, tables.skies) for name, season in seasons.items()} for climate, seasons in tables.climates.items()
    }
    return Climates(tables, laws)


def _laws(season: Season, skies: Mapping[str, Sky]) -> Laws:
    rows = {
        Spot(sky, level): _row(Spot(sky, level), skies[sky], season.next[sky])
        for sky in season.next
        for level in range(1, len(skies[sky].levels) + 1)
    }
    begins = tuple((Spot(sky, 1), share) for sky, share in sorted(season.begins.items()) if share)
    stay = {spot: steps for sky in season.next for spot, steps in _stay(sky, len(skies[sky].levels), rows).items()}
    return Laws(season, begins, rows, stay)


def _row(spot: Spot, sky: Sky, following: Shares) -> Row:
    top = spot.level == len(sky.levels)
    build = 0.0 if top else sky.build
    up = Spot(spot.sky, spot.level + 1)
    if spot.level > 1:
        moves = [(Spot(spot.sky, spot.level - 1), sky.fade), (spot, 1 - sky.fade - build), (up, build)]
    else:
        stays = following.get(spot.sky, 0.0)
        moves = [(Spot(other, 1), share) for other, share in sorted(following.items()) if other != spot.sky]
        moves += [(spot, stays * (1 - build)), (up, stays * build)]
    return tuple((where, share) for where, share in moves if share > 0)


def _stay(sky: str, levels: int, rows: Mapping[Spot, Row]) -> dict[Spot, int]:
    """Mean steps until the walk leaves `sky`: the solution of E = 1 + P·E, by elimination from the top level down."""
    pull, base = 0.0, 0.0  # E[level + 1] = base + pull · E[level]
    found: list[tuple[float, float]] = []
    for level in range(levels, 0, -1):
        shares = dict(rows[Spot(sky, level)])
        up = shares.get(Spot(sky, level + 1), 0.0)
        left = max(1 - shares.get(Spot(sky, level), 0.0) - up * pull, 1e-9)
        base, pull = (1 + up * base) / left, shares.get(Spot(sky, level - 1), 0.0) / left
        found.append((base, pull))
    steps: dict[Spot, int] = {}
    below = 0.0
    for level, (base, pull) in enumerate(reversed(found), start=1):
        below = base + pull * below
        steps[Spot(sky, level)] = min(ceil(below - 1e-9), 10_000)
    return steps


def roll(seed: int, what: str, number: int) -> float:
    """A die in [0, 1) that always falls the same way."""
    digest = blake2b(f"{seed}\n{what}\n{number}".encode(), digest_size=7).digest()
    return int.from_bytes(digest, "big") / 2**56


def draw(row: Row, die: float) -> Spot:
    """Where `die` leads."""
    for spot, share in row:
        die -= share
        if die < 0:
            return spot
    return row[-1][0]


def course(start: Spot, steps: Sequence[int], seed: int, laws: Callable[[int], Laws]) -> Iterator[Spot]:
    """Where the walk stands at each of `steps`, having stood at `start` before the first; `laws` are those in force at a step."""
    spot = start
    for step in steps:
        spot = draw(laws(step).row(spot), roll(seed, "step", step))
        yield spot


class Outlook(NamedTuple):
    """The likeliest sky at some step, how likely it is, and how strong it would be."""

    sky: str
    likelihood: float
    intensity: float


def outlook(start: Spot, steps: Sequence[int], climates: Climates, laws: Callable[[int], Laws]) -> Iterator[Outlook]:
    """The likeliest sky at each of `steps`, knowing only that the walk stood at `start` before the first."""
    spread: dict[Spot, float] = {start: 1.0}
    for step in steps:
        spread = _spread(spread, laws(step))
        skies: dict[str, float] = {}
        for spot, share in spread.items():
            skies[spot.sky] = skies.get(spot.sky, 0.0) + share
        sky = max(sorted(skies), key=skies.__getitem__)
        strength = sum(share * climates.intensity(spot) for spot, share in spread.items() if spot.sky == sky)
        yield Outlook(sky, min(skies[sky], 1.0), min(strength / skies[sky], 1.0))


def _spread(before: Mapping[Spot, float], laws: Laws) -> dict[Spot, float]:
    after: dict[Spot, float] = {}
    for spot, share in before.items():
        for following, chance in laws.row(spot):
            after[following] = after.get(following, 0.0) + share * chance
    return after
