"""Deeds: the facts of the game and of other subsystems that quests count."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from google.protobuf.message import Message

from bus.event import EDGE, Event
from handlers.names import is_token
from handlers.quest_system.model import Deed
from handlers.quest_system.tables import MAX_COUNT
from handlers.rights import is_word_of
from schemas.gen.worldbus.broker.v1.broker_pb2 import BargainStruck
from schemas.gen.worldbus.game.v1.game_pb2 import CreatureSlain, NpcAttacked, ObjectExamined, PlayerSpoke
from schemas.gen.worldbus.inventory.v1.inventory_pb2 import ItemGiven, ItemGranted
from schemas.gen.worldbus.narrative.v1.narrative_pb2 import SceneDiscovered, SceneRevisited
from schemas.gen.worldbus.npc.v1.npc_pb2 import NpcSpoke
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerEnteredZone
from schemas.gen.worldbus.state.v1.state_pb2 import StateChanged, StateLoaded
from schemas.gen.worldbus.state.v1.types_pb2 import StateValue

# type -> who must say it, what deed it tells of (its entity, its payload)
_FACTS: Final[dict[type[Message], tuple[str, Callable[[str, Any], Deed]]]] = {
    CreatureSlain: (EDGE, lambda _, it: Deed(kind="kill", target=it.creature, place=it.place, quantity=it.quantity or 1)),
    ItemGranted: ("inventory", lambda _, it: Deed(kind="collect", target=it.sku, place=it.reference, quantity=it.quantity)),
    PlayerSpoke: (EDGE, lambda _, it: Deed(kind="talk", target=it.npc, place=it.place)),
    ObjectExamined: (EDGE, lambda _, it: Deed(kind="examine", target=it.object, place=it.place)),
    ItemGiven: ("inventory", lambda _, it: Deed(kind="give", target=it.sku, place=it.to)),
    NpcAttacked: (EDGE, lambda _, it: Deed(kind="attack", target=it.npc, place=it.place)),
    BargainStruck: ("broker", lambda _, it: Deed(kind="sell", target=it.kind, place=it.buyer)),
    NpcSpoke: ("npc", lambda npc, it: Deed(kind="hear", target=npc, place=it.place)),
    PlayerEnteredZone: ("player", lambda _, it: Deed(kind="visit", target=it.zone, place=it.zone)),
    SceneDiscovered: ("narrative", lambda _, it: Deed(kind="discover", target=it.scene, place=it.place)),
    SceneRevisited: ("narrative", lambda _, it: Deed(kind="discover", target=it.scene, place=it.place)),  # discovered before the quest
}

DEED_EVENTS: Final = (*_FACTS, StateChanged, StateLoaded)


def deeds_of(event: Event) -> Sequence[Deed]:
    """The deeds that `event` tells of; none if it tells of none, makes no sense, or is not said by whom it should be."""
    match event.data:
        case StateChanged(set=values) | StateLoaded(values=values) if event.subsystem == "state":
            known = (_state(key, values[key]) for key in sorted(values) if is_token(key))  # sorted: a map has no order of its own
            return tuple(deed for deed in known if deed.quantity)
        case it if (fact := _FACTS.get(type(it))) is not None and is_word_of(fact[0], event.subsystem):
            if isinstance(it, ItemGranted) and it.reason != "collected":
                return ()
            deed = fact[1](event.entity, it)
            return (deed,) if 1 <= deed.quantity <= MAX_COUNT and is_token(deed.target) else ()
        case _:
            return ()


def _state(key: str, value: StateValue) -> Deed:
    """A key of the player's state has this value now: as a text, or as a number (yes is 1)."""
    kind = value.WhichOneof("kind")
    if kind == "text":
        return Deed(kind="state", target=key, place=value.text)
    number = {"integer": value.integer, "number": value.number, "flag": value.flag}.get(kind or "", 0)
    return Deed(kind="state", target=key, quantity=int(min(max(number, 0), MAX_COUNT)))
