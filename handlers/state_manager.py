"""Versioned entity state as a handler, `state`: compare-and-set, snapshots, save and load slots.

    StateChangeRequested ──▶ StateChanged (version + 1) [+ StateSnapshotTaken at every 100th] │ StateChangeRepeated │ StateChangeRefused
    SaveRequested ──▶ StateSaved │ SaveRefused      LoadRequested ──▶ StateLoaded (version + 1) │ LoadRefused

Versions of an entity are 1, 2, 3 without gaps. A wish is applied once per `request_id`, as far as the last `REMEMBERED` ones reach; a wish
repeated later than that is protected by its `expected_version`, unless that is -1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import Message

from bus.event import Event
from bus.handler import ByWorld, Handler
from handlers.answering import ANSWERS, Silence, answering
from handlers.names import NAME_RULE, is_token
from handlers.plausible import UNBOUNDED, Bounds
from schemas.gen.worldbus.state.v1.state_pb2 import (
    LoadRefused,
    LoadRequested,
    SaveRefused,
    SaveRequested,
    SlotDeleted,
    SlotDeleteRequested,
    StateChanged,
    StateChangeRefused,
    StateChangeRepeated,
    StateChangeRequested,
    StateLoaded,
    StateSaved,
    StateSnapshotTaken,
)
from schemas.gen.worldbus.state.v1.types_pb2 import StateValue

if TYPE_CHECKING:
    from handlers.content import Content

ANY_VERSION: Final = -1
SNAPSHOT_EVERY: Final = 100  # versions
REMEMBERED: Final = 64  # applied requests per entity
MAX_REQUEST_ID: Final = 64  # characters
MAX_KEYS: Final = 256  # per entity
MAX_TEXT: Final = 4096  # bytes of UTF-8 in one value
MAX_STATE: Final = 65_536  # bytes of all keys and values together
MAX_SLOTS: Final = 8  # per entity
KEY_RULE: Final = "1 to 64 of A-Z a-z 0-9 _ . : -"
_KEY: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}", re.ASCII)

Value = str | int | float | bool
Values = Mapping[str, Value]
Said = Sequence[Message]
Problem = tuple[str, str]  # (code, reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A state that was kept."""

    version: int
    values: Values


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """The state of one entity; version 0 before its first change."""

    version: int = 0
    values: Values = field(default_factory=dict)
    slots: Mapping[str, Slot] = field(default_factory=dict)
    applied: tuple[tuple[str, int], ...] = ()  # (request_id, version), oldest first


def decide(event: Event, entity: Entity) -> Said:
    """The answer to a wish about one entity."""
    match event.data:
        case StateChangeRequested() as it:
            return _change(event, it, entity)
        case SaveRequested() as it:
            return _save(event, it, entity)
        case LoadRequested() as it:
            return _load(event, it, entity)
        case SlotDeleteRequested() as it:
            return (SlotDeleted(slot=it.slot),) if it.slot in entity.slots else ()
        case _:
            return ()


def _change(event: Event, it: StateChangeRequested, entity: Entity) -> Said:
    request = it.request_id or event.id
    if repeated := _repeated(request, entity):
        return repeated
    problem = _wrong_wish(it) or _wrong_version(it, entity) or _wrong_values(it) or _too_big(it, entity)
    if problem:
        return (_change_refused(event, request, it.expected_version, entity, problem),)
    version = entity.version + 1
    removed = sorted(key for key in set(it.remove) if key in entity.values)
    return (StateChanged(request_id=request, version=version, set=it.set, removed=removed), *_snapshot(version, _after(it, entity)))


def _change_refused(event: Event, request: str, expected: int, entity: Entity, problem: Problem) -> StateChangeRefused:
    code, reason = problem
    return StateChangeRefused(
        request_id=request[:MAX_REQUEST_ID],
        code=code,
        reason=reason,
        expected_version=expected,
        found_version=entity.version,
        request_event_id=event.id,
    )


def _repeated(request: str, entity: Entity) -> Said:
    return tuple(StateChangeRepeated(request_id=known, version=version) for known, version in entity.applied if known == request)


def _wrong_wish(it: StateChangeRequested) -> Problem | None:
    if len(it.request_id) > MAX_REQUEST_ID:
        return "BAD_REQUEST_ID", f"request_id may have {MAX_REQUEST_ID} characters, found {len(it.request_id)}"
    if not it.set and not it.remove:
        return "EMPTY_CHANGE", "nothing to set and nothing to remove: name at least one key"
    for key in (*it.set, *it.remove):
        if _KEY.fullmatch(key) is None:
            return "BAD_KEY", f"a key must be {KEY_RULE}, found {ascii(key)[:80]}"
    both = sorted(set(it.remove) & set(it.set))
    return ("SET_AND_REMOVED", f"{both[0]} is to be set and removed in one change: choose one") if both else None


def _wrong_version(it: StateChangeRequested, entity: Entity) -> Problem | None:
    if it.expected_version in (ANY_VERSION, entity.version):
        return None
    return "VERSION_MISMATCH", f"made for version {it.expected_version}, found {entity.version}: look again, or say -1 for any"


def _wrong_values(it: StateChangeRequested) -> Problem | None:
    for key, value in it.set.items():
        kind = value.WhichOneof("kind")
        if kind is None:
            return "BAD_VALUE", f"{key} has no value: set text, integer, number or flag"
        if kind == "number" and not isfinite(value.number):
            return "BAD_VALUE", f"{key} must be a finite number, found {value.number}"
        if kind == "text" and (size := len(value.text.encode())) > MAX_TEXT:
            return "VALUE_TOO_LARGE", f"{key} may have {MAX_TEXT} bytes, found {size}: keep a reference instead"
    return None


