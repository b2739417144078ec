"""Events that were recorded under another name, over a chain of two, are in the tables: of the projector, of a rebuild, and of the past."""

from __future__ import annotations

from dataclasses import replace

import asyncpg
import pytest
from google.protobuf.message import Message

from bus.event import Event
from projections import Listed, Projector
from projections.batch import Batch, Lineup
from projections.dump import dump
from projections.fold import Shape
from projections.past import past
from projections.rebuild import rebuild
from projections.writer import wanted
from schemas.errors import BadUpcast
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerEnteredZone, PlayerJoined, PlayerLeftZone
from tests.projected import event, places, rows
from tests.upcasts import ENTERED, ship

KINDS: tuple[type[Message], ...] = (PlayerJoined, PlayerLeftZone, PlayerEnteredZone)


def recorded(count: int, *kinds: type[Message]) -> list[Event]:
    """Entrances as releases of three names recorded them, one after the other."""
    return [
        event(position, kinds[position % len(kinds)](zone=f"zone{position % 5}"), entity=f"player{position % 7}")  # type: ignore[call-arg]
        for position in range(1, count + 1)
    ]


async def test_the_projector_folds_what_was_recorded_under_older_names(
    database: str, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    ship(monkeypatch, ENTERED)
    await Projector(database, [places()]).run(Listed(recorded(100, *KINDS)))

    assert await rows(connection, "SELECT count(*) FROM worldbus.skipped") == [(0,)]
    assert await rows(connection, "SELECT sum(moves)::int FROM world.places") == [(100,)]


async def test_a_rebuild_and_the_past_fold_them_as_well(
    database: str, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = recorded(100, *KINDS)
    ship(monkeypatch, ENTERED)
    await Projector(database, [places()]).run(Listed(history))
    before = await dump(connection, places())

    difference = await rebuild(places(), database, Listed(history))

    assert difference.empty
    assert await dump(connection, places()) == before
    async with past(database, [places()]) as then:
        await then.advance(50)
        assert (await then.ask("SELECT sum(moves)::int FROM places")).rows == [(50,)]


def test_a_rename_that_ships_later_changes_what_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    history = recorded(30, *KINDS)
    assert len(wanted(places(), history)) == 10

    ship(monkeypatch, ENTERED)

    assert len(wanted(places(), history)) == 30


def test_a_projection_on_a_name_that_nothing_is_read_as_any_more_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    ship(monkeypatch, ENTERED)
    late = replace(places(), on={PlayerLeftZone: places().on[PlayerEnteredZone]})
    shapes: dict[str, Shape] = {}

    with pytest.raises(BadUpcast, match=r"nothing is read as worldbus.player.v1.PlayerLeftZone any more, but as .*PlayerEnteredZone"):
        Batch(Lineup(shapes={"places": (late, shapes)}, schemas={"places": ()}), 0, b"")
