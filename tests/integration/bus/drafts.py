"""Small events for the tests of the bus."""

from __future__ import annotations

from typing import Any

from bus.event import Draft
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerMoved

WORLD = "testworld"


def moved(number: int = 0, *, entities: int = 5, size: int = 0, **fields: Any) -> Draft:
    """A `PlayerMoved` whose zone says its number (in at least `size` letters), about one of several entities."""
    entity = fields.pop("entity", f"p{number % entities}")
    data = PlayerMoved(zone=f"zone-{number}".ljust(size, "."), x=float(number))
    return Draft(data=data, world=fields.pop("world", WORLD), entity=entity, **fields)
