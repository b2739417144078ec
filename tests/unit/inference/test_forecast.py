"""Who would begin too late, and what admission believes of a machine that is busy."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from inference import ladder as ladders
from inference.admission import LAG_MOST_S, Admission, Lag
from inference.forecast import first_late
from inference.tiers import TIERS
from tests.duskmarket import FOLDER

LADDERS = ladders.load(FOLDER / "ladder.toml")


def seconds(least: int, most: int) -> st.SearchStrategy[float]:
    """Sums of these are exact in any order, as the laws below want: slots add them up in different ones."""
    return st.integers(least * 1024, most * 1024).map(lambda number: number / 1024)


SECONDS = seconds(0, 100)
WAITING = st.lists(st.tuples(seconds(-1, 100), seconds(0, 10)), max_size=30)


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


def test_one_stall_that_all_who_ran_have_measured_does_not_shut_the_engine() -> None:
    admission = Admission(TIERS["gold"])
    for _ in range(100):
        admission.per_token.learn(0.012)
    before = admission.seconds(16)
    for _ in range(8):
        admission.per_token.learn(2.0)

    assert admission.seconds(16) < 8 * before
    for _ in range(40):
        admission.per_token.learn(0.012)
    assert admission.seconds(16) < 1.5 * before


def test_an_engine_that_became_slow_is_believed_to_be() -> None:
    admission = Admission(TIERS["gold"])
    for _ in range(100):
        admission.per_token.learn(0.012)
    for _ in range(200):
        admission.per_token.learn(0.120)

    assert admission.per_token.mean > 0.11
    assert admission.per_token.typical > 0.1


def test_an_idle_engine_is_tried_with_its_quickest_rung_however_slow_it_was() -> None:
    admission, ladder = Admission(TIERS["gold"]), LADDERS.of("npc_line")
    assert ladder is not None
    admission.first_token.learn(30.0)

    assert admission.offer(ladder, 40, 0, 1.0) is None
    tried = admission.trial(ladder, 40, 0, 1.0)
    assert tried is not None
    assert (tried.rung.name, tried.max_tokens) == ("shorter", 24)
    assert admission.least_s(ladder, 40, 0) > 1.0 > admission.least_s(ladder, 40, 0, idle=True)
    assert admission.trial(ladder, 40, 0, 0.01) is None, "what a rung needs at least stays what it is"
