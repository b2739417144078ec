"""What a game may declare as its bots, and how another thing is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from bus.errors import BadSettings
from bus.event import Draft
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerHeartbeat
from worldbus import Content, Game
from worldbus.demo import Bots, Stage
from worldbus.demo.bots import asked, bots_of
from worldbus.standard import player, projections


class Idler:
    """Never does anything."""

    name, dice, per_s = "idler", Random(1), 0.0

    def say(self) -> Draft:
        raise AssertionError

    def leave(self) -> None:
        """Stay."""


class Idlers(Bots):
    """Nobody who acts."""

    players = (Idler(),)


def game(bots: Any) -> Game:
    """A game of one subsystem, played by these."""
    return Game(name="pier", handlers=(player,), projections=(projections.players,), content=Content(Path("nowhere")), bots=bots)


def test_bots_are_made_for_the_stage_and_say_nothing_of_themselves() -> None:
    found = bots_of(game(Bots), "main", players=3, seed=7, run=40)

    assert (found.stage.world, found.stage.content.folder, found.stage.players) == ("main", Path("nowhere"), 3)
    assert (found.stage.seed, found.stage.run) == (7, 40)
    assert [*found.opening(), *found.turn(1), *found.players, *found.releases] == []
    draft = found.draft(PlayerHeartbeat(), "mira")
    assert (draft.world, draft.entity, draft.subsystem) == ("main", "mira", "game")


@pytest.mark.parametrize(
    ("bots", "told"),
    [
        (None, "wanted bots, which play the demo, found none in the game pier: give it some, Game(bots=...)"),
        (lambda stage: None, "wanted `bots` of the game pier to make worldbus.demo.Bots, found NoneType"),
        (Idlers, "wanted deeds a second (`per_s`) above 0, found others of idler"),
    ],
)
def test_what_cannot_play_is_refused_with_the_next_step(bots: Callable[[Stage], Bots] | None, told: str) -> None:
    with pytest.raises(BadSettings, match=re.escape(told)):
        bots_of(game(bots), "main", players=1, seed=1)


def test_a_mistake_in_bots_is_the_games_and_is_told_with_its_place() -> None:
    with pytest.raises(BadSettings, match=rf"bots of the game: {re.escape(__file__)}:\d+ raised ZeroDivisionError: .+ by zero"):
        asked(lambda: 1 // 0)
    with pytest.raises(BadSettings, match="as it was"):
        asked(_refuse)
    assert asked(lambda: 3) == 3


def _refuse() -> None:
    raise BadSettings("as it was")
