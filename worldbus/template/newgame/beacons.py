"""Beacons as a table: which burn, who lit them, and how often they were lit."""

from __future__ import annotations

from typing import Final

from bus.event import Event
from projections.projection import Change, Projection, Table, sql_beside

from newgame.gen.newgame.beacon.v1.beacon_pb2 import BeaconLit, BeaconWentDark

BEACONS: Final = Table("beacons", key=("world", "beacon"), adds=("times_lit",))


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
