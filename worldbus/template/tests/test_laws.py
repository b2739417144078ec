"""The laws of every handler and every projection, tried with whatever Hypothesis draws; and the tables in `content/` can be read."""

from worldbus.testing import Rehearsal, assert_handler_laws, assert_projection_laws

from newgame import game
from newgame.beacon import beacon, beacons
from newgame.gen.newgame.beacon.v1.beacon_pb2 import BeaconLightRequested


def test_the_handler_keeps_the_laws() -> None:
    coast = Rehearsal(beacon)
    coast.say(BeaconLightRequested(oil_minutes=60), entity="north")
    assert_handler_laws(beacon, history=coast.log)


def test_the_projection_keeps_the_laws(worldbus_database: str) -> None:
    assert_projection_laws(worldbus_database, beacons)


def test_every_handler_can_play_by_the_content() -> None:
    for handler in game.handlers:
        assert handler.of("main").name == handler.name
