"""The share of a bus that a game plays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bus.errors import BadSettings, BadSubject
from bus.played import EVERYTHING, Played
from bus.runtime import places
from handlers.content import Content
from tests.duskmarket import FOLDER
from worldbus.game import Game
from worldbus.standard import player, time_manager

SUBSYSTEMS = (time_manager, player)


def _game(**about: object) -> Game:
    return Game(**{"name": "north", "handlers": SUBSYSTEMS, "projections": (), "content": Content(FOLDER), **about})  # type: ignore[arg-type]


def test_a_game_marks_its_consumers_and_names_its_worlds() -> None:
    game = _game(plays=frozenset({"north"}))
    for handler in game.handlers:
        found = places(handler, 2)
        assert [one.name for one in found] == [f"north~{handler.name}_0", f"north~{handler.name}_1", f"north~{handler.name}_operator"]
        assert {one.worlds for one in found} == {frozenset({b"north"})}


def test_a_bus_of_one_game_has_the_names_that_it_always_had() -> None:
    game = _game(mark="")
    assert game.played == EVERYTHING
    assert [one.name for one in places(game.handlers[0], 1)] == ["time_0", "time_operator"]
    assert places(game.handlers[0], 1)[0].worlds is None


def test_the_rules_that_are_made_for_a_world_are_of_the_same_game() -> None:
    game = _game(plays=frozenset({"north", "isle"}), worlds={"isle": Content(Path(FOLDER))})
    for handler in game.handlers:
        assert {handler.of(world).played for world in ("north", "isle")} == {game.played}


def test_content_of_a_world_that_is_not_played_is_refused() -> None:
    with pytest.raises(ValueError, match="found content of isle: add them to `plays`"):
        _game(plays=frozenset({"north"}), worlds={"isle": Content(FOLDER)})


def test_another_games_world_is_told() -> None:
    _game().check_plays("main")
    with pytest.raises(BadSettings, match=r"wanted a world that north plays \(isle, north\), found 'main': name one by --world"):
        _game(plays=frozenset({"north", "isle"})).check_plays("main")


@pytest.mark.parametrize("worlds", [frozenset(), frozenset({"no world"}), frozenset({"a.b"})])
def test_names_of_worlds_are_tokens(worlds: frozenset[str]) -> None:
    with pytest.raises((ValueError, BadSubject)):
        Played("north", worlds)


def test_a_share_is_a_value() -> None:
    assert replace(Played("north"), worlds=frozenset({"a"})) == Played("north", frozenset({"a"}))
    assert Played("north").label("time") == "north~time"
