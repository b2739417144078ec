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
    """A place of the walk: a sky and its level, 1 or more."""

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
    flow: Sequence[Sequence[tuple[int, float]]]  # the rows again, by number of the spot: for adding up many walks

    def row(self, spot: Spot) -> Row:
        """The shares of the places that the walk may go to from `spot`."""
        return self.rows.get(spot, self.begins)


@dataclass(frozen=True, slots=True)
class Climates:
    """Every climate of a world, ready to walk."""

    tables: Tables
    laws: Mapping[str, Mapping[str, Laws]]
    spots: Sequence[Spot]  # every spot there is; its place is its number

    def of(self, climate: str, season: str) -> Laws:
        """The laws in force; a season that the tables do not name is taken as the climate's first."""
        seasons = self.laws[climate]
        return seasons[season] if season in seasons else next(iter(seasons.values()))

    def intensity(self, spot: Spot) -> float:
        """The strength of the weather, 0 to 1."""
        sky = self.tables.skies.get(spot.sky)
        return 0.0 if sky is None else sky.levels[min(spot.level, len(sky.levels)) - 1]


def prepare(tables: Tables) -> Climates:
    """Turn checked tables into rows."""
    spots = tuple(Spot(name, level) for name, sky in tables.skies.items() for level in range(1, len(sky.levels) + 1))
    laws = {
        climate: {name: _laws(table, tables.skies, spots) for name, table in seasons.items()}
        for climate, seasons in tables.climates.items()
    }
    return Climates(tables, laws, spots)


def _laws(season: Season, skies: Mapping[str, Sky], spots: Sequence[Spot]) -> Laws:
    rows = {spot: _row(spot, skies[spot.sky], season.next[spot.sky]) for spot in spots if spot.sky in season.next}
    begins = tuple((Spot(sky, 1), share) for sky, share in sorted(season.begins.items()) if share)
    stay = {spot: steps for sky in season.next for spot, steps in _stay(sky, len(skies[sky].levels), rows).items()}
    number = {spot: place for place, spot in enumerate(spots)}
    flow = tuple(tuple((number[there], share) for there, share in rows.get(spot, begins)) for spot in spots)
    return Laws(season, begins, rows, stay, flow)


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
    """The place to which `die` leads."""
    for spot, share in row:
        die -= share
        if die < 0:
            return spot
    return row[-1][0]


def course(start: Spot, steps: Sequence[int], seed: int, laws: Callable[[int], Laws]) -> Iterator[Spot]:
    """The places of the walk at each of `steps`, from `start` before the first; `laws` are those in force at a step."""
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
    spread = [0.0] * len(climates.spots)
    for step in steps:
        first = step == steps[0]
        spread = _first_spread(climates, laws(step).row(start)) if first else _spread(spread, laws(step))
        yield _likeliest(climates, spread)


def _first_spread(climates: Climates, row: Row) -> list[float]:
    shares = dict(row)
    return [shares.get(spot, 0.0) for spot in climates.spots]


def _spread(before: Sequence[float], laws: Laws) -> list[float]:
    after = [0.0] * len(before)
    for share, row in zip(before, laws.flow, strict=True):
        if share:
            for there, chance in row:
                after[there] += share * chance
    return after


def _likeliest(climates: Climates, spread: Sequence[float]) -> Outlook:
    skies: dict[str, float] = {}
    for (sky, _), share in zip(climates.spots, spread, strict=True):
        if share:
            skies[sky] = skies.get(sky, 0.0) + share
    likeliest = max(skies, key=skies.__getitem__)
    strength = sum(share * climates.intensity(spot) for spot, share in zip(climates.spots, spread, strict=True) if spot.sky == likeliest)
    return Outlook(likeliest, min(skies[likeliest], 1.0), min(strength / skies[likeliest], 1.0))
