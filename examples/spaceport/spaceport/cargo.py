"""Cargo: a handler, `cargo`, and the table of manifests.

ShipDocked ──▶ HoldOpened        UnloadRequested ──▶ CargoDeclared ──▶ (customs) ──▶ CargoUnloaded │ CargoLost
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from google.protobuf.message import Message
from worldbus import Change, Event, Handler, Projection, Table, sql_beside

from spaceport.docking import is_ship
from spaceport.gen.spaceport.cargo.v1.cargo_pb2 import (
    CargoDeclared,
    CargoLost,
    CargoRefused,
    CargoUnloaded,
    HoldClosed,
    HoldOpened,
    UnloadRequested,
)
from spaceport.gen.spaceport.customs.v1.customs_pb2 import CargoCleared, CargoSeized
from spaceport.gen.spaceport.docking.v1.docking_pb2 import ShipDocked, ShipUndocked

MOST_TONNES: Final = 10_000
MANIFESTS: Final = Table("manifests", key=("world", "ship", "declaration"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """One ship's hold: the station at which it is open, how often it declared something, and what customs have yet to answer."""

    station: str = ""
    declared: int = 0
    open: tuple[int, ...] = ()


def decide(event: Event, hold: Hold) -> Sequence[Message]:
    """The events that follow from one input."""
    match event.data:
        case ShipDocked():
            return (HoldOpened(station=event.entity),)
        case ShipUndocked():
            return (HoldClosed(),) if hold.station == event.entity else ()
        case UnloadRequested() as it:
            return _unload(event, it, hold)
        case CargoCleared() as it if it.declaration in hold.open and event.subsystem == "customs":
            return (CargoUnloaded(declaration=it.declaration, duty_minor=it.duty_minor),)
        case CargoSeized() as it if it.declaration in hold.open and event.subsystem == "customs":
            return (CargoLost(declaration=it.declaration),)
        case _:
            return ()


def _unload(event: Event, it: UnloadRequested, hold: Hold) -> Sequence[Message]:
    if not hold.station:
        return (
            CargoRefused(request=event.name, code="NOT_DOCKED", reason=f"{event.entity} lies at no station: publish DockRequested first"),
        )
    if not 1 <= it.tonnes <= MOST_TONNES or not it.good:
        reason = f"wanted a good and 1 to {MOST_TONNES} tonnes of it, found {it.tonnes} of {it.good[:64]!r}"
        return (CargoRefused(request=event.name, code="BAD_AMOUNT", reason=reason),)
    return (CargoDeclared(declaration=hold.declared + 1, station=hold.station, good=it.good, tonnes=it.tonnes),)


def evolve(hold: Hold, event: Event) -> Hold:
    """The hold after the handler emitted `event`."""
    match event.data:
        case HoldOpened(station=station):
            return replace(hold, station=station)
        case HoldClosed():
            return replace(hold, station="")
        case CargoDeclared(declaration=number):
            return replace(hold, declared=number, open=(*hold.open, number))
        case CargoUnloaded(declaration=number) | CargoLost(declaration=number):
            return replace(hold, open=tuple(one for one in hold.open if one != number))
        case _:
            return hold


def entities(event: Event) -> Sequence[str]:
    """The ships that an event concerns: of docking's events the ship that they name, of all others the ship in the subject."""
    match event.data:
        case ShipDocked(ship=ship) | ShipUndocked(ship=ship):
            return (ship,) if event.subsystem == "docking" and is_ship(ship) else ()
        case _:
            return (event.entity,)


cargo: Final = Handler(
    name="cargo",
    listens_to=(ShipDocked, ShipUndocked, UnloadRequested, CargoCleared, CargoSeized),
    emits=(HoldOpened, HoldClosed, CargoDeclared, CargoUnloaded, CargoLost, CargoRefused),
    initial=lambda entity: Hold(),
    decide=decide,
    evolve=evolve,
    entities=entities,
)


def declared(event: Event, it: CargoDeclared) -> Change:
    """Goods wait for customs."""
    return MANIFESTS.put(event.world, event.entity, it.declaration, station=it.station, good=it.good, tonnes=it.tonnes, state="declared")


def unloaded(event: Event, it: CargoUnloaded) -> Change:
    """Goods are on the station."""
    return MANIFESTS.put(event.world, event.entity, it.declaration, state="unloaded", duty_minor=it.duty_minor)


def lost(event: Event, it: CargoLost) -> Change:
    """Goods are gone."""
    return MANIFESTS.put(event.world, event.entity, it.declaration, state="seized")


manifests: Final = Projection(
    name="manifests",
    version=1,
    said_by="cargo",
    schema=sql_beside(__file__),
    tables=(MANIFESTS,),
    on={CargoDeclared: declared, CargoUnloaded: unloaded, CargoLost: lost},
)
