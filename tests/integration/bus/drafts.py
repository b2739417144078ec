"""Small events for the tests of the bus."""

from __future__ import annotations

from typing import Any

from bus.event import Draft
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerMoved

WORLD = "testworld"


def moved(number: int = 0, *, entities: int = 5, **fields: Any) -> Draft:
    """A `PlayerMoved` whose zone says its number, about one of several entities."""
    entity = fields.pop("entity", f"p{number % entities}")
    return Draft(data=PlayerMoved(zone=f"zone-{number}", x=float(number)), world=fields.pop("world", WORLD), entity=entity, **fields)
