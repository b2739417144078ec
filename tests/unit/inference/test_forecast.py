"""Who would begin too late, and what admission believes of a machine that is busy."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from inference.admission import LAG_MOST_S, Admission, Lag
from inference.forecast import first_late
from inference.tiers import TIERS

SECONDS = st.floats(0, 100)
WAITING = st.lists(st.tuples(st.floats(-1, 100), st.floats(0.001, 10)), max_size=30)


def test_who_waits_takes_the_slot_that_is_free_first() -> None:
    assert first_late([0.0, 0.5], [(0.0, 1.0), (0.5, 1.0), (1.0, 1.0), (1.4, 1.0)]) == 3
    assert first_late([0.0, 0.5], [(0.0, 1.0), (0.5, 1.0), (1.0, 1.0), (1.5, 1.0)]) is None


def test_without_a_slot_the_first_is_late() -> None:
    assert first_late([], [(10.0, 1.0)]) == 0
    assert first_late([], []) is None


@given(st.lists(SECONDS, min_size=1, max_size=8), WAITING)
def test_those_before_the_first_late_one_are_in_time_by_themselves(free_in: list[float], waiting: list[tuple[float, float]]) -> None:
    late = first_late(free_in, waiting)

    if late is not None:
        assert first_late(free_in, waiting[:late]) is None
        assert first_late(free_in, waiting[: late + 1]) == late


@given(st.lists(SECONDS, min_size=1, max_size=8), WAITING, SECONDS)
def test_one_more_slot_makes_nobody_late(free_in: list[float], waiting: list[tuple[float, float]], more: float) -> None:
    fewer, with_more = first_late(free_in, waiting), first_late([*free_in, more], waiting)

    assert with_more is None or (fewer is not None and fewer <= with_more)


@given(st.lists(st.floats(0, 10), min_size=1))
def test_a_late_event_loop_is_reckoned_with_and_forgotten(lates: list[float]) -> None:
    lag = Lag()
    for late in lates:
        lag.learn(late)

    assert min(lates[-1], LAG_MOST_S) <= lag.cautious <= min(max(lates), LAG_MOST_S)
    before = lag.cautious
    for _ in range(1000):
        lag.learn(0.0)
    assert lag.cautious <= before / 100 + 1e-9


def test_answers_that_end_before_their_limit_leave_room_for_more() -> None:
    admission = Admission(TIERS["gold"])
    at_first = admission.likely_s(100)
    for _ in range(50):
        admission.used.learn(0.25)

    assert admission.likely_s(100) < at_first / 3
    assert admission.seconds(100) >= at_first, "what one answer may take is still the whole limit"
