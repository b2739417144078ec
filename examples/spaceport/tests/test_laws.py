"""The laws of every handler and every projection, tried with whatever Hypothesis draws; and the tables in `content/` can be read."""

import pytest
from worldbus.testing import Rehearsal, assert_handler_laws, assert_projection_laws

from spaceport import game
from spaceport.cargo import manifests
from spaceport.docking import berths
from spaceport.gen.spaceport.cargo.v1.cargo_pb2 import UnloadRequested
from spaceport.gen.spaceport.docking.v1.docking_pb2 import DockRequested, UndockRequested

NAMES = ("docking", "cargo", "customs")


@pytest.mark.parametrize("name", NAMES)
def test_the_handlers_keep_the_laws(name: str) -> None:
    port = Rehearsal(*(game.handler(each) for each in NAMES))
    for ship in ("margin", "kindness"):
        port.say(DockRequested(ship=ship), entity="lantern-rock")
    for good in ("ore", "seedstock", "sleepers"):
        port.say(UnloadRequested(good=good, tonnes=3), entity="margin")
    port.say(UndockRequested(ship="margin"), entity="lantern-rock")
    assert_handler_laws(game.handler(name), history=port.log)


def test_the_projections_keep_the_laws(worldbus_database: str) -> None:
    assert_projection_laws(worldbus_database, berths, manifests)


def test_every_handler_can_play_by_the_content() -> None:
    for handler in game.handlers:
        assert handler.of("main").name == handler.name
