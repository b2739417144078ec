"""Coming and going of an owner's things: by requests, by finds and gifts, and by what other subsystems have decided."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

from google.protobuf.message import Message

from bus.event import Event
from handlers.book import find
from handlers.inventory.reserve import release, reserve
from handlers.inventory.state import Inventory, Piece, name_of, thing_of
from handlers.inventory.stock import Problem, bad_pieces, chosen, not_free, the_thing
from handlers.names import NAME_RULE, is_token
from handlers.payment.tables import is_sku
from schemas.gen.worldbus.broker.v1.broker_pb2 import BargainStruck, GoodAcquired, GoodDiscarded, GoodSpoiled, RaidSuffered
from schemas.gen.worldbus.game.v1.game_pb2 import GiftGiven, ItemCollected
from schemas.gen.worldbus.inventory.v1.inventory_pb2 import (
    ItemGiven,
    ItemGranted,
    ItemGrantRequested,
    ItemRefused,
    ItemReleaseRequested,
    ItemRemoved,
    ItemRequestRepeated,
    ItemReserveRequested,
    ItemUsed,
    ItemUseRequested,
)
from schemas.gen.worldbus.narrative.v1.narrative_pb2 import SceneRewarded
from schemas.gen.worldbus.npc.v1.npc_pb2 import NpcActed
from schemas.gen.worldbus.payment.v1.payment_pb2 import PurchaseCompleted, RefundCompleted
from schemas.gen.worldbus.quest.v1.quest_pb2 import QuestRewarded
from schemas.gen.worldbus.trade.v1.trade_pb2 import TradeSettled
from schemas.gen.worldbus.trade.v1.types_pb2 import TradeSide

MAX_KINDS: Final = 512  # of items that are merely found
MAX_STACK: Final = 10**15
MAX_REQUEST_ID: Final = 128  # characters
MAX_REASON: Final = 256
MAX_NAME: Final = 64
MAX_VALUE: Final = 10**12  # minor units

Said = Sequence[Message]
Gone = tuple[Piece, str]  # what, and what it belongs to
NOTHING: Final[Mapping[str, int]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The tables of a world: who can be given something, and by which deeds these give."""

    characters: frozenset[str]
    giving: frozenset[str]


def decide(rules: Rules, event: Event, inventory: Inventory) -> Said:
    """The pieces that an event brings or takes."""
    match event.data:
        case ItemUseRequested() | ItemGrantRequested() as it:
            return _once(event, it, inventory)
        case ItemCollected() as it:
            return _found(event, it, inventory)
        case GiftGiven() as it:
            return _give(rules, event, it, inventory)
        case NpcActed() as it:
            return _hand_over(event, it, inventory)
        case ItemReserveRequested() as it:
            return reserve(event, it, inventory)
        case ItemReleaseRequested() as it:
            return release(event, it, inventory)
        case it:
            return _consequence(event, it, inventory)


def _consequence(event: Event, it: Any, inventory: Inventory) -> Said:
    """The consequence of another subsystem's decision: it is not refused."""
    match it:
        case ItemGiven():
            return _granted(inventory, [Piece(it.sku, 1, it.thing)], "given", event.entity)
        case TradeSettled():
            return _traded(event, it, inventory)
        case PurchaseCompleted():
            return _granted(inventory, (Piece(item.sku, item.quantity) for item in it.items), "purchase", it.request_id)
        case QuestRewarded():
            return _granted(inventory, (Piece(item.sku, item.quantity) for item in it.items), "reward", it.quest)
        case SceneRewarded():
            return _granted(inventory, (Piece(item.sku, item.quantity) for item in it.items), "reward", it.scene)
        case GoodAcquired():
            return _granted(inventory, [Piece(it.kind, 1, thing_of(event.entity, it.good))], "acquired", it.good)
        case RefundCompleted():
            return _removed(inventory, [(piece, it.purchase_id) for piece in _bought(it, inventory)], "refund", "payment")
        case BargainStruck():
            return _removed(inventory, [_good(event, it)], "sold", "broker")
        case GoodSpoiled():
            return _removed(inventory, [_good(event, it)], "spoiled", "broker")
        case GoodDiscarded():
            return _removed(inventory, [_good(event, it)], "discarded", "broker")
        case RaidSuffered():
            return _removed(inventory, [_good(event, lost) for lost in it.goods], "confiscated", "broker")
        case _:
            return ()


