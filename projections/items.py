"""Items of players as tables: the stacks now, and each coming and going."""

from __future__ import annotations

from bus.event import Event
from projections.projection import Change, Projection, Table, sql_beside
from schemas.gen.worldbus.inventory.v1 import inventory_pb2 as said

ITEMS = Table("items", key=("world", "player", "sku"), adds=("came", "went"))
MOVES = Table("item_moves", key=("world", "position"))


def _moved(event: Event, sku: str, by: int, now: int, reason: str, reference: str) -> list[Change]:
    stack = ITEMS.put(event.world, event.entity, sku, quantity=now, came=max(0, by), went=max(0, -by))
    move = MOVES.put(
        *(event.world, event.position),
        player=event.entity, sku=sku, quantity=by, reason=reason, reference=reference, moved_at=event.time_ns,
    )  # fmt: skip
    return [stack, move]


def granted(event: Event, it: said.ItemGranted) -> list[Change]:
    return _moved(event, it.sku, it.quantity, it.now, it.reason, it.reference)


def removed(event: Event, it: said.ItemRemoved) -> list[Change]:
    return _moved(event, it.sku, -it.quantity, it.now, it.reason, it.reference)


def given(event: Event, it: said.ItemGiven) -> list[Change]:
    return _moved(event, it.sku, -1, it.now, "given", it.to)


def used(event: Event, it: said.ItemUsed) -> list[Change]:
    return _moved(event, it.sku, -it.quantity, it.now, "used", it.target)


items = Projection(
    name="items",
    version=2,
    said_by="inventory",
    schema=sql_beside(__file__),
    tables=(ITEMS, MOVES),
    on={said.ItemGranted: granted, said.ItemRemoved: removed, said.ItemUsed: used, said.ItemGiven: given},
)
