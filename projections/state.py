"""Entity state as tables: the values now, their version, and the slots that keep whole states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bus.event import Event
from projections.projection import Change, Projection, Table, sql_beside
from schemas.gen.worldbus.state.v1 import state_pb2 as said
from schemas.gen.worldbus.state.v1.types_pb2 import StateValue

VERSIONS = Table("state_versions", key=("world", "entity"))
VALUES = Table("state_values", key=("world", "entity", "key"))
SAVES = Table("saves", key=("world", "entity", "slot"))


def _plain(value: StateValue) -> Any:
    kind = value.WhichOneof("kind")
    return None if kind is None else getattr(value, kind)


def _version(event: Event, version: int) -> Change:
    return VERSIONS.put(event.world, event.entity, version=version, changed_at=event.time_ns)


def _set(event: Event, version: int, values: Mapping[str, StateValue]) -> list[Change]:
    return [VALUES.put(event.world, event.entity, key, value=_plain(value), version=version) for key, value in values.items()]


def changed(event: Event, it: said.StateChanged) -> list[Change]:
    removed = [VALUES.drop(event.world, event.entity, key) for key in it.removed]
    return [_version(event, it.version), *removed, *_set(event, it.version, it.set)]


def loaded(event: Event, it: said.StateLoaded) -> list[Change]:
    return [_version(event, it.version), VALUES.drop(event.world, event.entity), *_set(event, it.version, it.values)]


def saved(event: Event, it: said.StateSaved) -> Change:
    values = {key: _plain(value) for key, value in it.values.items()}
    return SAVES.put(event.world, event.entity, it.slot, version=it.version, values=values, saved_at=event.time_ns)


def slot_deleted(event: Event, it: said.SlotDeleted) -> Change:
    return SAVES.drop(event.world, event.entity, it.slot)


state = Projection(
    name="state",
    version=1,
    said_by="state",
    schema=sql_beside(__file__),
    tables=(VERSIONS, VALUES, SAVES),
    on={said.StateChanged: changed, said.StateLoaded: loaded, said.StateSaved: saved, said.SlotDeleted: slot_deleted},
)
