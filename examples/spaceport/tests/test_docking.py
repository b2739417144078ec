"""The rules of docking, one by one."""

from worldbus.testing import given

from spaceport import game
from spaceport.docking import docking
from spaceport.gen.spaceport.docking.v1.docking_pb2 import (
    DockingRefused,
    DockRequested,
    ShipDocked,
    ShipQueued,
    ShipUndocked,
    UndockRequested,
)

harbour = game.handler("docking").of("main")
MARGIN, KINDNESS = ShipDocked(ship="margin", berth=1), ShipQueued(ship="kindness")


def test_a_ship_is_given_the_lowest_free_berth() -> None:
    full = (ShipDocked(ship="a", berth=1), ShipDocked(ship="b", berth=2), ShipUndocked(ship="a", berth=1))
    given(harbour, *full, entity="meridian").when(DockRequested(ship="c")).then(ShipDocked(ship="c", berth=1))


def test_where_all_berths_are_taken_a_ship_waits() -> None:
    given(harbour, MARGIN, entity="lantern-rock").when(DockRequested(ship="kindness")).then(KINDNESS)


def test_a_berth_that_is_free_goes_to_the_ship_that_waited_longest() -> None:
    lane = given(harbour, MARGIN, KINDNESS, ShipQueued(ship="late", ahead=1), entity="lantern-rock")
    left = lane.when(UndockRequested(ship="margin"))
    left.then(ShipUndocked(ship="margin", berth=1), ShipDocked(ship="kindness", berth=1)).then_state(waiting=("late",))


def test_a_ship_may_leave_the_queue() -> None:
    given(harbour, MARGIN, KINDNESS, entity="lantern-rock").when(UndockRequested(ship="kindness")).then(ShipUndocked(ship="kindness"))


def test_what_cannot_be_is_refused_with_a_reason() -> None:
    given(harbour, entity="nowhere").when(DockRequested(ship="a")).then_types(DockingRefused)
    given(harbour, entity="meridian").when(DockRequested(ship="no name")).then_types(DockingRefused)
    given(harbour, MARGIN, entity="meridian").when(DockRequested(ship="margin")).then_types(DockingRefused)
    given(harbour, entity="meridian").when(UndockRequested(ship="ghost")).then_types(DockingRefused)


def test_the_handler_is_declared_without_content() -> None:
    assert docking.content is None
    assert harbour.name == docking.name
