"""Quiet is a world whose tables are there, also those of a projection that came later and is built from the whole log."""

from __future__ import annotations

from pathlib import Path

import pytest

from projections.projection import Projection
from projections.store import connected
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerJoined
from worldbus import Content, Draft, Game, Settings, games, open_world, serve
from worldbus.quiet import until_quiet
from worldbus.standard import player, projections, time_manager
from worlds.duskmarket import game as duskmarket

PLAYERS = 200


async def test_a_projection_that_is_built_beside_the_others_is_waited_for(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = _game(projections.lanes)
    after = _game(projections.lanes, projections.players)
    async with open_world(Settings(data=data_folder, durability="relaxed"), own=True) as world:
        for number in range(PLAYERS):
            joined = PlayerJoined(display_name=f"Mira {number}", zone="quay")
            world.publisher.submit(Draft(data=joined, world=world.settings.world, entity=f"mira-{number}", subsystem="game"))
        await world.publisher.flush()
        for game in (before, after):
            monkeypatch.setattr(games, "_named", [game])
            async with serve(world, handlers=game.handlers, projections=game.projections):
                await until_quiet(world)
                if game is after:
                    async with connected(world.servers.reader_dsn) as connection:
                        assert await connection.fetchval("SELECT count(*) FROM world.players WHERE online") == PLAYERS


def _game(*of: Projection) -> Game:
    content: Content = duskmarket.content
    return Game(name="harbour", handlers=(time_manager, player), projections=of, content=content)
