"""The belongings of one owner, folded from what the handler said about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple, TypeVar

from bus.event import Event
from handlers.book import Book, blank, put
from schemas.gen.worldbus.inventory.v1.inventory_pb2 import (
    ItemGiven,
    ItemGranted,
    ItemRefused,
    ItemRemoved,
    ItemsReleased,
    ItemsReserved,
    ItemUsed,
)

V = TypeVar("V")
OF_GOODS: Final = frozenset({"acquired", "sold", "spoiled", "discarded", "confiscated"})
"""Reasons whose reference is a good: in logs of former releases the thing has no id but that."""


class Answered(NamedTuple):
    """A request that was answered: the digest of its bytes, and the code of the refusal (empty if it was done)."""

    digest: str
    code: str


class Piece(NamedTuple):
    """Some plain pieces of a kind, or one unique thing."""

    sku: str
    quantity: int
    thing: str = ""


class Reserve(NamedTuple):
    """Pieces that are aside for a subsystem."""

    holder_entity: str
    items: tuple[Piece, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """The belongings of one owner. `items` counts all pieces of a kind, unique and reserved ones too; of a used up kind there are 0."""

    owner: str = ""
    items: Mapping[str, int] = field(default_factory=dict)
    requests: Book[Answered] = field(default_factory=blank)
    things: Mapping[str, str] = field(default_factory=dict)  # id → kind, the oldest first
    reserves: Mapping[str, Reserve] = field(default_factory=dict)  # `<holder>/<reference>` → what

    def aside(self, sku: str) -> int:
        """Pieces of a kind that are reserved."""
        return sum(piece.quantity for reserve in self.reserves.values() for piece in reserve.items if piece.sku == sku)

    def free(self, sku: str) -> int:
        """Pieces of a kind that the owner can dispose of."""
        return self.items.get(sku, 0) - self.aside(sku)

    def is_aside(self, thing: str) -> bool:
        """True if a unique thing is reserved."""
        return any(piece.thing == thing for reserve in self.reserves.values() for piece in reserve.items)


def thing_of(owner: str, good: str) -> str:
    """The id of the thing that a good was when it came into the world."""
    return f"{owner}/{good}"


def name_of(holder: str, reference: str) -> str:
    """The name of a reservation in the state."""
    return f"{holder}/{reference}"


def evolve(inventory: Inventory, event: Event) -> Inventory:
    """The belongings after the handler said `event`."""
    match event.data:
        case ItemGranted() as it:
            inventory = _answered(_with(inventory, it.sku, it.now), it.reference, it.request_digest)
            thing = it.thing or (thing_of(event.entity, it.reference) if it.reason in OF_GOODS else "")
            return replace(inventory, things={**inventory.things, thing: it.sku}) if thing else inventory
        case ItemRemoved() as it:
            thing = it.thing or (thing_of(event.entity, it.reference) if it.reason in OF_GOODS else "")
            holder = {"traded": "trade", "refund": "payment"}.get(it.reason, "")
            inventory = _taken(inventory, name_of(holder, it.reference), it.sku, it.quantity, thing)
            return _fitting(_with(_less(inventory, (thing,) if it.quantity else ()), it.sku, it.now), it.sku)
        case ItemGiven() as it:
            return _fitting(_with(_less(inventory, (it.thing,)), it.sku, it.now), it.sku)
        case ItemUsed() as it:
            used = _fitting(_with(_less(inventory, it.things), it.sku, it.now), it.sku)
            return _answered(used, it.request_id, it.request_digest)
        case ItemsReserved() as it:
            aside = Reserve(it.holder_entity, tuple(Piece(one.sku, one.quantity, one.thing) for one in it.items))
            return replace(inventory, reserves={**inventory.reserves, name_of(it.holder, it.reference): aside})
        case ItemsReleased() as it:
            return replace(inventory, reserves=_without(inventory.reserves, (name_of(it.holder, it.reference),)))
        case ItemRefused() as it:
            return _answered(inventory, it.request_id, it.request_digest, it.code)
        case _:
            return inventory


def _with(inventory: Inventory, sku: str, now: int) -> Inventory:
    return replace(inventory, items={**inventory.items, sku: now})


def _less(inventory: Inventory, things: Iterable[str]) -> Inventory:
    gone = [thing for thing in things if thing in inventory.things]
    if not gone:
        return inventory
    reserves = {
        name: reserve._replace(items=kept)
        for name, reserve in inventory.reserves.items()
        if (kept := tuple(piece for piece in reserve.items if piece.thing not in gone)) or not reserve.items
    }
    return replace(inventory, things=_without(inventory.things, gone), reserves=reserves)


def _taken(inventory: Inventory, name: str, sku: str, quantity: int, thing: str) -> Inventory:
    """Plain pieces that leave by way of a reservation are not aside any more."""
    reserve = inventory.reserves.get(name)
    if reserve is None or thing:
        return inventory
    kept = []
    for piece in reserve.items:
        if piece.sku == sku and not piece.thing and quantity:
            gone = min(quantity, piece.quantity)
            quantity, piece = quantity - gone, piece._replace(quantity=piece.quantity - gone)
        if piece.quantity:
            kept.append(piece)
    if not kept:
        return replace(inventory, reserves=_without(inventory.reserves, (name,)))
    return replace(inventory, reserves={**inventory.reserves, name: reserve._replace(items=tuple(kept))})


def _fitting(inventory: Inventory, sku: str) -> Inventory:
    """Keep as many things of a kind as there are pieces: former releases took any of a kind and did not say which."""
    of_kind = [thing for thing, kind in inventory.things.items() if kind == sku]
    extra = len(of_kind) - inventory.items[sku]
    return _less(inventory, of_kind[:extra]) if extra > 0 else inventory


def _answered(inventory: Inventory, request: str, digest: str, code: str = "") -> Inventory:
    return replace(inventory, requests=put(inventory.requests, request, Answered(digest, code))) if digest else inventory


def _without(entries: Mapping[str, V], keys: Iterable[str]) -> Mapping[str, V]:
    gone = frozenset(keys)
    return {name: entry for name, entry in entries.items() if name not in gone}
