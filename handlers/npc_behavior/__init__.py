"""Characters as a handler, `npc`.

    PlayerSpoke ──▶ InferenceRequested ──▶ InferenceCompleted, InferenceDegraded ──▶ NpcSpoke, NpcActed, NpcActionRejected
    ItemGiven, NpcAttacked, quests, scenes, the story ──▶ RelationshipChanged, NpcMoodChanged, NpcGoalChanged, NpcRemembered
    WakeFired (every pulse) ──▶ NpcActed with its scores, NpcNoticed, NpcForgot

The characters are data: `npc_behavior(tables)` makes the handler under given ones; a game gives `npc` its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from bus.event import Event
from bus.handler import ByWorld, Handler
from handlers.answering import ANSWERS, Silence, answering
from handlers.names import is_token
from handlers.npc_behavior.decide import ENDED, decide, triggers
from handlers.npc_behavior.state import Npc, evolve, newborn
from handlers.npc_behavior.tables import Tables
from handlers.plausible import UNBOUNDED, Bounds
from schemas.gen.worldbus.broker.v1.broker_pb2 import BargainStruck, RaidSuffered
from schemas.gen.worldbus.game.v1.game_pb2 import CreatureSlain, NpcAttacked, PlayerSpoke
from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceCancelRequested, InferenceRequested
from schemas.gen.worldbus.inventory.v1.inventory_pb2 import ItemGiven
from schemas.gen.worldbus.narrative.v1.narrative_pb2 import SceneChanged, SceneDiscovered
from schemas.gen.worldbus.npc.v1 import npc_pb2 as said
from schemas.gen.worldbus.quest.v1.quest_pb2 import QuestAccepted, QuestCompleted, QuestFailed
from schemas.gen.worldbus.storyteller.v1.storyteller_pb2 import StoryBeatBegan, StoryConsequence
from schemas.gen.worldbus.time.v1.time_pb2 import ClockStarted, DayBegan, WakeFired, WakeRequested
from schemas.gen.worldbus.weather.v1.weather_pb2 import WeatherChanged

if TYPE_CHECKING:
    from handlers.content import Content

NAME: Final = "npc"


def entities(tables: Tables, event: Event) -> Sequence[str]:
    """The characters of the table that an event concerns: those that are named, or that may ever be at the place of the event."""
    data = _fields(event)
    match event.kind, event.subsystem:
        case "WakeFired", "time":
            return _known(tables, data.entity) if data.subsystem == NAME else ()
        case (("ClockStarted" | "DayBegan"), "time"):
            return tuple(tables.npcs)
        case "PlayerSpoke", _:
            return _known(tables, data.npc)
        case "ItemGiven", "inventory":
            return _known(tables, event.entity if event.entity in tables.npcs else data.to)
        case "NpcAttacked", _:
            others = (name for name in tables.at.get(data.place, ()) if name != data.npc)
            return (*_known(tables, data.npc), *others) if data.npc in tables.npcs else ()
        case "CreatureSlain", _:
            return tables.at.get(data.place, ())
        case "WeatherChanged", "weather":
            return tables.at.get(event.entity, ())
        case "BargainStruck", "broker":
            return _known(tables, data.buyer) if is_token(data.player) else ()
        case "QuestAccepted", "quest":
            return _known(tables, data.giver)
        case "StoryConsequence", "storyteller":
            return tables.at.get(data.target, ()) if data.kind == "rumour" else _known(tables, data.target)
        case name, "inference" if name.startswith("Inference"):
            return _known(tables, data.requester_entity) if data.requester_subsystem == NAME else ()
        case _:
            return tuple(dict.fromkeys(npc for trigger in triggers(event) for npc in tables.concerned.get(trigger, ())))


def _fields(event: Event) -> Any:
    return event.data


def _known(tables: Tables, npc: str) -> Sequence[str]:
    return (npc,) if npc in tables.npcs else ()


def silence(tables: Tables, event: Event) -> Silence:
    """Explain why nothing came of a word or a blow: there is no such character."""
    it: Any = event.data
    return Silence("UNKNOWN_NPC", f"wanted one of {', '.join(sorted(tables.npcs))}, found {ascii(it.npc)[:80]}")


npc: Final[ByWorld[Content]] = ByWorld(
    name=NAME,
    listens_to=(
        PlayerSpoke,
        ItemGiven,
        NpcAttacked,
        CreatureSlain,
        WakeFired,
        ClockStarted,
        DayBegan,
        WeatherChanged,
        BargainStruck,
        RaidSuffered,
        QuestAccepted,
        QuestCompleted,
        QuestFailed,
        SceneDiscovered,
        SceneChanged,
        StoryBeatBegan,
        StoryConsequence,
        *ENDED,
    ),
    emits=(
        said.NpcAppeared,
        said.NpcNoticed,
        said.NpcActed,
        said.NpcSpoke,
        said.NpcKeptSilent,
        said.NpcActionRejected,
        said.NpcRemembered,
        said.NpcMemoriesMerged,
        said.NpcForgot,
        said.NpcForgotPlayer,
        said.RelationshipChanged,
        said.NpcMoodChanged,
        said.NpcNeedsChanged,
        said.NpcGoalChanged,
        InferenceRequested,
        InferenceCancelRequested,
        WakeRequested,
        *ANSWERS,
    ),
    make=lambda content: npc_behavior(content.npcs, content.bounds),
)


def npc_behavior(tables: Tables, bounds: Bounds = UNBOUNDED) -> Handler[Npc]:
    """The handler under the given tables."""
    handler = npc.with_rules(
        initial=partial(newborn, tables),
        decide=partial(decide, tables),
        evolve=partial(evolve, tables.pulse_ms),
        entities=partial(entities, tables),
    )
    return answering(handler, bounds, partial(silence, tables), attrgetter("entity"))
