"""The standard subsystems and projections, each to be taken singly."""

from __future__ import annotations

import re

import pytest

from bus.handler import ByWorld, Subsystem
from schemas.registry import subsystem
from worldbus import Content, Game, standard
from worldbus.standard import projections
from worlds import duskmarket

OF_THE_SAMPLE = {"broker", "market"}
ROW = re.compile(r"^\| `(\w+)` +\| (.*?) *\| (.*?) *\|$", re.MULTILINE)
ROWS = {name: (tables, asks) for name, tables, asks in ROW.findall(standard.__doc__ or "")}


def test_every_subsystem_that_is_not_the_sample_games_own_is_standard() -> None:
    assert [one.name for one in duskmarket.game.handlers if one.name not in OF_THE_SAMPLE] == [one.name for one in standard.SUBSYSTEMS]
    assert {one.name for one in duskmarket.game.projections} - {one.name for one in projections.PROJECTIONS} == {"brokers", "buyers"}


def test_each_is_called_by_its_name() -> None:
    called = {name: getattr(standard, name) for name in standard.__all__ if name != "SUBSYSTEMS"}
    tables = {name: getattr(projections, name) for name in projections.__all__ if name != "PROJECTIONS"}

    assert {name: one.name for name, one in called.items() if one.name != name} == {"time_manager": "time"}
    assert sorted(one.name for one in called.values()) == sorted(one.name for one in standard.SUBSYSTEMS)
    assert {one.name: one for one in tables.values()} == tables
    assert set(tables.values()) == set(projections.PROJECTIONS)


@pytest.mark.parametrize("one", standard.SUBSYSTEMS, ids=lambda one: one.name)
def test_the_table_in_the_docs_says_which_content_and_which_others_it_needs(one: Subsystem) -> None:
    content = Content(duskmarket.game.content.folder)
    if isinstance(one, ByWorld):
        one.make(content)
    read = ", ".join(sorted(f"{name}.toml" for name in vars(content) if name not in ("folder", "bounds")))
    asked = {subsystem(kind) for kind in one.emits} - {one.name, "request"}
    words = ("time_manager" if other == "time" else other for other in asked)
    asks = ", ".join(sorted((word if word == "inference" else f"`{word}`" for word in words), key=lambda word: word.strip("`")))

    assert ROWS["time_manager" if one.name == "time" else one.name] == (read, asks)


def test_a_game_takes_some_of_them_with_tables_of_its_own() -> None:
    game = Game(
        name="spaceport",
        handlers=(standard.time_manager, standard.weather, standard.player),
        projections=(projections.lanes, projections.weather),
        content=Content(duskmarket.game.content.folder),
    )

    assert list(game.by_name) == ["time", "weather", "player"]
    assert game.handler("weather").of("orbit").name == "weather"
    assert standard.weather.content is None, "the declared subsystem stays without content"