def _good(event: Event, it: Any) -> Gone:
    return Piece(it.kind, 1, it.thing or thing_of(event.entity, it.good)), it.good


def _bought(it: RefundCompleted, inventory: Inventory) -> Iterable[Piece]:
    """The pieces that were put aside for a refund, things among them; where a world pays without that, so many of the kinds."""
    aside = inventory.reserves.get(name_of("payment", it.purchase_id))
    return aside.items if aside and it.items else [Piece(item.sku, item.quantity) for item in it.items]


def _traded(event: Event, it: TradeSettled, inventory: Inventory) -> Said:
    """A trade is settled: what this side gave goes, what the other side gave comes."""
    own = [side for side in it.sides if side.player == inventory.owner]
    others = [side for side in it.sides if side.player != inventory.owner]
    gone = _removed(inventory, [(piece, event.entity) for piece in _of(own)], "traded", "trade", others[0].player if others else "")
    left = {one.sku: one.now for one in gone}
    return *gone, *_granted(inventory, _of(others), "traded", event.entity, left)


def _of(sides: Iterable[TradeSide]) -> list[Piece]:
    return [Piece(one.sku, one.quantity, one.thing) for side in sides for one in side.gives]


def _granted(inventory: Inventory, pieces: Iterable[Piece], reason: str, reference: str, left: Mapping[str, int] = NOTHING) -> Said:
    """Add to what is there; of kinds that the same decision took from, to what it `left`."""
    there = dict(left)
    said: list[Message] = []
    for sku, quantity, thing in pieces:
        if is_sku(sku) and 0 < quantity <= MAX_STACK:
            there[sku] = min(MAX_STACK, there.get(sku, inventory.items.get(sku, 0)) + quantity)
            said.append(ItemGranted(sku=sku, quantity=quantity, now=there[sku], reason=reason, reference=reference, thing=thing))
    return said


def _removed(inventory: Inventory, pieces: Iterable[Gone], reason: str, holder: str = "", to: str = "") -> Sequence[ItemRemoved]:
    """Take what is aside for `holder`, then what is free; what is aside for another is that one's."""
    there: dict[str, int] = {}
    taken: set[str] = set()
    said: list[ItemRemoved] = []
    for (sku, wanted, thing), reference in pieces:
        held = there.get(sku, inventory.items.get(sku, 0))
        gone = _takable(inventory, sku, wanted, thing if thing not in taken else "?", name_of(holder, reference))
        gone = min(gone, held)
        taken.add(thing or "?")
        there[sku] = held - gone
        left, missing = held - gone, wanted - gone
        said.append(ItemRemoved(sku=sku, quantity=gone, now=left, reason=reason, reference=reference, missing=missing, thing=thing, to=to))
    return said


def _takable(inventory: Inventory, sku: str, wanted: int, thing: str, name: str) -> int:
    own = inventory.reserves.get(name)
    aside = own.items if own else ()
    if thing:
        return int(thing in inventory.things and (not inventory.is_aside(thing) or any(piece.thing == thing for piece in aside)))
    return min(wanted, sum(piece.quantity for piece in aside if piece.sku == sku and not piece.thing) + inventory.free(sku))


def _found(event: Event, it: ItemCollected, inventory: Inventory) -> Said:
    quantity = it.quantity or 1
    problem = bad_pieces(it.item, quantity) or _no_room(it.item, inventory)
    if problem:
        return _refused(event, it.item, problem)
    return _granted(inventory, [Piece(it.item, quantity)], "collected", it.place[:MAX_NAME])


def _give(rules: Rules, event: Event, it: GiftGiven, inventory: Inventory) -> Said:
    """A gift is taken from the giver, or refused; whoever cares hears of it by `ItemGiven` alone."""
    if it.npc not in rules.characters:
        return _refused(event, it.item, Problem("UNKNOWN_NPC", f"wanted a character of this world, found {ascii(it.npc)[:80]}"))
    found = _one(inventory, it.item)
    if isinstance(found, Problem):
        return _refused(event, it.item, found)
    return (_given(inventory, found, it.npc, it.value_minor),)


def _one(inventory: Inventory, item: str) -> Piece | Problem:
    """One free piece: the thing of that id, or any of that kind."""
    if "/" in item:
        return the_thing(inventory, "", item)
    return bad_pieces(item, 1) or not_free(inventory, item, 1) or chosen(inventory, item, 1)[0]


