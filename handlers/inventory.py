"""What players carry as a handler, `inventory`: stacks of items by kind.

    PurchaseCompleted, QuestRewarded, SceneRewarded, GoodAcquired, ItemCollected, ItemGrantRequested ──▶ ItemGranted
    RefundCompleted, BargainStruck, GoodSpoiled, GoodDiscarded, RaidSuffered, GiftGiven ──▶ ItemRemoved
    ItemUseRequested ──▶ ItemUsed │ ItemRefused

A stack is never below zero. What was paid for or earned always fits; what is merely found has to find room. A refund takes back what is
still there and says what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from google.protobuf.message import Message

from bus.event import Event
from bus.handler import Handler
from handlers.answering import answering
from handlers.book import Book, blank, find, put
from handlers.names import NAME_RULE, is_token
from handlers.payment.tables import SKU_RULE, is_sku
from schemas.gen.worldbus.broker.v1.broker_pb2 import BargainStruck, GoodAcquired, GoodDiscarded, GoodSpoiled, RaidSuffered
from schemas.gen.worldbus.game.v1.game_pb2 import GiftGiven, ItemCollected
from schemas.gen.worldbus.inventory.v1.inventory_pb2 import (
    ItemGranted,
    ItemGrantRequested,
    ItemRefused,
    ItemRemoved,
    ItemRequestRepeated,
    ItemUsed,
    ItemUseRequested,
)
from schemas.gen.worldbus.narrative.v1.narrative_pb2 import SceneRewarded
from schemas.gen.worldbus.payment.v1.payment_pb2 import PurchaseCompleted, RefundCompleted
from schemas.gen.worldbus.quest.v1.quest_pb2 import QuestRewarded

MAX_KINDS: Final = 512  # of items that are merely found
MAX_QUANTITY: Final = 1_000_000  # in one request or find
MAX_STACK: Final = 10**15
MAX_REQUEST_ID: Final = 128  # characters
MAX_REASON: Final = 256
MAX_NAME: Final = 64

Said = Sequence[Message]
Pieces = tuple[str, int]  # sku, how many


class Answered(NamedTuple):
    """A request that was answered: the digest of its bytes, and the code of the refusal (empty if it was done)."""

    digest: str
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What one player carries, by kind; a kind that is used up stays with 0."""

    items: Mapping[str, int] = field(default_factory=dict)
    requests: Book[Answered] = field(default_factory=blank)


def decide(event: Event, inventory: Inventory) -> Said:
    """What an event brings or takes."""
    match event.data:
        case ItemUseRequested() | ItemGrantRequested() as it:
            return _once(event, it, inventory)
        case ItemCollected() as it:
            return _found(event, it, inventory)
        case GiftGiven() as it:
            return _given(event, it, inventory)
        case it:
            return _consequence(it, inventory)


def _consequence(it: Any, inventory: Inventory) -> Said:
    """What follows from what another subsystem has decided: it is not refused."""
    match it:
        case PurchaseCompleted():
            return _granted(inventory, ((item.sku, item.quantity) for item in it.items), "purchase", it.request_id)
        case QuestRewarded():
            return _granted(inventory, ((item.sku, item.quantity) for item in it.items), "reward", it.quest)
        case SceneRewarded():
            return _granted(inventory, ((item.sku, item.quantity) for item in it.items), "reward", it.scene)
        case GoodAcquired():
            return _granted(inventory, [(it.kind, 1)], "acquired", it.good)
        case RefundCompleted():
            return _removed(inventory, [(item.sku, item.quantity, it.purchase_id) for item in it.items], "refund")
        case BargainStruck():
            return _removed(inventory, [(it.kind, 1, it.good)], "sold")
        case GoodSpoiled():
            return _removed(inventory, [(it.kind, 1, it.good)], "spoiled")
        case GoodDiscarded():
            return _removed(inventory, [(it.kind, 1, it.good)], "discarded")
        case RaidSuffered():
            return _removed(inventory, [(lost.kind, 1, lost.good) for lost in it.goods], "confiscated")
        case _:
            return ()


