"""Designers' tables: what does not fit is named, and the shipped ones fit."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bus.errors import BadSettings
from handlers.time_manager import calendar
from handlers.weather_manager import tables
from handlers.weather_manager.climate import Spot, course, prepare
from tests.duskmarket import FOLDER

WEATHER = FOLDER / "weather.toml"
CALENDAR = FOLDER / "calendar.toml"
GOOD = tomllib.loads(WEATHER.read_text())


def test_every_climate_of_the_world_knows_every_season_of_its_calendar() -> None:
    seasons = [season.name for season in calendar.load(CALENDAR).seasons]

    assert {climate: list(table) for climate, table in tables.load(WEATHER).climates.items()} == dict.fromkeys(
        ("harbour", "moor", "highland"), seasons
    )


def test_every_row_of_the_walk_adds_up_to_one() -> None:
    for seasons in prepare(tables.load(WEATHER)).laws.values():
        for laws in seasons.values():
            for row in (laws.begins, *laws.rows.values()):
                assert sum(share for _, share in row) == pytest.approx(1)
                assert all(spot in laws.rows for spot, _ in row)


Damage = Callable[[dict[str, Any]], object]
DAMAGES: list[tuple[str, Damage]] = [
    ("step_minutes must be 1 or more", lambda t: t.update(step_minutes=0)),
    ("at least one climate", lambda t: t.update(climates={})),
    ("climates.no.where", lambda t: t["climates"].update({"no.where": t["climates"]["moor"]})),
    ("climates.empty", lambda t: t["climates"].update(empty={})),
    ("skies.a b", lambda t: t["skies"].update({"a b": t["skies"]["clear"]})),
    ("rising levels", lambda t: t["skies"]["rain"].update(levels=[0.5, 0.5])),
    ("rising levels", lambda t: t["skies"]["rain"].update(levels=[])),
    ("levels must be 0 to 1", lambda t: t["skies"]["rain"].update(levels=[0.5, 1.5])),
    ("build and fade", lambda t: t["skies"]["rain"].update(build=0.9, fade=0.2)),
    ("or it never ends", lambda t: t["skies"]["rain"].update(fade=0)),
    ("wind_mps must be rising", lambda t: t["skies"]["rain"].update(wind_mps=[3, 2])),
    ("no such sky", lambda t: t["climates"]["moor"]["spring"]["next"].update(ash={"ash": 1.0})),
    ("no row of its own", lambda t: t["climates"]["moor"]["spring"]["next"]["rain"].update(snow=0.0)),
    ("must be 0 or more", lambda t: t["climates"]["moor"]["spring"]["begins"].update(fog=-0.4, cloudy=1.2)),
    ("add up to 1, found 1.1", lambda t: t["climates"]["moor"]["spring"]["begins"].update(fog=0.5)),
    ("mean_c", lambda t: t["climates"]["moor"]["spring"].update(mean_c=99)),
    ("skies: wanted a table, found no such key", lambda t: t.pop("skies")),
    ("skies.rain.colour: wanted one of", lambda t: t["skies"]["rain"].update(colour="grey")),
    ("skies.rain.levels: wanted an array with a number", lambda t: t["skies"]["rain"].pop("levels")),
    (r"skies.rain.levels\[0\]: wanted a number, found 'much'", lambda t: t["skies"]["rain"].update(levels=["much"])),
    ("spring.mean_c: wanted a number, found 'mild'", lambda t: t["climates"]["moor"]["spring"].update(mean_c="mild")),
]


@pytest.mark.parametrize(("words", "damage"), DAMAGES)
def test_a_table_that_does_not_fit_says_where(words: str, damage: Damage) -> None:
    table = copy.deepcopy(GOOD)
    damage(table)

    with pytest.raises(BadSettings, match=words):
        tables.parse(table, "weather.toml")


def test_all_problems_are_told_together() -> None:
    table = copy.deepcopy(GOOD)
    table["step_minutes"] = 0
    table["skies"]["rain"]["fade"] = 0

    with pytest.raises(BadSettings, match=r"step_minutes.*never ends"):
        tables.parse(table, "weather.toml")


@pytest.mark.parametrize("load", [calendar.load, tables.load])
def test_a_file_that_is_missing_or_no_toml_says_so(load: Callable[[Path], object], tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match=r"absent\.toml"):
        load(tmp_path / "absent.toml")
    (tmp_path / "broken.toml").write_text("[")
    with pytest.raises(BadSettings, match=r"broken\.toml"):
        load(tmp_path / "broken.toml")


@pytest.mark.parametrize(
    "text",
    [
        "hours_per_day = 24",
        "hours_per_day = '24'\nseasons = []",
        "hours_per_day = 24\nseasons = []",
        CALENDAR.read_text().replace("days = 28", "days = '28'", 1),
        CALENDAR.read_text().replace("days = 28", "months = 1", 1),
        CALENDAR.read_text().replace("dawn_minute = 330", "dawn_minute = 1330", 1),
        CALENDAR.read_text().replace("summer", "spring", 1),
    ],
)
def test_a_calendar_that_does_not_fit_says_so(text: str, tmp_path: Path) -> None:
    path = tmp_path / "calendar.toml"
    path.write_text(text)

    with pytest.raises(BadSettings, match=r"calendar\.toml"):
        calendar.load(path)


def test_the_mean_stay_is_what_walking_shows() -> None:
    """`expected_until` comes from algebra; here it is counted."""
    laws = prepare(tables.load(WEATHER)).of("harbour", "autumn")
    for spot in (Spot("clear", 1), Spot("rain", 1), Spot("rain", 3), Spot("storm", 2)):
        stays = []
        for seed in range(2000):
            walk = course(spot, range(200), seed, lambda step: laws)
            stays.append(next(count for count, there in enumerate(walk, start=1) if there.sky != spot.sky))
        mean = sum(stays) / len(stays)
        assert laws.stay[spot] - 1.6 < mean < laws.stay[spot] + 0.6, f"{spot}: {mean}"