def _given(inventory: Inventory, piece: Piece, to: str, value: int) -> ItemGiven:
    now = inventory.items[piece.sku] - 1
    return ItemGiven(to=to, sku=piece.sku, thing=piece.thing, value_minor=min(max(value, 0), MAX_VALUE), now=now)


def _hand_over(event: Event, it: NpcActed, inventory: Inventory) -> Said:
    """A character gives a player something of its own, the kind it has had longest; who has nothing gives nothing."""
    sku = next((sku for sku in inventory.items if inventory.free(sku) > 0), "")
    if not sku or not is_token(it.target):
        return _refused(event, "", Problem("NOTHING_TO_GIVE", f"{event.entity} has nothing to give to {ascii(it.target)[:80]}"))
    return (_given(inventory, chosen(inventory, sku, 1)[0], it.target, 0),)


def _once(event: Event, it: ItemUseRequested | ItemGrantRequested, inventory: Inventory) -> Said:
    """A request has one answer, for ever; unless its id is not valid, or nobody may ask for it."""
    request = it.request_id or event.id
    if len(request) > MAX_REQUEST_ID:
        reason = f"request_id may have {MAX_REQUEST_ID} characters, found {len(request)}"
        return _refused(event, it.sku, Problem("BAD_REQUEST_ID", reason), request)
    digest = blake2b(event.name.encode() + b"\n" + it.SerializeToString(deterministic=True), digest_size=8).hexdigest()
    known = find(inventory.requests, request)
    if known is None:
        return _use(event, it, inventory, request, digest) if isinstance(it, ItemUseRequested) else _grant(event, it, inventory, digest)
    if known.digest == digest:
        return (ItemRequestRepeated(request_id=request, request=event.name, code=known.code, request_event_id=event.id),)
    conflict = f"request_id {ascii(request)[:80]} was used for another request of {event.entity}: give this one an id of its own"
    return _refused(event, it.sku, Problem("IDEMPOTENCY_CONFLICT", conflict), request)


def _use(event: Event, it: ItemUseRequested, inventory: Inventory, request: str, digest: str) -> Said:
    quantity = it.quantity or 1
    problem = bad_pieces(it.sku, quantity) or _bad_target(it.target) or not_free(inventory, it.sku, quantity)
    if problem:
        return _refused(event, it.sku, problem, request, digest)
    things = [piece.thing for piece in chosen(inventory, it.sku, quantity) if piece.thing]
    now = inventory.items[it.sku] - quantity
    return (ItemUsed(request_id=request, sku=it.sku, quantity=quantity, now=now, target=it.target, request_digest=digest, things=things),)


def _grant(event: Event, it: ItemGrantRequested, inventory: Inventory, digest: str) -> Said:
    request = it.request_id or event.id
    problem = bad_pieces(it.sku, it.quantity) or _no_room(it.sku, inventory)
    if problem is None and len(it.reason) > MAX_REASON:
        problem = Problem("TOO_LONG", f"reason may have {MAX_REASON} characters, found {len(it.reason)}")
    if problem:
        return _refused(event, it.sku, problem, request, digest)
    now = min(MAX_STACK, inventory.items.get(it.sku, 0) + it.quantity)
    return (ItemGranted(sku=it.sku, quantity=it.quantity, now=now, reason="granted", reference=request, request_digest=digest),)


def _bad_target(target: str) -> Problem | None:
    if not target or is_token(target):
        return None
    return Problem("BAD_TARGET", f"target must be {NAME_RULE}, found {ascii(target)[:80]}")


def _no_room(sku: str, inventory: Inventory) -> Problem | None:
    if sku in inventory.items or len(inventory.items) < MAX_KINDS:
        return None
    return Problem("INVENTORY_FULL", f"{MAX_KINDS} kinds of items are known already: no room for one more")


def _refused(event: Event, sku: str, problem: Problem, request: str = "", digest: str = "") -> Said:
    return (
        ItemRefused(
            request=event.name,
            request_event_id=event.id,
            sku=sku[:MAX_NAME],
            code=problem.code,
            reason=problem.reason,
            request_id=request[:MAX_REQUEST_ID],
            request_digest=digest,
        ),
    )