def _granted(inventory: Inventory, pieces: Iterable[Pieces], reason: str, reference: str) -> Said:
    there: dict[str, int] = {}
    said: list[Message] = []
    for sku, quantity in pieces:
        if is_sku(sku) and 0 < quantity <= MAX_STACK:
            there[sku] = min(MAX_STACK, there.get(sku, inventory.items.get(sku, 0)) + quantity)
            said.append(ItemGranted(sku=sku, quantity=quantity, now=there[sku], reason=reason, reference=reference))
    return said


def _removed(inventory: Inventory, pieces: Iterable[tuple[str, int, str]], reason: str) -> Said:
    there: dict[str, int] = {}
    said: list[Message] = []
    for sku, wanted, reference in pieces:
        held = there.get(sku, inventory.items.get(sku, 0))
        gone = min(held, wanted)
        there[sku] = held - gone
        said.append(ItemRemoved(sku=sku, quantity=gone, now=held - gone, reason=reason, reference=reference, missing=wanted - gone))
    return said


def _found(event: Event, it: ItemCollected, inventory: Inventory) -> Said:
    quantity = it.quantity or 1
    problem = _bad_pieces(it.item, quantity) or _no_room(it.item, inventory)
    return _refused(event, it.item, problem) if problem else _granted(inventory, [(it.item, quantity)], "collected", it.place[:MAX_NAME])


def _given(event: Event, it: GiftGiven, inventory: Inventory) -> Said:
    problem = _bad_pieces(it.item, 1) or _not_enough(it.item, 1, inventory)
    return _refused(event, it.item, problem) if problem else _removed(inventory, [(it.item, 1, it.npc[:MAX_NAME])], "given")


def _once(event: Event, it: ItemUseRequested | ItemGrantRequested, inventory: Inventory) -> Said:
    """A request has one answer, for ever; unless its id is not valid, or nobody may ask for it."""
    request = it.request_id or event.id
    if len(request) > MAX_REQUEST_ID:
        reason = f"request_id may have {MAX_REQUEST_ID} characters, found {len(request)}"
        return _refused(event, it.sku, ("BAD_REQUEST_ID", reason), request)
    digest = blake2b(event.name.encode() + b"\n" + it.SerializeToString(deterministic=True), digest_size=8).hexdigest()
    known = find(inventory.requests, request)
    if known is None:
        return _use(event, it, inventory, request, digest) if isinstance(it, ItemUseRequested) else _grant(event, it, inventory, digest)
    if known.digest == digest:
        return (ItemRequestRepeated(request_id=request, request=event.name, code=known.code, request_event_id=event.id),)
    conflict = f"request_id {ascii(request)[:80]} was used for another request of {event.entity}: give this one an id of its own"
    return _refused(event, it.sku, ("IDEMPOTENCY_CONFLICT", conflict), request)


def _use(event: Event, it: ItemUseRequested, inventory: Inventory, request: str, digest: str) -> Said:
    quantity = it.quantity or 1
    problem = _bad_pieces(it.sku, quantity) or _bad_target(it.target) or _not_enough(it.sku, quantity, inventory)
    if problem:
        return _refused(event, it.sku, problem, request, digest)
    now = inventory.items[it.sku] - quantity
    return (ItemUsed(request_id=request, sku=it.sku, quantity=quantity, now=now, target=it.target, request_digest=digest),)


def _grant(event: Event, it: ItemGrantRequested, inventory: Inventory, digest: str) -> Said:
    request = it.request_id or event.id
    problem = _bad_pieces(it.sku, it.quantity) or _no_room(it.sku, inventory)
    if problem is None and len(it.reason) > MAX_REASON:
        problem = "TOO_LONG", f"reason may have {MAX_REASON} characters, found {len(it.reason)}"
    if problem:
        return _refused(event, it.sku, problem, request, digest)
    now = min(MAX_STACK, inventory.items.get(it.sku, 0) + it.quantity)
    return (ItemGranted(sku=it.sku, quantity=it.quantity, now=now, reason="granted", reference=request, request_digest=digest),)


