"""Each checker of the tables passes whole ones and names the one that breaks its promise."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.chaos.checks import projections as checks
from bench.chaos.checks.projections import Archived, Sample
from bench.chaos.history import History
from projections.chain import link_event
from tests.chaos.doctored import Scribe


@pytest.fixture
def history() -> History:
    scribe = Scribe()
    for number in range(1, 6):
        scribe.move("a", f"z{number}", number=number)
    return scribe.history


@pytest.fixture
def rows(history: History) -> list[Archived]:
    hashes = checks.chain(history.events)
    return [Archived(event.position, event.raw, hashes[event.position]) for event in history.events]


def test_the_checkers_own_chain_is_the_archives(history: History) -> None:
    chain = bytes(32)
    for event in history.events:
        chain = link_event(chain, event)

    assert checks.chain(history.events)[5] == chain


def test_a_whole_archive_breaks_nothing(history: History, rows: list[Archived]) -> None:
    assert checks.archive_is_the_log(history, rows) == []


def test_a_skipped_changed_or_surplus_row_is_named(history: History, rows: list[Archived]) -> None:
    skipped = [*rows[:2], *rows[3:]]
    changed = [*rows[:2], replace(rows[2], raw=b"other"), *rows[3:]]
    rehashed = [*rows[:2], replace(rows[2], chain=bytes(32)), *rows[3:]]
    surplus = [*rows, replace(rows[4], position=6)]

    assert [[violation.rule for violation in checks.archive_is_the_log(history, bad)] for bad in (skipped, changed, rehashed, surplus)] == [
        ["P4"],
        ["L10"],
        ["L10"],
        ["P5"],
    ]


def samples(history: History) -> list[Sample]:
    hashes = checks.chain(history.events)
    return [Sample(position, hashes[position], position, position) for position in (0, 2, 2, 5)]


def test_a_checkpoint_that_moves_with_its_rows_breaks_nothing(history: History) -> None:
    assert checks.checkpoint_moves_with_the_rows(history, samples(history)) == []


@pytest.mark.parametrize(("archived", "rows"), [(1, 2), (2, 1), (3, 3)])
def test_a_checkpoint_without_its_rows_is_named(history: History, archived: int, rows: int) -> None:
    seen = samples(history)
    seen[1] = replace(seen[1], archived=archived, rows=rows)

    assert [violation.rule for violation in checks.checkpoint_moves_with_the_rows(history, seen)] == ["P2"]


def test_a_checkpoint_that_goes_back_or_has_another_hash_is_named(history: History) -> None:
    seen = samples(history)

    assert checks.checkpoint_moves_with_the_rows(history, seen[::-1])
    assert checks.checkpoint_moves_with_the_rows(history, [replace(seen[1], chain=bytes(32))])


def test_a_checkpoint_beyond_or_behind_the_log_is_named() -> None:
    assert checks.checkpoint_within_the_log(5, 5) == checks.caught_up(5, 5) == []
    assert [violation.rule for violation in checks.checkpoint_within_the_log(5, 6)] == ["P5"]
    assert [violation.rule for violation in checks.caught_up(5, 4)] == ["P4"]


def test_tables_that_are_not_the_fold_are_named() -> None:
    live = {"clock": "a", "players": "b"}

    assert checks.tables_are_the_fold(live, {"by 1": dict(live), "by 7": dict(live)}) == []
    assert len(checks.tables_are_the_fold(live, {"by 1": {"clock": "a", "players": "x"}, "by 7": {"clock": "a"}})) == 2
