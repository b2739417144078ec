"""Laws of entity state: it behaves as a plain dict with a version, and nothing is lost on the way through events."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.testing import Case
from bus.testing import given as lane
from handlers.state_manager import MAX_SLOTS, REMEMBERED, SNAPSHOT_EVERY, Entity, Slot, Value, plain, typed
from schemas.gen.worldbus.request.v1.request_pb2 import RequestRefused
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
from tests.duskmarket import state

keys = st.sampled_from(["gold", "name", "a.b", "x:y", "_"])
finite = st.floats(allow_nan=False, allow_infinity=False)
values = st.one_of(st.text(max_size=20), st.integers(-(2**63), 2**63 - 1), finite, st.booleans())
slots = st.sampled_from(["camp", "tower", ""] + [f"s{number}" for number in range(MAX_SLOTS)])
requests = st.sampled_from(["", "r1", "r2", "r3"])
changes = st.builds(
    lambda request, version, set_, remove: StateChangeRequested(
        request_id=request, expected_version=version, set=typed(set_), remove=remove
    ),
    requests,
    st.integers(-1, 5) | st.just(-1),
    st.dictionaries(keys, values, max_size=3),
    st.lists(keys, max_size=2),
)
wishes = st.one_of(
    changes,
    changes,
    st.builds(lambda slot: SaveRequested(slot=slot), slots),
    st.builds(lambda slot, request: LoadRequested(slot=slot, request_id=request), slots, requests),
    st.builds(lambda slot: SlotDeleteRequested(slot=slot), slots),
)


class Model:
    """The naive state: dicts that are changed in place, and every request ever applied."""

    def __init__(self) -> None:
        self.version = 0
        self.values: dict[str, Value] = {}
        self.slots: dict[str, tuple[int, dict[str, Value]]] = {}
        self.applied: dict[str, int] = {}

    def hear(self, wish: Any, id: str) -> type:
        """Apply a wish; the type of the answer, NoneType for silence."""
        match wish:
            case StateChangeRequested():
                return self._change(wish, wish.request_id or id)
            case LoadRequested():
                return self._load(wish, wish.request_id or id)
            case SaveRequested():
                if not wish.slot or (wish.slot not in self.slots and len(self.slots) >= MAX_SLOTS):
                    return SaveRefused
                self.slots[wish.slot] = (self.version, dict(self.values))
                return StateSaved
        self.slots.pop(wish.slot, None)
        return type(None)

    def _change(self, wish: StateChangeRequested, request: str) -> type:
        if request in self.applied:
            return StateChangeRepeated
        contradiction = set(wish.set) & set(wish.remove) or not (wish.set or wish.remove)
        if contradiction or wish.expected_version not in (-1, self.version):
            return StateChangeRefused
        self.values.update(plain(wish.set))
        for key in wish.remove:
            self.values.pop(key, None)
        return self._next(request, StateChanged)

    def _load(self, wish: LoadRequested, request: str) -> type:
        if request in self.applied:
            return StateChangeRepeated
        if wish.slot not in self.slots:
            return LoadRefused
        self.values = dict(self.slots[wish.slot][1])
        return self._next(request, StateLoaded)

    def _next(self, request: str, answer: type) -> type:
        self.version += 1
        self.applied[request] = self.version
        return answer


def same(ours: Any, theirs: Any) -> bool:
    """Equal in kind too: 1, 1.0 and True are three values, and -0.0 is not 0.0."""
    return repr(dict(sorted(ours.items()))) == repr(dict(sorted(theirs.items())))


@given(st.lists(wishes, max_size=REMEMBERED))
@settings(deadline=None)
def test_it_behaves_as_a_dict_with_a_version(asked: list[Any]) -> None:
    case, model, before = lane(state, entity="mira"), Model(), 0
    for number, wish in enumerate(asked):
        case = case.when(wish, id=f"evt-{number}")
        answer = model.hear(wish, f"evt-{number}")

        assert type(case.said[0] if case.said else None) in (answer, *_silence(answer))
        assert case.state.version == model.version
        assert same(case.state.values, model.values)
        assert {name: slot.version for name, slot in case.state.slots.items()} == {name: kept for name, (kept, _) in model.slots.items()}
        assert all(same(slot.values, model.slots[name][1]) for name, slot in case.state.slots.items())
        made = [it.version for it in case.said if isinstance(it, StateChanged | StateLoaded)]
        assert made in ([], [before + 1]), "versions without gaps"
        before = case.state.version


def _silence(answer: type) -> tuple[type, ...]:
    return (SlotDeleted, RequestRefused) if answer is type(None) else ()


@given(st.dictionaries(keys, values), st.lists(changes, max_size=10))
@settings(deadline=None)
def test_loading_what_was_saved_gives_it_back(kept: dict[str, Value], later: list[StateChangeRequested]) -> None:
    case: Case[Entity] = Case(handler=state, entity="mira", state=Entity(version=1, values=kept))
    case = case.when(SaveRequested(slot="camp"))
    for number, wish in enumerate(later):
        case = case.when(wish, id=f"later-{number}")
    case = case.when(LoadRequested(slot="camp"), id="load")

    assert same(case.state.values, kept)


@given(st.dictionaries(keys, values))
@settings(deadline=None)
def test_values_survive_their_events(there: dict[str, Value]) -> None:
    assert same(plain(typed(there)), there)


@given(st.lists(changes, min_size=1, max_size=30))
@settings(deadline=None)
def test_a_snapshot_equals_the_state_of_its_version(asked: list[StateChangeRequested]) -> None:
    case: Case[Entity] = Case(handler=state, entity="mira", state=Entity(version=SNAPSHOT_EVERY - 5))
    for number, wish in enumerate(asked):
        case = case.when(wish, id=f"evt-{number}")
        for it in case.said:
            if isinstance(it, StateSnapshotTaken):
                assert it.version == case.state.version == SNAPSHOT_EVERY
                assert same(plain(it.values), case.state.values)
        assert case.state.version != SNAPSHOT_EVERY or not case.said or not isinstance(case.said[0], StateChanged) or len(case.said) == 2


@given(st.dictionaries(keys, values), st.dictionaries(slots, st.dictionaries(keys, values), max_size=3))
@settings(deadline=None)
def test_a_state_survives_its_own_snapshot(there: dict[str, Value], kept: dict[str, dict[str, Value]]) -> None:
    entity = Entity(version=3, values=there, slots={name: Slot(version=1, values=one) for name, one in kept.items()}, applied=(("r1", 3),))
    back = msgspec.msgpack.decode(msgspec.msgpack.encode(entity), type=Entity)

    assert back == entity
    assert same(back.values, there)