Problem = tuple[str, str]  # (code, reason)


def _bad_pieces(sku: str, quantity: int) -> Problem | None:
    if not is_sku(sku):
        return "BAD_SKU", f"an item must be {SKU_RULE}, found {ascii(sku)[:80]}"
    if not 1 <= quantity <= MAX_QUANTITY:
        return "BAD_QUANTITY", f"quantity must be 1 to {MAX_QUANTITY}, found {quantity}"
    return None


def _bad_target(target: str) -> Problem | None:
    return None if not target or is_token(target) else ("BAD_TARGET", f"target must be {NAME_RULE}, found {ascii(target)[:80]}")


def _no_room(sku: str, inventory: Inventory) -> Problem | None:
    if sku in inventory.items or len(inventory.items) < MAX_KINDS:
        return None
    return "INVENTORY_FULL", f"{MAX_KINDS} kinds of items are known already: no room for one more"


def _not_enough(sku: str, quantity: int, inventory: Inventory) -> Problem | None:
    held = inventory.items.get(sku, 0)
    return None if quantity <= held else ("NOT_ENOUGH", f"wanted {quantity} of {sku}, found {held}: get more first")


def _refused(event: Event, sku: str, problem: Problem, request: str = "", digest: str = "") -> Said:
    code, reason = problem
    return (
        ItemRefused(
            request=event.name,
            request_event_id=event.id,
            sku=sku[:MAX_NAME],
            code=code,
            reason=reason,
            request_id=request[:MAX_REQUEST_ID],
            request_digest=digest,
        ),
    )


def evolve(inventory: Inventory, event: Event) -> Inventory:
    """What the player carries after the handler said `event`."""
    match event.data:
        case ItemUsed() as it:
            return _answered(_with(inventory, it.sku, it.now), it.request_id, it.request_digest)
        case ItemGranted() as it:
            return _answered(_with(inventory, it.sku, it.now), it.reference, it.request_digest)
        case ItemRemoved() as it:
            return _with(inventory, it.sku, it.now)
        case ItemRefused() as it:
            return _answered(inventory, it.request_id, it.request_digest, it.code)
        case _:
            return inventory


def _with(inventory: Inventory, sku: str, now: int) -> Inventory:
    return replace(inventory, items={**inventory.items, sku: now})


def _answered(inventory: Inventory, request: str, digest: str, code: str = "") -> Inventory:
    return replace(inventory, requests=put(inventory.requests, request, Answered(digest, code))) if digest else inventory


# Whose word counts for what is not a request.
_SPEAKERS: Final[dict[type[Message], str]] = {
    PurchaseCompleted: "payment",
    RefundCompleted: "payment",
    QuestRewarded: "quest",
    SceneRewarded: "narrative",
    GoodAcquired: "broker",
    GoodSpoiled: "broker",
    GoodDiscarded: "broker",
    BargainStruck: "broker",
    RaidSuffered: "broker",
}
_PLAYER: Final[dict[type[Message], Callable[[Any], str]]] = {
    QuestRewarded: lambda it: it.player,
    SceneRewarded: lambda it: it.player,
}


def entities(event: Event) -> Sequence[str]:
    """A reward concerns the player it names, everything else the player it is said about, if whoever may say it said it."""
    kind = type(event.data)
    if event.subsystem != _SPEAKERS.get(kind, event.subsystem):
        return ()
    player = _PLAYER[kind](event.data) if kind in _PLAYER else event.entity
    return (player,) if player else ()


_handler: Final = Handler(
    name="inventory",
    listens_to=(ItemUseRequested, ItemGrantRequested, ItemCollected, GiftGiven, *_SPEAKERS),
    emits=(ItemGranted, ItemRemoved, ItemUsed, ItemRefused, ItemRequestRepeated),
    initial=lambda entity: Inventory(),
    decide=decide,
    evolve=evolve,
    entities=entities,
)
inventory: Final = answering(_handler)
