"""Which of the demo's commands count for the adapter on, and which for it off."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clients.evennia.demo.measure import Commands, by_window

SWITCHES = [(10.0, True), (20.0, False), (30.0, True)]


def test_a_command_counts_for_the_window_that_it_lies_in() -> None:
    commands = Commands(timed=[(11.0, 11.5), (21.0, 22.0), (31.0, 31.25)])

    assert by_window(commands, SWITCHES) == {True: [0.5, 0.25], False: [1.0]}


def test_a_command_that_lies_over_a_switch_or_before_the_first_counts_for_none() -> None:
    commands = Commands(timed=[(9.0, 9.5), (9.5, 10.5), (19.5, 20.5), (5.0, 35.0)])

    assert by_window(commands, SWITCHES) == {True: [], False: []}


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 15)).map(lambda it: (float(it[0]), float(it[0] + it[1])))))
def test_no_command_counts_twice(timed: list[tuple[float, float]]) -> None:
    took = by_window(Commands(timed=timed), SWITCHES)

    assert sum(map(len, took.values())) <= sum(1 for typed, _ in timed if typed >= 10)
