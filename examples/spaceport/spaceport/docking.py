"""Docking: a handler, `docking`, and the table of berths.

DockRequested ──▶ ShipDocked │ ShipQueued │ DockingRefused        UndockRequested ──▶ ShipUndocked, ShipDocked (the next one)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from google.protobuf.message import Message
from worldbus import ByWorld, Change, Event, Handler, Projection, Table, sql_beside

from spaceport.gen.spaceport.docking.v1.docking_pb2 import (
    DockingRefused,
    DockRequested,
    ShipDocked,
    ShipQueued,
    ShipUndocked,
    UndockRequested,
)
from spaceport.stations import Port, Stations

MOST_WAITING: Final = 100
SHIP: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
BERTHS: Final = Table("berths", key=("world", "station", "ship"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Station:
    """One station: (ship, berth) of those that lie there, and the ships that wait, the first one first."""

    docked: tuple[tuple[str, int], ...] = ()
    waiting: tuple[str, ...] = ()

    def berth(self, ship: str) -> int:
        """The berth of a ship, 0 if it has none."""
        return dict(self.docked).get(ship, 0)

    def free(self, berths: int) -> int:
        """The lowest free berth of so many, 0 if there is none."""
        taken = {berth for _, berth in self.docked}
        return next((berth for berth in range(1, berths + 1) if berth not in taken), 0)


def is_ship(name: str) -> bool:
    """True for what a ship can be called: it is the entity of what is said about its cargo."""
    return SHIP.fullmatch(name) is not None


def decide(stations: Stations, event: Event, station: Station) -> Sequence[Message]:
    """The events that follow from one input."""
    match event.data:
        case DockRequested(ship=ship):
            return _dock(stations, event, ship, station)
        case UndockRequested(ship=ship):
            return _undock(event, ship, station)
        case _:
            return ()


def _dock(stations: Stations, event: Event, ship: str, station: Station) -> Sequence[Message]:
    if event.entity not in stations.berths:
        known = ", ".join(sorted(stations.berths))
        return _refused(event, ship, "NO_SUCH_STATION", f"wanted one of the stations {known}, found {event.entity}")
    if not is_ship(ship):
        return _refused(event, ship, "BAD_SHIP", "a ship's name must be 1 to 64 of A-Z a-z 0-9 _ -")
    if station.berth(ship) or ship in station.waiting:
        return _refused(event, ship, "HERE_ALREADY", f"{ship} is at {event.entity} already")
    if berth := station.free(stations.berths[event.entity]):
        return (ShipDocked(ship=ship, berth=berth),)
    if len(station.waiting) == MOST_WAITING:
        return _refused(event, ship, "QUEUE_FULL", f"{MOST_WAITING} ships wait at {event.entity} already: try another station")
    return (ShipQueued(ship=ship, ahead=len(station.waiting)),)


def _undock(event: Event, ship: str, station: Station) -> Sequence[Message]:
    if ship in station.waiting:
        return (ShipUndocked(ship=ship),)
    berth = station.berth(ship)
    if not berth:
        return _refused(event, ship, "NOT_HERE", f"no such ship is at {event.entity}: publish DockRequested first")
    following = (ShipDocked(ship=station.waiting[0], berth=berth),) if station.waiting else ()
    return (ShipUndocked(ship=ship, berth=berth), *following)


def _refused(event: Event, ship: str, code: str, reason: str) -> Sequence[Message]:
    return (DockingRefused(ship=ship[:64], request=event.name, code=code, reason=reason),)


def evolve(station: Station, event: Event) -> Station:
    """The station after the handler emitted `event`."""
    match event.data:
        case ShipDocked(ship=ship, berth=berth):
            return Station(docked=(*station.docked, (ship, berth)), waiting=_without(ship, station))
        case ShipQueued(ship=ship):
            return replace(station, waiting=(*station.waiting, ship))
        case ShipUndocked(ship=ship):
            return Station(docked=tuple(one for one in station.docked if one[0] != ship), waiting=_without(ship, station))
        case _:
            return station


def _without(ship: str, station: Station) -> tuple[str, ...]:
    return tuple(one for one in station.waiting if one != ship)


docking: Final[ByWorld[Port]] = ByWorld(
    name="docking",
    listens_to=(DockRequested, UndockRequested),
    emits=(ShipDocked, ShipQueued, ShipUndocked, DockingRefused),
    make=lambda content: harbour_master(content.stations),
    home=True,
)


def harbour_master(stations: Stations) -> Handler[Station]:
    """The handler under these stations."""
    return docking.with_rules(initial=lambda entity: Station(), decide=partial(decide, stations), evolve=evolve)


def docked(event: Event, it: ShipDocked) -> Change:
    """A ship lies at a berth."""
    return BERTHS.put(event.world, event.entity, it.ship, berth=it.berth, since=event.time_ns)


def queued(event: Event, it: ShipQueued) -> Change:
    """A ship waits."""
    return BERTHS.put(event.world, event.entity, it.ship, berth=None, since=event.time_ns)


def undocked(event: Event, it: ShipUndocked) -> Change:
    """A ship is gone."""
    return BERTHS.drop(event.world, event.entity, it.ship)


berths: Final = Projection(
    name="berths",
    version=1,
    said_by="docking",
    schema=sql_beside(__file__),
    tables=(BERTHS,),
    on={ShipDocked: docked, ShipQueued: queued, ShipUndocked: undocked},
)
