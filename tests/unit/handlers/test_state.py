"""The rules of entity state, one by one."""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from typing import Any

import pytest

from bus.testing import Case, given
from handlers.state_manager import MAX_KEYS, MAX_SLOTS, MAX_STATE, REMEMBERED, SNAPSHOT_EVERY, Entity, Slot, Value, typed
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
from schemas.gen.worldbus.state.v1.types_pb2 import StateValue
from tests.duskmarket import state


def change(
    values: Mapping[str, Value] | None = None, *, at: int = -1, request: str = "", remove: tuple[str, ...] = (), **more: Value
) -> StateChangeRequested:
    return StateChangeRequested(request_id=request, expected_version=at, set=typed({**(values or {}), **more}), remove=remove)


def fresh() -> Case[Entity]:
    return given(state, entity="mira")


def holding(values: Mapping[str, Value] | None = None, **more: Value) -> Case[Entity]:
    return fresh().when(change({**(values or {}), **more}))


def refusal(case: Case[Any]) -> str:
    (said,) = case.said
    assert isinstance(said, StateChangeRefused | SaveRefused | LoadRefused)
    assert said.request_event_id
    assert len(said.reason) > 20
    return said.code


def test_a_change_makes_the_next_version() -> None:
    case = fresh().when(change(request="r1", gold=5, name="Mira", luck=0.5, alive=True))
    case.then(StateChanged(request_id="r1", version=1, set=typed({"gold": 5, "name": "Mira", "luck": 0.5, "alive": True})))

    case = case.when(change(request="r2", gold=6, remove=("name", "absent", "alive", "name")))
    case.then(StateChanged(request_id="r2", version=2, set=typed({"gold": 6}), removed=["alive", "name"]))
    case.then_state(version=2, values={"gold": 6, "luck": 0.5})


def test_kinds_survive() -> None:
    values = holding(whole=1, number=1.0, flag=True, text="1", zero=0, none="", no=False).state.values

    assert {key: type(value) for key, value in values.items()} == {
        "whole": int, "number": float, "flag": bool, "text": str, "zero": int, "none": str, "no": bool,
    }  # fmt: skip


def test_the_expected_version_is_compared() -> None:
    case = fresh().when(change(at=0, gold=1)).then_types(StateChanged)
    case = case.when(change(at=1, gold=2)).then_types(StateChanged)
    case = case.when(change(at=1, request="late", gold=3))

    assert refusal(case) == "VERSION_MISMATCH"
    assert isinstance(case.said[0], StateChangeRefused)
    assert (case.said[0].expected_version, case.said[0].found_version, case.said[0].request_id) == (1, 2, "late")
    case.then_state(version=2, values={"gold": 2})


def test_version_zero_means_an_entity_without_state() -> None:
    assert refusal(holding(gold=1).when(change(at=0, gold=2))) == "VERSION_MISMATCH"


def test_any_version_is_minus_one() -> None:
    holding(gold=1).when(change(at=-1, gold=2)).then_state(version=2)
    assert refusal(holding(gold=1).when(change(at=-2, gold=2))) == "VERSION_MISMATCH"


def test_the_same_request_is_applied_once() -> None:
    case = fresh().when(change(request="r1", gold=1)).when(change(request="r2", gold=2)).when(change(request="r1", gold=1))

    case.then(StateChangeRepeated(request_id="r1", version=1)).then_state(version=2, values={"gold": 2})


def test_a_repeated_request_is_recognised_before_its_version_is_compared() -> None:
    fresh().when(change(at=0, request="r1", gold=1)).when(change(at=0, request="r1", gold=1)).then_types(StateChangeRepeated)


def test_a_request_without_a_name_is_named_by_its_event() -> None:
    case = fresh().when(change(gold=1), id="evt-1").when(change(gold=1), id="evt-1")

    case.then(StateChangeRepeated(request_id="evt-1", version=1))


def test_a_refused_request_may_be_repeated() -> None:
    case = holding(gold=1).when(change(at=7, request="r", gold=2)).when(change(at=1, request="r", gold=2))

    case.then_types(StateChanged)


