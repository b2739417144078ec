"""Stories told by things as a handler, `narrative`.

    ObjectExamined ──▶ scene: ObjectInspected ──▶ player: TraceFound … SceneDiscovered, SceneRewarded ──▶ scene: SceneFirstDiscovered
    weather, deaths, seasons, quests, time, wishes ──▶ scene: SceneChanged

A scene knows how its objects are, a player knows what was found: each is a lane of its own, so that a scene stays as small with a million
players as with one. The scenes are data: `narrative_of(tables)` makes the handler under given ones; a game gives `narrative` its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from bus.event import Event
from bus.handler import ByWorld, Handler
from handlers.answering import ANSWERS, Silence, answering
from handlers.names import is_token
from handlers.narrative.decide import decide, triggers
from handlers.narrative.state import Narrative, evolve
from handlers.narrative.tables import Tables
from handlers.plausible import UNBOUNDED, Bounds
from schemas.gen.worldbus.game.v1.game_pb2 import CreatureSlain, ObjectExamined
from schemas.gen.worldbus.narrative.v1 import narrative_pb2 as said
from schemas.gen.worldbus.quest.v1.quest_pb2 import QuestCompleted
from schemas.gen.worldbus.time.v1.time_pb2 import SeasonChanged, WakeCancelRequested, WakeFired, WakeRequested
from schemas.gen.worldbus.weather.v1.weather_pb2 import WeatherChanged

if TYPE_CHECKING:
    from handlers.content import Content

NAME: Final = "narrative"


def entities(tables: Tables, event: Event) -> Sequence[str]:
    """The scene that is looked at or changes, or the player who found something out; scenes that are not in the table are nobody's."""
    name, data = event.kind, _fields(event)
    match name:
        case "ObjectExamined" | "SceneChangeRequested":
            return (data.scene,) if data.scene in tables.scenes else ()
        case "ObjectInspected":
            return (data.player,) if event.subsystem == NAME and is_token(data.player) else ()
        case "SceneDiscovered":
            return (data.scene,) if event.subsystem == NAME and data.scene in tables.scenes else ()
        case "WakeFired":
            return (data.entity,) if data.subsystem == NAME and event.subsystem == "time" else ()
        case _:
            return tuple(scene for trigger in triggers(event) for scene in tables.triggers.get(trigger, ()))


def _fields(event: Event) -> Any:
    return event.data


def silence(tables: Tables, event: Event) -> Silence:
    """Explain why nothing came of a request: there is no such scene, or no such object in it."""
    it: Any = event.data
    scene = tables.scenes.get(it.scene)
    if scene is None:
        return Silence("UNKNOWN_SCENE", f"wanted a scene of the table, found {ascii(it.scene)[:80]}")
    if it.object not in scene.objects:
        return Silence("UNKNOWN_OBJECT", f"wanted one of {', '.join(scene.objects)}, found {ascii(it.object)[:80]}")
    return Silence("NOT_HERE", f"{it.object} is at {scene.place}, found {ascii(it.place)[:80]}: go there first")


narrative: Final[ByWorld[Content]] = ByWorld(
    name=NAME,
    listens_to=(
        ObjectExamined,
        CreatureSlain,
        WeatherChanged,
        SeasonChanged,
        QuestCompleted,
        WakeFired,
        said.SceneChangeRequested,
        said.ObjectInspected,
        said.SceneDiscovered,
    ),
    emits=(
        said.ObjectInspected,
        said.TraceFound,
        said.SceneDiscovered,
        said.SceneRevisited,
        said.SceneRewarded,
        said.SceneFirstDiscovered,
        said.SceneChanged,
        said.SceneRequestRefused,
        WakeRequested,
        WakeCancelRequested,
        *ANSWERS,
    ),
    make=lambda content: narrative_of(content.scenes, content.bounds),
)


def narrative_of(tables: Tables, bounds: Bounds = UNBOUNDED) -> Handler[Narrative]:
    """The handler under the given tables."""
    handler = narrative.with_rules(
        initial=lambda entity: Narrative(entity=entity),
        decide=partial(decide, tables),
        evolve=evolve,
        entities=partial(entities, tables),
    )
    return answering(handler, bounds, partial(silence, tables))
