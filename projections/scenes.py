"""Scenes as tables: how objects are and were, who found what, and the history of places."""

from __future__ import annotations

from bus.event import Event
from projections.projection import Change, Projection, Table, sql_beside
from schemas.gen.worldbus.narrative.v1 import narrative_pb2 as said

SCENES = Table("scenes", key=("world", "scene"), adds=("discoveries",))
OBJECTS = Table("scene_objects", key=("world", "scene", "object"), adds=("looks",))
CHANGES = Table("scene_changes", key=("world", "scene", "number"))
DISCOVERIES = Table("discoveries", key=("world", "player", "scene"))
TRACES = Table("scene_traces", key=("world", "player", "scene", "object"))


def inspected(event: Event, it: said.ObjectInspected) -> list[Change]:
    scene = (event.world, event.entity)
    return [
        SCENES.put(*scene, place=it.place),
        OBJECTS.put(*scene, it.object, place=it.place, condition=it.condition, text=it.text, looks=1),
    ]


def changed(event: Event, it: said.SceneChanged) -> list[Change]:
    scene = (event.world, event.entity)
    both = {"place": it.place, "condition": it.condition, "text": it.text, "changed_at": event.time_ns}
    why = {"previous": it.previous, "cause": it.cause, "detail": it.detail, "player": it.player}
    return [
        SCENES.put(*scene, place=it.place),
        OBJECTS.put(*scene, it.object, **both),
        CHANGES.put(*scene, it.number, object=it.object, **both, **why),
    ]


def trace_found(event: Event, it: said.TraceFound) -> Change:
    return TRACES.put(event.world, event.entity, it.scene, it.object, weight=it.weight, needed=it.needed, found_at=event.time_ns)


def discovered(event: Event, it: said.SceneDiscovered) -> list[Change]:
    return [
        SCENES.put(event.world, it.scene, place=it.place, title=it.title, discoveries=1),
        DISCOVERIES.put(
            *(event.world, event.entity, it.scene), place=it.place, title=it.title, found=it.found, discovered_at=event.time_ns
        ),
    ]


def rewarded(event: Event, it: said.SceneRewarded) -> Change:
    items = {item.sku: item.quantity for item in it.items}
    return DISCOVERIES.put(event.world, it.player, it.scene, currency=it.currency, amount_minor=it.amount_minor, items=items)


def first_discovered(event: Event, it: said.SceneFirstDiscovered) -> Change:
    return SCENES.put(event.world, event.entity, first_player=it.player, first_at=event.time_ns)


scenes = Projection(
    name="scenes",
    version=1,
    said_by="narrative",
    schema=sql_beside(__file__),
    tables=(SCENES, OBJECTS, CHANGES, DISCOVERIES, TRACES),
    on={
        said.ObjectInspected: inspected,
        said.SceneChanged: changed,
        said.TraceFound: trace_found,
        said.SceneDiscovered: discovered,
        said.SceneRewarded: rewarded,
        said.SceneFirstDiscovered: first_discovered,
    },
)
