"""Customs, `customs`: clears, inspects or keeps what ships declare.

CargoDeclared ──▶ CargoCleared │ CargoSeized │ InspectionBegan, WakeRequested ──▶ WakeFired ──▶ CargoCleared
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from google.protobuf.message import Message
from schemas.gen.worldbus.time.v1.time_pb2 import WakeFired, WakeRequested
from worldbus import ByWorld, Event, Handler

from spaceport.gen.spaceport.cargo.v1.cargo_pb2 import CargoDeclared
from spaceport.gen.spaceport.customs.v1.customs_pb2 import CargoCleared, CargoSeized, InspectionBegan
from spaceport.stations import Port, Stations, Tariff

MINUTE_MS: Final = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """One ship's business: (declaration, good, tonnes) of what is being inspected."""

    inspected: tuple[tuple[int, str, int], ...] = ()


def decide(stations: Stations, event: Event, desk: Desk) -> Sequence[Message]:
    """The events that follow from one input."""
    match event.data:
        case CargoDeclared() as it if event.subsystem == "cargo":
            return _declared(stations, it)
        case WakeFired(name=name):
            return [_cleared(stations, *one) for one in desk.inspected if name == f"inspected-{one[0]}"]
        case _:
            return ()


def _declared(stations: Stations, it: CargoDeclared) -> Sequence[Message]:
    tariff = stations.tariffs.get(it.good, Tariff(inspected=True))
    if tariff.forbidden:
        return (CargoSeized(declaration=it.declaration, reason=f"{it.good} may not enter any station"),)
    if not tariff.inspected:
        return (_cleared(stations, it.declaration, it.good, it.tonnes),)
    minutes = stations.inspection_minutes
    return (
        InspectionBegan(declaration=it.declaration, good=it.good, tonnes=it.tonnes, minutes=minutes),
        WakeRequested(name=f"inspected-{it.declaration}", in_world_ms=minutes * MINUTE_MS),
    )


def _cleared(stations: Stations, declaration: int, good: str, tonnes: int) -> CargoCleared:
    return CargoCleared(declaration=declaration, duty_minor=stations.tariffs.get(good, Tariff()).duty_minor * tonnes)


def evolve(desk: Desk, event: Event) -> Desk:
    """The desk after the handler emitted `event`."""
    match event.data:
        case InspectionBegan() as it:
            return Desk(inspected=(*desk.inspected, (it.declaration, it.good, it.tonnes)))
        case CargoCleared(declaration=declaration):
            return Desk(inspected=tuple(one for one in desk.inspected if one[0] != declaration))
        case _:
            return desk


def entities(event: Event) -> Sequence[str]:
    """A timer concerns the ship that it was asked for, everything else the ship in the event's subject."""
    match event.data:
        case WakeFired(subsystem=subsystem, entity=entity):
            return (entity,) if subsystem == "customs" and event.subsystem == "time" else ()
        case _:
            return (event.entity,)


customs: Final[ByWorld[Port]] = ByWorld(
    name="customs",
    listens_to=(CargoDeclared, WakeFired),
    emits=(InspectionBegan, CargoCleared, CargoSeized, WakeRequested),
    make=lambda content: customs_office(content.stations),
)


def customs_office(stations: Stations) -> Handler[Desk]:
    """The handler under these tariffs."""
    return customs.with_rules(initial=lambda entity: Desk(), decide=partial(decide, stations), evolve=evolve, entities=entities)
