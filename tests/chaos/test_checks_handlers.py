"""The checker of effects and their order passes what the runtime's own rules write, and names every way to break it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from bench.chaos.checks import handlers as checks
from bench.chaos.checks import poison
from bench.chaos.history import History
from bus.event import Event
from bus.subjects import Subject
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerLeftZone
from tests.chaos.doctored import WORLD, Scribe, walker

other = replace(walker, name="other", listens_to=(PlayerLeftZone,))


def lived() -> Scribe:
    """Moves of two players, one of them twice to the same place, with their answers; a poison input, cleaned up."""
    scribe = Scribe()
    for zone in ("quay", "moor", "moor", "pass"):
        for entity in ("a", "b"):
            scribe.answer(scribe.move(entity, zone))
    bad, behind = scribe.move("c", "poison"), scribe.move("c", "quay")
    scribe.answer(bad)
    scribe.answer(behind)
    scribe.drop(bad)
    scribe.take_up(behind)
    return scribe


def rules(scribe: Scribe) -> set[str]:
    return {violation.rule for violation in checks.check(scribe.history, [walker])}


def test_what_the_rules_write_breaks_nothing() -> None:
    scribe = lived()

    assert checks.check(scribe.history, [walker]) == []
    assert poison.check(scribe.history, [walker], {"c"}) == []


def _without(name: str) -> Callable[[list[Event]], list[Event]]:
    def remove(events: list[Event]) -> list[Event]:
        gone = [event for event in events if event.name == name][-1]
        return [event for event in events if event is not gone]

    return remove


def _twice(name: str) -> Callable[[list[Event]], list[Event]]:
    def repeat(events: list[Event]) -> list[Event]:
        last = next(event for event in events if event.name == name)
        again = Event(raw=last.raw, subject=last.subject, partition=last.partition, position=len(events) + 1, recorded_ns=0)
        return [*events, again]

    return repeat


@pytest.mark.parametrize(
    "doctor",
    [
        _without("PlayerEnteredZone"),
        _without("PlayerLeftZone"),
        _without("EventParked"),
        _without("EventDeferred"),
        _twice("PlayerEnteredZone"),
    ],
)
def test_an_answer_that_is_missing_or_doubled_is_named(doctor: Callable[[list[Event]], list[Event]]) -> None:
    scribe = lived()
    scribe.events = doctor(scribe.events)

    assert rules(scribe)


def test_an_input_that_was_never_answered_is_named() -> None:
    scribe = lived()
    scribe.move("a", "quay")

    assert rules(scribe) == {"H1"}


def test_silence_on_an_old_state_is_named() -> None:
    """The input asked for a place where the entity had been, and was no longer when the input came."""
    scribe = Scribe()
    scribe.answer(scribe.move("a", "quay"))
    scribe.answer(scribe.move("a", "moor"))
    scribe.move("a", "quay")

    assert rules(scribe) == {"H1"}


def test_a_true_silence_is_not_named() -> None:
    scribe = Scribe()
    scribe.answer(scribe.move("a", "quay"))
    scribe.move("a", "quay")

    assert rules(scribe) == set()


def test_inputs_answered_in_another_order_are_named() -> None:
    scribe = Scribe()
    first, second = scribe.move("a", "quay"), scribe.move("a", "moor")
    scribe.answer(second)
    scribe.answer(first)

    assert "H2" in rules(scribe)


def test_two_writers_interleaved_in_one_decision_are_named() -> None:
    scribe = Scribe()
    first, second = scribe.move("a", "quay"), scribe.move("a", "moor")
    scribe.answer(first)
    scribe.answer(second)
    scribe.events[3], scribe.events[4] = scribe.events[4], scribe.events[3]

    assert "H1" in rules(scribe)


def test_a_decision_on_another_state_is_named() -> None:
    scribe = Scribe()
    scribe.answer(scribe.move("a", "quay"))
    stale = scribe.lanes.pop("a")
    scribe.answer(scribe.move("a", "moor"))  # by somebody who does not know of quay

    assert stale.state.zone == "quay"
    assert rules(scribe) == {"H1"}


def test_an_overtaken_lane_is_named() -> None:
    scribe = Scribe()
    scribe.answer(scribe.move("a", "poison"))
    scribe.lanes.pop("a")
    scribe.answer(scribe.move("a", "quay"))

    assert rules(scribe) == {"H2"}


def test_parking_what_can_be_decided_is_named() -> None:
    scribe = Scribe()
    good, bad = scribe.move("a", "quay"), scribe.move("a", "poison")
    scribe.answer(bad)
    parked = scribe.events[-1]
    raw = parked.raw.replace(f"{bad.position}:0:1".encode(), f"{good.position}:0:1".encode())
    scribe.events[-1] = Event(raw=raw, subject=parked.subject, partition=parked.partition, position=parked.position)

    assert "D1" in rules(scribe)


def test_taking_up_out_of_turn_is_named() -> None:
    scribe = Scribe()
    bad, first, second = scribe.move("a", "poison"), scribe.move("a", "quay"), scribe.move("a", "moor")
    for event in (bad, first, second):
        scribe.answer(event)
    scribe.drop(bad)
    scribe.take_up(second)
    scribe.take_up(first)

    assert "D3" in rules(scribe)


def test_an_unreadable_input_without_a_record_is_named() -> None:
    scribe = Scribe()
    junk = scribe.put_raw(Subject(WORLD, "other", "a", "PlayerMoved"), b"\xff\xff")
    before = History(tuple(scribe.events))
    scribe.answer(junk)

    assert {violation.rule for violation in poison.put_aside_once(before, [walker, other])} == {"D1"}
    assert poison.put_aside_once(scribe.history, [walker, other]) == []
    assert rules(scribe) == set()


def test_a_record_of_an_edges_unreadable_input_is_named() -> None:
    scribe = Scribe()
    junk = scribe.put_raw(Subject(WORLD, "game", "a", "PlayerMoved"), b"\xff\xff")

    assert poison.put_aside_once(scribe.history, [walker]) == []
    scribe.answer(junk)
    assert "wanted 0" in poison.put_aside_once(scribe.history, [walker])[0].what


def test_a_record_without_its_reason_is_named() -> None:
    scribe = Scribe()
    scribe.answer(scribe.put_raw(Subject(WORLD, "other", "a", "PlayerMoved"), b"\xff\xff"))
    parked = scribe.events[-1]
    parked.data.ClearField("reason")

    assert "reason" in poison.put_aside_once(scribe.history, [walker, other])[0].what


def test_somebody_else_who_waits_is_named() -> None:
    scribe = Scribe()
    scribe.answer(scribe.move("a", "poison"))

    assert [violation.rule for violation in poison.nobody_else_waits(scribe.history, {"b"})] == ["D2"]
