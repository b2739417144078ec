"""Cargo and customs: each rule, and both together under the clock."""

from schemas.gen.worldbus.time.v1.time_pb2 import ClockStartRequested, RealTimePassed
from worldbus.testing import Rehearsal, given

from spaceport import game
from spaceport.cargo import cargo
from spaceport.gen.spaceport.cargo.v1.cargo_pb2 import (
    CargoDeclared,
    CargoLost,
    CargoRefused,
    CargoUnloaded,
    HoldClosed,
    HoldOpened,
    UnloadRequested,
)
from spaceport.gen.spaceport.customs.v1.customs_pb2 import CargoSeized, InspectionBegan
from spaceport.gen.spaceport.docking.v1.docking_pb2 import DockRequested, ShipDocked, ShipUndocked


def test_a_hold_is_open_while_the_ship_lies_at_a_station() -> None:
    lane = given(cargo, entity="margin").when(ShipDocked(ship="margin", berth=1), entity="meridian", subsystem="docking")
    lane = lane.then(HoldOpened(station="meridian")).when(ShipUndocked(ship="margin", berth=1), entity="meridian", subsystem="docking")
    lane.then(HoldClosed()).when(UnloadRequested(good="ore", tonnes=1)).then_types(CargoRefused)


def test_another_ship_changes_nothing() -> None:
    given(cargo, entity="margin").when(ShipDocked(ship="kindness"), entity="meridian", subsystem="docking").then_nothing()


def test_too_much_is_refused() -> None:
    given(cargo, HoldOpened(station="meridian")).when(UnloadRequested(good="ore", tonnes=10_001)).then_types(CargoRefused)


def test_a_declaration_that_nobody_made_is_not_cleared() -> None:
    given(cargo).when(CargoSeized(declaration=7), subsystem="customs").then_nothing()


def port() -> Rehearsal:
    """All of it on a log in memory, with a ship at the ring."""
    port = Rehearsal(*(game.handler(name) for name in ("time", "docking", "cargo", "customs")))
    port.say(ClockStartRequested(scale=60_000), entity="clock")
    port.say(DockRequested(ship="margin"), entity="meridian")
    return port


def test_ore_pays_by_the_tonne_and_waits_for_nobody() -> None:
    here = port()
    here.say(UnloadRequested(good="ore", tonnes=4), entity="margin")

    assert here.said(CargoUnloaded) == (CargoUnloaded(declaration=1, duty_minor=1400),)


def test_seed_is_inspected_first() -> None:
    here = port()
    here.say(UnloadRequested(good="seedstock", tonnes=2), entity="margin")
    here.say(RealTimePassed(real_ms=39_000), entity="clock")
    assert here.said(InspectionBegan)
    assert not here.said(CargoUnloaded)

    here.say(RealTimePassed(real_ms=1_000), entity="clock")
    assert here.said(CargoUnloaded) == (CargoUnloaded(declaration=1, duty_minor=2400),)


def test_sleepers_are_nobodys_cargo() -> None:
    here = port()
    here.say(UnloadRequested(good="sleepers", tonnes=1), entity="margin")

    assert here.said(CargoDeclared)
    assert here.said(CargoLost) == (CargoLost(declaration=1),)
