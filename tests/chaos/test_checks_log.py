"""Each checker of the log passes a whole history and names the one that breaks its promise."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench.chaos.checks import log as checks
from bench.chaos.checks.log import Sight
from bench.chaos.history import History, Outcome, Violation, digest
from bus.event import Event
from tests.chaos.doctored import Scribe, renumbered, told

Rule = Callable[[History], list[Violation]]


def written() -> Scribe:
    scribe = Scribe()
    for number in range(1, 4):
        scribe.move("a", f"z{number}", number=number)
        scribe.move("b", f"z{number}", number=number, time_ns=100 - number)
        scribe.move("duel", f"z{number}", number=number, shared=True)
    for _ in range(3):
        scribe.move("c", "z", group="g", size=3)
    return scribe


def test_a_whole_history_breaks_nothing() -> None:
    history = written().history

    assert checks.check(history, [Sight(event.position, digest(event.raw)) for event in history.events]) == []


def names(rule: Rule, history: History) -> set[str]:
    return {violation.rule for violation in rule(history)}


def without(scribe: Scribe, position: int) -> History:
    return History(renumbered([event for event in scribe.events if event.position != position]), scribe.claims)


def test_a_lost_acknowledged_event_is_named() -> None:
    scribe = written()

    assert names(checks.acknowledged_once, without(scribe, len(scribe.events))) == {"L1"}


def test_an_acknowledged_event_that_stands_twice_is_named() -> None:
    scribe = written()
    history = History(renumbered([*scribe.events, scribe.events[0]]), scribe.claims)

    assert names(checks.acknowledged_once, history) == {"L1"}
    assert names(checks.unknown_at_most_once, history) == {"L2"}


def test_an_unresolved_outcome_is_named() -> None:
    scribe = written()
    scribe.claims["a-0"] = told(scribe.claims["a-0"], Outcome("maybe"))

    assert names(checks.all_resolved, scribe.history) == {"L2"}


def test_a_wrong_position_in_an_acknowledgement_is_named_also_when_a_later_one_was_right() -> None:
    scribe = written()
    scribe.claims["a-0"] = told(scribe.claims["a-0"], Outcome("ok", 2), Outcome("ok", 1))

    assert names(checks.positions_are_true, scribe.history) == {"L3"}


@pytest.mark.parametrize("numbers", [(1, 1, 2), (1, 3, 2), (2, 3, 4)])
def test_versions_with_a_gap_or_a_repeat_are_named(numbers: tuple[int, ...]) -> None:
    scribe = Scribe()
    for number in numbers:
        scribe.move("duel", "z", number=number, shared=True)

    assert names(checks.versions_are_contiguous, scribe.history) == {"L4"}


def test_a_loss_in_the_middle_and_a_swap_are_named() -> None:
    scribe = written()
    swapped = [scribe.events[3], *scribe.events[1:3], scribe.events[0], *scribe.events[4:]]

    assert names(checks.nothing_lost_in_the_middle, without(scribe, 4)) == {"L5"}
    assert names(checks.nothing_lost_in_the_middle, History(renumbered(swapped), scribe.claims)) == {"L5"}


def test_a_gap_in_the_positions_is_named() -> None:
    scribe = written()
    del scribe.events[4]

    assert names(checks.contiguous, scribe.history) == {"L6"}


def test_a_shorter_log_and_a_position_used_again_are_named() -> None:
    scribe = written()
    sights = [Sight(event.position, digest(event.raw)) for event in scribe.events]
    shorter = History(scribe.events[:-1], scribe.claims)
    again = Scribe()
    for event in scribe.events[:-1]:
        again.put_raw(event.subject, event.raw)
    again.move("other", "z")

    assert [violation.rule for violation in checks.never_taken_back(shorter, sights)] == ["L6"]
    assert [violation.rule for violation in checks.never_taken_back(again.history, sights)] == ["L6"]


def test_readers_that_differ_are_named() -> None:
    reading = [(1, "a"), (2, "b"), (3, "c")]

    assert checks.readers_agree({"one": reading, "two": list(reading)}) == []
    assert "position 2" in checks.readers_agree({"one": reading, "two": [(1, "a"), (2, "x"), (3, "c")]})[0].what
    assert "position 3" in checks.readers_agree({"one": reading, "two": reading[:2]})[0].what


@pytest.mark.parametrize("keep", [[0], [0, 1], [0, 2]])
def test_a_torn_group_is_named(keep: list[int]) -> None:
    scribe = Scribe()
    events = [scribe.move("c", "z", group="g", size=3) for _ in range(3)]
    history = History(renumbered([events[index] for index in keep]), scribe.claims)

    assert names(checks.groups_are_whole, history) == {"L8"}


def test_a_group_with_something_in_between_is_named() -> None:
    scribe = Scribe()
    first = scribe.move("c", "z", group="g", size=2)
    between = scribe.move("a", "z")
    last = scribe.move("c", "z", group="g", size=2)

    assert names(checks.groups_are_whole, History([first, between, last], scribe.claims)) == {"L8"}
    assert names(checks.groups_are_whole, History([], scribe.claims)) == set()


def test_a_refused_event_that_is_in_the_log_is_named() -> None:
    scribe = written()
    scribe.claims["a-0"] = told(scribe.claims["a-0"], Outcome("maybe"), Outcome("no", code="CONFLICT"))

    assert names(checks.refusals_are_true, scribe.history) == {"L9"}


def test_changed_bytes_are_named() -> None:
    scribe = written()
    first = scribe.events[0]
    raw = first.raw.replace(b"z1", b"z2")
    scribe.events[0] = Event(raw=raw, subject=first.subject, partition=first.partition, position=1)

    assert names(checks.bytes_are_unchanged, scribe.history) == {"L10"}


def test_an_order_by_the_clock_is_named() -> None:
    scribe = Scribe()
    scribe.move("b", "z", number=2, time_ns=2)
    scribe.move("b", "z", number=1, time_ns=3)
    scribe.move("b", "z", number=3, time_ns=1)

    assert names(checks.clocks_do_not_order, scribe.history) == {"L11"}
