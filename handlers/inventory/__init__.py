"""The belongings of players and characters as a handler, `inventory`: stacks of items by kind, and unique things.

    PurchaseCompleted, QuestRewarded, SceneRewarded, GoodAcquired, ItemCollected, ItemGrantRequested ──▶ ItemGranted
    RefundCompleted, BargainStruck, GoodSpoiled, GoodDiscarded, RaidSuffered ──▶ ItemRemoved
    ItemUseRequested ──▶ ItemUsed │ ItemRefused            GiftGiven, NpcActed (give) ──▶ ItemGiven ──▶ ItemGranted of the new owner
    ItemReserveRequested ──▶ ItemsReserved │ ItemReserveRefused … ItemsReleased, or taken      TradeSettled ──▶ ItemRemoved, ItemGranted

Everything has one owner, and a stack is never below zero. Others hold reservations: what is aside is neither used, given, sold nor
traded. What was paid for or earned always fits; what is merely found has to find room. A thing keeps its id whoever owns it. The rules
are data: `inventories(rules)` makes the handler under given ones; a game gives `inventory` its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import Message

from bus.event import Event
from bus.handler import ByWorld, Handler
from handlers.answering import ANSWERS, answering
from handlers.inventory.decide import Rules, decide
from handlers.inventory.state import Inventory, evolve
from handlers.names import is_token
from handlers.npc_behavior.tables import Tables
from handlers.plausible import UNBOUNDED, Bounds
from schemas.gen.worldbus.broker.v1.broker_pb2 import BargainStruck, GoodAcquired, GoodDiscarded, GoodSpoiled, RaidSuffered
from schemas.gen.worldbus.game.v1.game_pb2 import GiftGiven, ItemCollected
from schemas.gen.worldbus.inventory.v1 import inventory_pb2 as said
from schemas.gen.worldbus.narrative.v1.narrative_pb2 import SceneRewarded
from schemas.gen.worldbus.npc.v1.npc_pb2 import NpcActed
from schemas.gen.worldbus.payment.v1.payment_pb2 import PurchaseCompleted, RefundCompleted
from schemas.gen.worldbus.quest.v1.quest_pb2 import QuestRewarded
from schemas.gen.worldbus.trade.v1.trade_pb2 import TradeSettled

if TYPE_CHECKING:
    from handlers.content import Content

__all__ = ["Inventory", "inventories", "inventory", "rules_of"]

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
    NpcActed: "npc",
    said.ItemGiven: "inventory",
    TradeSettled: "trade",
}
_OWNERS: Final[dict[type[Message], Callable[[Any], Sequence[str]]]] = {
    QuestRewarded: lambda it: (it.player,),
    SceneRewarded: lambda it: (it.player,),
    said.ItemGiven: lambda it: (it.to,),
    TradeSettled: lambda it: tuple(side.player for side in it.sides),
}


def entities(giving: frozenset[str], event: Event) -> Sequence[str]:
    """A reward, a gift and a trade concern whom they name, everything else whom it is said about, if whoever may say it said it."""
    kind, data = type(event.data), event.data
    if event.subsystem != _SPEAKERS.get(kind, event.subsystem):
        return ()
    if isinstance(data, NpcActed) and (data.action not in giving or data.cause != "dialogue"):
        return ()
    if isinstance(data, said.ItemReserveRequested | said.ItemReleaseRequested):
        owners: Sequence[str] = (data.owner or event.entity,)
    else:
        owners = _OWNERS[kind](data) if kind in _OWNERS else (event.entity,)
    return tuple(owner for owner in owners if is_token(owner))


def rules_of(tables: Tables) -> Rules:
    """The rules of owning, from the characters' tables."""
    giving = frozenset(name for name, action in tables.actions.items() if action.hands_over)
    return Rules(characters=frozenset(tables.npcs), giving=giving)


inventory: Final[ByWorld[Content]] = ByWorld(
    name="inventory",
    listens_to=(
        said.ItemUseRequested,
        said.ItemGrantRequested,
        said.ItemReserveRequested,
        said.ItemReleaseRequested,
        ItemCollected,
        GiftGiven,
        *_SPEAKERS,
    ),
    emits=(
        said.ItemGranted,
        said.ItemRemoved,
        said.ItemUsed,
        said.ItemGiven,
        said.ItemsReserved,
        said.ItemReserveRefused,
        said.ItemsReleased,
        said.ItemRefused,
        said.ItemRequestRepeated,
        *ANSWERS,
    ),
    make=lambda content: inventories(rules_of(content.npcs), content.bounds),
)


def inventories(rules: Rules, bounds: Bounds = UNBOUNDED) -> Handler[Inventory]:
    """The handler under the given rules."""
    handler = inventory.with_rules(
        initial=lambda entity: Inventory(owner=entity),
        decide=partial(decide, rules),
        evolve=evolve,
        entities=partial(entities, rules.giving),
    )
    return answering(handler, bounds)
