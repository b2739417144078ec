"""Which of the demo's commands count for the adapter on, and which for it off, and what is said about their ratio."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clients.evennia.demo.comparison import by_window, compared, shares

SWITCHES = [(10.0, True), (20.0, False), (30.0, True)]


def test_a_command_counts_for_the_window_that_it_lies_in() -> None:
    assert by_window([(11.0, 11.5), (21.0, 22.0), (31.0, 31.25)], SWITCHES) == [(True, [0.5]), (False, [1.0]), (True, [0.25])]


def test_a_command_that_lies_over_a_switch_or_before_the_first_counts_for_none() -> None:
    assert by_window([(9.0, 9.5), (9.5, 10.5), (19.5, 20.5), (5.0, 35.0)], SWITCHES) == []


def test_what_is_typed_while_the_switch_is_under_way_counts_for_none() -> None:
    assert by_window([(20.1, 20.2), (20.6, 20.7)], [(10.0, True), (20.0, None), (20.5, False)]) == [(False, [pytest.approx(0.1)])]


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 15)).map(lambda it: (float(it[0]), float(it[0] + it[1])))))
def test_no_command_counts_twice(timed: list[tuple[float, float]]) -> None:
    counted = sum(len(took) for _, took in by_window(timed, SWITCHES))

    assert counted <= sum(1 for typed, _ in timed if typed >= 10)


def test_the_ratio_is_of_all_commands_of_a_side_and_lies_in_its_interval() -> None:
    windows = [(number % 2 == 0, [0.010 * (1.5 if number % 2 == 0 else 1.0)] * 20) for number in range(10)]
    windows += [(True, [0.030] * 20), (False, [0.020] * 20)]

    found = compared(windows)

    assert (found.on_ms, found.off_ms, found.ratio) == (30.0, 20.0, 1.5)
    assert found.between is not None
    low, high = found.between
    assert low == 0.75  # the slow window was drawn for the side without, and not for that with
    assert high == 3.0


def test_one_window_a_side_says_nothing_about_its_spread() -> None:
    assert compared([(True, [0.02]), (False, [0.01])]).between is None
    assert compared([]).ratio is None


@given(st.lists(st.tuples(st.booleans(), st.lists(st.floats(0.001, 10), min_size=1, max_size=20)), max_size=12))
@example([(False, [1.0]), (False, [8.0]), (True, [1.0]), (True, [0.00390625])])  # a two-thousandth was rounded to 0.0
def test_an_interval_has_its_ends_in_order(windows: list[tuple[bool, list[float]]]) -> None:
    found = compared(windows)

    assert found.between is None or 0 < found.between[0] <= found.between[1]
    assert (found.ratio is None) == (len({on for on, _ in windows}) < 2)


def test_processor_time_is_shared_out_by_side() -> None:
    samples = [
        (0.0, True, 0.0),
        (4.0, True, 1.0),
        (4.5, False, 1.1),
        (8.5, False, 1.5),
        (9.0, True, 2.0),
        (13.0, True, 3.0),
        (13.5, False, 3.1),
    ]

    assert shares(samples) == {True: pytest.approx(0.25), False: pytest.approx(0.1)}
