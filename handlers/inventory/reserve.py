"""Reservations: pieces that an owner keeps and cannot dispose of, until whoever asked takes them or gives them back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from google.protobuf.message import Message

from bus.event import Event
from handlers.inventory.state import Inventory, Piece, Reserve, name_of
from handlers.inventory.stock import Problem, bad_pieces, chosen, not_free, the_thing
from schemas.gen.worldbus.inventory.v1.inventory_pb2 import (
    ItemReleaseRequested,
    ItemReserveRefused,
    ItemReserveRequested,
    ItemsReleased,
    ItemsReserved,
)
from schemas.gen.worldbus.inventory.v1.types_pb2 import Pieces

MAX_ITEMS: Final = 16  # in one request
MAX_PIECES: Final = 24  # that a reservation comes to
MAX_REFERENCE: Final = 128  # characters
MAX_RESERVES: Final = 256  # of one owner

Said = Sequence[Message]


def reserve(event: Event, it: ItemReserveRequested, inventory: Inventory) -> Said:
    """Put all of it aside, or nothing."""
    found = _found(event, it, inventory)
    if isinstance(found, Problem):
        refused = ItemReserveRefused(
            reference=it.reference[:MAX_REFERENCE], holder=event.subsystem, holder_entity=event.entity, code=found.code, reason=found.reason
        )
        return (refused,)
    return (
        ItemsReserved(
            reference=it.reference,
            holder=event.subsystem,
            holder_entity=event.entity,
            items=[Pieces(sku=sku, quantity=quantity, thing=thing) for sku, quantity, thing in found],
        ),
    )


def _found(event: Event, it: ItemReserveRequested, inventory: Inventory) -> tuple[Piece, ...] | Problem:
    if not 1 <= len(it.reference) <= MAX_REFERENCE:
        return Problem("BAD_REFERENCE", f"reference needs 1 to {MAX_REFERENCE} characters, found {len(it.reference)}")
    if name_of(event.subsystem, it.reference) in inventory.reserves:
        return Problem("ALREADY_RESERVED", f"{it.reference} of {event.subsystem} is open: release or take it first")
    if len(it.items) > MAX_ITEMS or len(inventory.reserves) >= MAX_RESERVES:
        return Problem(
            "TOO_MANY",
            f"wanted at most {MAX_ITEMS} items and {MAX_RESERVES} reservations, found {len(it.items)}, {len(inventory.reserves)}",
        )
    pieces: list[Piece] = []
    left = inventory
    for one in it.items:
        picked = _picked(one, left)
        if isinstance(picked, Problem):
            return picked
        pieces += picked
        left = replace(inventory, reserves={**inventory.reserves, "": Reserve("", tuple(pieces))})
    if len(pieces) > MAX_PIECES:
        return Problem("TOO_MANY", f"wanted at most {MAX_PIECES} things at once, found {len(pieces)}")
    return tuple(pieces)


def _picked(one: Pieces, left: Inventory) -> tuple[Piece, ...] | Problem:
    if one.thing:
        found = the_thing(left, one.sku, one.thing)
        return (found,) if isinstance(found, Piece) else found
    return bad_pieces(one.sku, one.quantity) or not_free(left, one.sku, one.quantity) or chosen(left, one.sku, one.quantity)


def release(event: Event, it: ItemReleaseRequested, inventory: Inventory) -> Said:
    """Give back what is aside; of what is not there is nothing to say."""
    aside = inventory.reserves.get(name_of(event.subsystem, it.reference))
    if aside is None:
        return ()
    items = [Pieces(sku=sku, quantity=quantity, thing=thing) for sku, quantity, thing in aside.items]
    return (ItemsReleased(reference=it.reference, holder=event.subsystem, items=items),)