def test_the_memory_of_requests_is_bounded() -> None:
    case = fresh()
    for number in range(REMEMBERED + 1):
        case = case.when(change(request=f"r{number}", gold=number))

    assert len(case.state.applied) == REMEMBERED
    case.when(change(request="r1", gold=0)).then_types(StateChangeRepeated)
    case.when(change(request="r0", gold=0)).then_types(StateChanged)


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        (change(), "EMPTY_CHANGE"),
        (change(gold=1, remove=("gold",)), "SET_AND_REMOVED"),
        (change(request="x" * 65, gold=1), "BAD_REQUEST_ID"),
        (change({"": 1}), "BAD_KEY"),
        (change({"a b": 1}), "BAD_KEY"),
        (change({"k" * 65: 1}), "BAD_KEY"),
        (change(remove=("ü",)), "BAD_KEY"),
        (change(luck=nan), "BAD_VALUE"),
        (StateChangeRequested(set={"k": StateValue()}), "BAD_VALUE"),
        (change(text="ü" * 2049), "VALUE_TOO_LARGE"),
        (change({f"k{number}": 1 for number in range(MAX_KEYS + 1)}), "TOO_MANY_KEYS"),
        (change({f"k{number}": "x" * 4096 for number in range(MAX_STATE // 4096)}), "STATE_TOO_LARGE"),
    ],
)
def test_a_change_that_does_not_fit_is_refused_whole(wish: StateChangeRequested, code: str) -> None:
    case = fresh().when(wish)

    assert refusal(case) == code
    case.then_state(version=0, values={})


def test_limits_hold_for_the_state_that_results() -> None:
    case = holding({f"k{number}": 1 for number in range(MAX_KEYS)}).then_types(StateChanged)

    assert refusal(case.when(change(more=1))) == "TOO_MANY_KEYS"
    case.when(change(more=1, remove=("k0",))).then_types(StateChanged)
    case.when(change(k0=2)).then_types(StateChanged)


def test_every_hundredth_version_is_said_whole() -> None:
    case: Case[Entity] = Case(handler=state, entity="mira", state=Entity(version=SNAPSHOT_EVERY - 2, values={"gold": 1}))
    case = case.when(change(luck=2.0)).then_types(StateChanged)
    case = case.when(change(gold=2))

    case.then_types(StateChanged, StateSnapshotTaken)
    assert case.said[1] == StateSnapshotTaken(version=SNAPSHOT_EVERY, values=typed({"gold": 2, "luck": 2.0}))
    case.then_state(version=100).when(change(gold=3)).then_types(StateChanged)


def test_saving_keeps_the_whole_state_and_makes_no_version() -> None:
    case = holding(gold=1).when(SaveRequested(slot="camp")).then(StateSaved(slot="camp", version=1, values=typed({"gold": 1})))

    case.then_state(version=1, slots={"camp": Slot(version=1, values={"gold": 1})})


def test_loading_brings_the_state_back_as_a_new_version() -> None:
    case = holding(gold=1).when(SaveRequested(slot="camp")).when(change(gold=0, cursed=True))
    case = case.when(LoadRequested(slot="camp", request_id="l1"))

    case.then(StateLoaded(slot="camp", saved_version=1, version=3, values=typed({"gold": 1}), request_id="l1"))
    case = case.then_state(version=3, values={"gold": 1})
    case.when(LoadRequested(slot="camp", request_id="l1")).then(StateChangeRepeated(request_id="l1", version=3))
    assert refusal(case.when(change(at=2, gold=9))) == "VERSION_MISMATCH"


def test_the_empty_state_can_be_saved_and_loaded() -> None:
    case = fresh().when(SaveRequested(slot="new")).then(StateSaved(slot="new"))

    case.when(change(gold=1)).when(LoadRequested(slot="new")).then_state(version=2, values={})


def test_saving_over_a_slot_replaces_it() -> None:
    case = holding(gold=1).when(SaveRequested(slot="camp")).when(change(gold=2)).when(SaveRequested(slot="camp"))

    case.then_state(slots={"camp": Slot(version=2, values={"gold": 2})})


def test_a_load_can_make_the_hundredth_version() -> None:
    case: Case[Entity] = Case(handler=state, entity="mira", state=Entity(version=99, slots={"camp": Slot(version=1, values={"gold": 1})}))

    case.when(LoadRequested(slot="camp")).then_types(StateLoaded, StateSnapshotTaken)


def test_slots_are_bounded_and_can_be_deleted() -> None:
    case = holding(gold=1)
    for number in range(MAX_SLOTS):
        case = case.when(SaveRequested(slot=f"s{number}"))

    assert refusal(case.when(SaveRequested(slot="one-more"))) == "TOO_MANY_SLOTS"
    case.when(SaveRequested(slot="s0")).then_types(StateSaved)
    case = case.when(SlotDeleteRequested(slot="s0")).then(SlotDeleted(slot="s0"))
    case.when(SlotDeleteRequested(slot="s0")).then_types(RequestRefused)
    case.when(SaveRequested(slot="one-more")).then_types(StateSaved)


@pytest.mark.parametrize("slot", ["", "a.b", "x" * 65])
def test_a_slot_needs_a_name(slot: str) -> None:
    assert refusal(fresh().when(SaveRequested(slot=slot))) == "BAD_SLOT"


def test_loading_what_was_never_saved_is_refused() -> None:
    case = fresh().when(SaveRequested(slot="camp"))

    assert refusal(case.when(LoadRequested(slot="other"))) == "NO_SUCH_SLOT"
    assert refusal(case.when(LoadRequested(slot="camp", request_id="x" * 65))) == "BAD_REQUEST_ID"
