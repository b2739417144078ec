"""Choosing pieces: which of an owner's pieces a request takes, and why it may take none."""

from __future__ import annotations

from typing import Final, NamedTuple

from handlers.inventory.state import Inventory, Piece
from handlers.payment.tables import SKU_RULE, is_sku

MAX_QUANTITY: Final = 1_000_000  # in one request or find
MAX_THING: Final = 160  # characters


class Problem(NamedTuple):
    """The reason for a refusal."""

    code: str
    reason: str


def bad_pieces(sku: str, quantity: int) -> Problem | None:
    """The problem with a kind, or with a number of pieces."""
    if not is_sku(sku):
        return Problem("BAD_SKU", f"an item must be {SKU_RULE}, found {ascii(sku)[:80]}")
    if not 1 <= quantity <= MAX_QUANTITY:
        return Problem("BAD_QUANTITY", f"quantity must be 1 to {MAX_QUANTITY}, found {quantity}")
    return None


def not_free(inventory: Inventory, sku: str, quantity: int) -> Problem | None:
    """The problem with so many pieces, unless the owner can dispose of them."""
    held, free = inventory.items.get(sku, 0), inventory.free(sku)
    if quantity <= free:
        return None
    if quantity <= held:
        return Problem(
            "RESERVED", f"wanted {quantity} of {sku}, found {free} free and {held - free} aside: end the offer or the trade first"
        )
    return Problem("NOT_ENOUGH", f"wanted {quantity} of {sku}, found {free}: get more first")


def chosen(inventory: Inventory, sku: str, quantity: int) -> tuple[Piece, ...]:
    """Choose so many free pieces of a kind: plain ones first, then the oldest things. The caller knows that they are free."""
    things = [thing for thing, kind in inventory.things.items() if kind == sku]
    of_things = [thing for thing in things if not inventory.is_aside(thing)]
    plain = min(quantity, inventory.free(sku) - len(of_things))
    unique = tuple(Piece(sku, 1, thing) for thing in of_things[: quantity - plain])
    return (Piece(sku, plain), *unique) if plain else unique


def the_thing(inventory: Inventory, sku: str, thing: str) -> Piece | Problem:
    """One unique thing, if it is the owner's and free."""
    kind = inventory.things.get(thing)
    if kind is None or (sku and sku != kind):
        return Problem("NO_SUCH_THING", f"wanted a thing of this owner, found {ascii(thing)[:MAX_THING]}: look what is there")
    if inventory.is_aside(thing):
        return Problem("RESERVED", f"{thing} is aside for an offer, a refund or a trade: end that first")
    return Piece(kind, 1, thing)
