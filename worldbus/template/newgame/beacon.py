"""Beacons: a handler, `beacon`, and the table of what it says, `beacons`.

    BeaconLightRequested ──▶ BeaconLit, WakeRequested ──▶ WakeFired ──▶ BeaconWentDark

Pure functions over frozen values: no clock, no dice, no I/O. Time comes as an event (`WakeFired`), and a beacon's state is the fold of what
the handler itself emitted. The table's columns are in `beacon.sql`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import Message
from schemas.gen.worldbus.time.v1.time_pb2 import WakeFired, WakeRequested
from worldbus import Change, Event, Handler, Projection, Table, sql_beside

from newgame.gen.newgame.beacon.v1.beacon_pb2 import BeaconLightRequested, BeaconLit, BeaconRefused, BeaconWentDark

MINUTE_MS: Final = 60_000
MOST_MINUTES: Final = 1440
BEACONS: Final = Table("beacons", key=("world", "beacon"), adds=("times_lit",))


@dataclass(frozen=True, slots=True, kw_only=True)
class Beacon:
    """One beacon."""

    burning: bool = False


def decide(event: Event, beacon: Beacon) -> Sequence[Message]:
    """The events that follow from one input."""
    match event.data:
        case BeaconLightRequested() as it:
            return _light(event, it, beacon)
        case WakeFired(name="dark"):
            return (BeaconWentDark(),) if beacon.burning else ()
        case _:
            return ()


def _light(event: Event, it: BeaconLightRequested, beacon: Beacon) -> Sequence[Message]:
    if not 1 <= it.oil_minutes <= MOST_MINUTES:
        reason = f"oil_minutes must be 1 to {MOST_MINUTES}, found {it.oil_minutes}"
        return (BeaconRefused(request=event.name, code="BAD_OIL", reason=reason),)
    if beacon.burning:
        return ()
    return (
        BeaconLit(oil_minutes=it.oil_minutes, keeper=it.keeper),
        WakeRequested(name="dark", in_world_ms=it.oil_minutes * MINUTE_MS),
    )


def evolve(beacon: Beacon, event: Event) -> Beacon:
    """The beacon after the handler emitted `event`."""
    match event.data:
        case BeaconLit():
            return Beacon(burning=True)
        case BeaconWentDark():
            return Beacon()
        case _:
            return beacon


def entities(event: Event) -> Sequence[str]:
    """A timer concerns the beacon that asked for it, everything else the beacon in the event's subject."""
    match event.data:
        case WakeFired(subsystem=subsystem, entity=entity):
            return (entity,) if subsystem == "beacon" and event.subsystem == "time" else ()
        case _:
            return (event.entity,)


beacon: Final = Handler(
    name="beacon",
    listens_to=(BeaconLightRequested, WakeFired),
    emits=(BeaconLit, BeaconWentDark, BeaconRefused, WakeRequested),
    initial=lambda entity: Beacon(),
    decide=decide,
    evolve=evolve,
    entities=entities,
)


def lit(event: Event, it: BeaconLit) -> Change:
    """A beacon burns."""
    return BEACONS.put(event.world, event.entity, burning=True, keeper=it.keeper, times_lit=1, changed_at=event.time_ns)


def went_dark(event: Event, it: BeaconWentDark) -> Change:
    """A beacon is dark."""
    return BEACONS.put(event.world, event.entity, burning=False, changed_at=event.time_ns)


beacons: Final = Projection(
    name="beacons",
    version=1,
    said_by="beacon",
    schema=sql_beside(__file__),
    tables=(BEACONS,),
    on={BeaconLit: lit, BeaconWentDark: went_dark},
)
