"""Answers of a scene to those who look at it and to events around it, and a player's understanding of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from google.protobuf.message import Message

from bus.event import EDGE, Event
from handlers.narrative.state import Narrative
from handlers.narrative.tables import Condition, Scene, Tables, Thing, Trigger
from handlers.rights import is_word_of
from schemas.gen.worldbus.game.v1.game_pb2 import CreatureSlain, ObjectExamined
from schemas.gen.worldbus.narrative.v1.narrative_pb2 import (
    ObjectInspected,
    SceneChanged,
    SceneChangeRequested,
    SceneDiscovered,
    SceneFirstDiscovered,
    SceneRequestRefused,
    SceneRevisited,
    SceneRewarded,
    TraceFound,
)
from schemas.gen.worldbus.narrative.v1.types_pb2 import SceneItem
from schemas.gen.worldbus.quest.v1.quest_pb2 import QuestCompleted
from schemas.gen.worldbus.time.v1.time_pb2 import SeasonChanged, WakeCancelRequested, WakeFired, WakeRequested
from schemas.gen.worldbus.weather.v1.weather_pb2 import WeatherChanged

MINUTE_MS: Final = 60_000
MAX_REASON: Final = 256  # characters

Said = Sequence[Message]


def triggers(event: Event) -> Sequence[Trigger]:
    """The triggers of scenes that `event` may be, most exact first; none if another subsystem than its own emitted it."""
    match event.data, event.subsystem:
        case WeatherChanged(sky=sky), "weather":
            return (("weather", sky, event.entity),)
        case CreatureSlain(creature=creature, place=place), speaker if is_word_of(EDGE, speaker):
            return (("slain", creature, place),)
        case SeasonChanged(now=now), "time":
            return (("season", now.season, ""),)
        case QuestCompleted(quest=quest, ending=ending), "quest":
            return ("quest", f"{quest}={ending}", ""), ("quest", quest, "")
        case _:
            return ()


def decide(tables: Tables, event: Event, known: Narrative) -> Said:
    """The answer of a scene, or of a player, to `event`."""
    match event.data:
        case ObjectExamined() as it:
            return _examined(tables, event, it, known)
        case ObjectInspected() as it:
            return _inspected(tables, event, it, known)
        case SceneDiscovered() as it:
            return () if known.first else (SceneFirstDiscovered(player=event.entity, place=it.place),)
        case SceneChangeRequested() as it:
            return _requested(tables, event, it, known)
        case WakeFired() as it:
            return _lasted(tables, it, known)
        case _:
            return _set_off(tables, event, known)


def _condition(thing: Thing, known: Narrative) -> Condition:
    """The present condition of the object. A condition that the table does not have any more is the first one."""
    change = known.change_of(thing.name)
    return (change and thing.condition(change.condition)) or thing.conditions[0]


def _examined(tables: Tables, event: Event, it: ObjectExamined, known: Narrative) -> Said:
    scene = tables.scenes[it.scene]
    thing = scene.objects.get(it.object)
    if thing is None or it.place not in ("", scene.place):
        return ()
    now = _condition(thing, known)
    return (
        ObjectInspected(player=event.entity, place=scene.place, object=thing.name, condition=now.name, weight=now.weight, text=now.text),
    )


def _inspected(tables: Tables, event: Event, it: ObjectInspected, known: Narrative) -> Said:
    scene = tables.scenes.get(event.entity)
    before = known.weight_of(event.entity, it.object)
    if scene is not None and scene.name in known.discovered:
        return (SceneRevisited(scene=scene.name, place=scene.place, object=it.object, condition=it.condition),)
    if scene is None or it.weight <= before:
        return ()
    found = known.found(scene.name) - before + it.weight
    trace = TraceFound(scene=scene.name, object=it.object, weight=it.weight, found=found, needed=scene.needs)
    return (trace,) if found < scene.needs else (trace, *_discovered(scene, it.player, found))


def _discovered(scene: Scene, player: str, found: int) -> Iterable[Message]:
    yield SceneDiscovered(scene=scene.name, place=scene.place, title=scene.title, text=scene.text, found=found)
    if scene.amount_minor or scene.items:
        items = [SceneItem(sku=sku, quantity=quantity) for sku, quantity in scene.items]
        yield SceneRewarded(player=player, scene=scene.name, currency=scene.currency, amount_minor=scene.amount_minor, items=items)


def _requested(tables: Tables, event: Event, it: SceneChangeRequested, known: Narrative) -> Said:
    scene = tables.scenes[it.scene]
    thing = scene.objects.get(it.object)
    if thing is None:
        return _refused(event, "UNKNOWN_OBJECT", f"wanted one of {', '.join(scene.objects)}, found {ascii(it.object)[:80]}")
    if (condition := thing.condition(it.condition)) is None:
        names = ", ".join(each.name for each in thing.conditions)
        return _refused(event, "UNKNOWN_CONDITION", f"wanted one of {names}, found {ascii(it.condition)[:80]}")
    if len(it.reason) > MAX_REASON:
        return _refused(event, "TOO_LONG", f"reason may have {MAX_REASON} characters, found {len(it.reason)}")
    if condition == _condition(thing, known):
        return _refused(event, "ALREADY_SO", f"{thing.name} of {scene.name} is {condition.name} already: nothing to change")
    return _changed(scene, thing, condition, known, number=known.changes + 1, cause="request", detail=it.reason)


def _refused(event: Event, code: str, reason: str) -> Said:
    return (SceneRequestRefused(request_event_id=event.id, code=code, reason=reason),)


def _set_off(tables: Tables, event: Event, known: Narrative) -> Said:
    scene = tables.scenes.get(known.entity)
    if scene is None:
        return ()
    said: list[Message] = []
    happened = triggers(event)
    player = event.entity if event.subsystem == "quest" or is_word_of(EDGE, event.subsystem) else ""
    touched, number = set[str](), known.changes
    for rule in scene.changes:
        thing = scene.objects[rule.object]
        now, then = _condition(thing, known), thing.condition(rule.to)
        may = rule.object not in touched and (not rule.begin or now.name in rule.begin) and then != now
        if may and then is not None and scene.trigger(rule) in happened:
            touched.add(rule.object)
            number += 1
            said += _changed(scene, thing, then, known, number=number, cause=rule.on, detail=rule.value, player=player)
    return said


def _lasted(tables: Tables, it: WakeFired, known: Narrative) -> Said:
    """A condition that had its time, unless the object has changed since."""
    scene = tables.scenes.get(it.entity)
    change = next((change for change in known.changed if _wake(change.number) == it.name), None)
    thing = scene.objects.get(change.object) if scene and change else None
    now = _condition(thing, known) if thing else None
    then = thing.condition(now.then) if thing and now else None
    if scene is None or thing is None or then is None:
        return ()
    return _changed(scene, thing, then, known, number=known.changes + 1, cause="time")


def _changed(
    scene: Scene, thing: Thing, then: Condition, known: Narrative, *, number: int, cause: str, detail: str = "", player: str = ""
) -> Said:
    now, last = _condition(thing, known), known.change_of(thing.name)
    changed = SceneChanged(
        number=number,
        place=scene.place,
        object=thing.name,
        previous=now.name,
        condition=then.name,
        cause=cause,
        detail=detail,
        player=player,
        text=then.text,
    )
    cancelled = (WakeCancelRequested(name=_wake(last.number)),) if last and now.minutes and cause != "time" else ()
    wake = (WakeRequested(name=_wake(number), in_world_ms=then.minutes * MINUTE_MS),) if then.minutes else ()
    return changed, *cancelled, *wake


def _wake(number: int) -> str:
    """Name of the wake that ends a condition; each change has its own, so that one still under way cannot end the next condition."""
    return f"change-{number}"