def _too_big(it: StateChangeRequested, entity: Entity) -> Problem | None:
    values = _after(it, entity)
    if len(values) > MAX_KEYS:
        return "TOO_MANY_KEYS", f"an entity may have {MAX_KEYS} keys, this change makes {len(values)}: split the entity"
    size = sum(map(_size, values, values.values()))
    return (
        ("STATE_TOO_LARGE", f"a state may have {MAX_STATE} bytes, this change makes {size}: split the entity") if size > MAX_STATE else None
    )


def _size(key: str, value: Value) -> int:
    return len(key) + (len(value.encode()) if isinstance(value, str) else 8)


def _after(it: StateChangeRequested | StateChanged, entity: Entity) -> Values:
    values = {**entity.values, **plain(it.set)}
    for key in it.remove if isinstance(it, StateChangeRequested) else it.removed:
        values.pop(key, None)
    return values


def _snapshot(version: int, values: Values) -> Said:
    return (StateSnapshotTaken(version=version, values=typed(values)),) if version % SNAPSHOT_EVERY == 0 else ()


def _save(event: Event, it: SaveRequested, entity: Entity) -> Said:
    if not is_token(it.slot):
        return _save_refused(event, it, "BAD_SLOT", f"slot must be {NAME_RULE}, found {ascii(it.slot)[:80]}")
    if it.slot not in entity.slots and len(entity.slots) >= MAX_SLOTS:
        return _save_refused(event, it, "TOO_MANY_SLOTS", f"all {MAX_SLOTS} slots are in use: save over one of them, or delete one first")
    return (StateSaved(slot=it.slot, version=entity.version, values=typed(entity.values)),)


def _save_refused(event: Event, it: SaveRequested, code: str, reason: str) -> Said:
    return (SaveRefused(slot=it.slot[:64], code=code, reason=reason, request_event_id=event.id),)


def _load(event: Event, it: LoadRequested, entity: Entity) -> Said:
    request = it.request_id or event.id
    if repeated := _repeated(request, entity):
        return repeated
    if len(it.request_id) > MAX_REQUEST_ID:
        return _load_refused(event, it, "BAD_REQUEST_ID", f"request_id may have {MAX_REQUEST_ID} characters, found {len(it.request_id)}")
    slot = entity.slots.get(it.slot)
    if slot is None:
        there = ", ".join(sorted(entity.slots)) or "none"
        return _load_refused(event, it, "NO_SUCH_SLOT", f"wanted slot {ascii(it.slot)[:80]}, found: {there}")
    version = entity.version + 1
    loaded = StateLoaded(slot=it.slot, saved_version=slot.version, version=version, values=typed(slot.values), request_id=request)
    return (loaded, *_snapshot(version, slot.values))


def _load_refused(event: Event, it: LoadRequested, code: str, reason: str) -> Said:
    return (LoadRefused(slot=it.slot[:64], code=code, reason=reason, request_event_id=event.id),)


def plain(values: Mapping[str, StateValue]) -> dict[str, Value]:
    """Values of an event as Python has them."""
    return {key: getattr(value, value.WhichOneof("kind") or "text") for key, value in values.items()}


def typed(values: Values) -> dict[str, StateValue]:
    """Python's values as events have them; their kinds survive."""
    return {key: _typed(value) for key, value in values.items()}


def _typed(value: Value) -> StateValue:
    if isinstance(value, str):
        return StateValue(text=value)
    if isinstance(value, bool):  # before int, of which it is one
        return StateValue(flag=value)
    return StateValue(integer=value) if isinstance(value, int) else StateValue(number=value)


def evolve(entity: Entity, event: Event) -> Entity:
    """The state after the handler said `event`."""
    match event.data:
        case StateChanged() as it:
            return replace(entity, version=it.version, values=_after(it, entity), applied=_remember(entity, it.request_id, it.version))
        case StateSaved() as it:
            return replace(entity, slots={**entity.slots, it.slot: Slot(version=it.version, values=plain(it.values))})
        case StateLoaded() as it:
            return replace(entity, version=it.version, values=plain(it.values), applied=_remember(entity, it.request_id, it.version))
        case SlotDeleted() as it:
            return replace(entity, slots={name: slot for name, slot in entity.slots.items() if name != it.slot})
        case _:
            return entity


def _remember(entity: Entity, request: str, version: int) -> tuple[tuple[str, int], ...]:
    return (*entity.applied[-(REMEMBERED - 1) :], (request, version))


def _silence(event: Event) -> Silence:
    it: Any = event.data
    return Silence("NO_SUCH_SLOT", f"wanted a slot of {event.entity}, found {ascii(it.slot)[:80]}: it may be deleted already")


state: Final[ByWorld[Content]] = ByWorld(
    name="state",
    listens_to=(StateChangeRequested, SaveRequested, LoadRequested, SlotDeleteRequested),
    emits=(
        StateChanged,
        StateChangeRepeated,
        StateChangeRefused,
        StateSnapshotTaken,
        StateSaved,
        SaveRefused,
        StateLoaded,
        LoadRefused,
        SlotDeleted,
        *ANSWERS,
    ),
    home=True,
    make=lambda content: states(content.bounds),
)


def states(bounds: Bounds = UNBOUNDED) -> Handler[Entity]:
    """The handler; reports are believed within `bounds`."""
    handler = state.with_rules(
        initial=lambda entity: Entity(),
        decide=decide,
        evolve=evolve,
    )
    return answering(handler, bounds, _silence)
