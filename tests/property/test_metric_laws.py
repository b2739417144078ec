"""The measures agree with naive readings of their definitions, and with values worked out by hand."""

from __future__ import annotations

import math
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldbus.evaluation.metrics import dcg, mean, ndcg, percentile, recall, reciprocal_rank, separation

things = st.integers(0, 7)
rankings = st.lists(things, max_size=10)
judged = st.dictionaries(things, st.integers(0, 3), max_size=6)
scores = st.lists(st.integers(0, 5).map(float), max_size=8)


@given(rankings, judged, st.integers(1, 10))
def test_recall_is_found_relevant_over_relevant(ranked: list[int], grades: dict[int, int], most: int) -> None:
    relevant = [thing for thing in grades if grades[thing] >= 1]
    found = [thing for thing in relevant if thing in ranked[:most]]

    assert recall(ranked, grades, most) == pytest.approx(len(found) / len(relevant) if relevant else 1.0)


@given(rankings, judged)
def test_the_reciprocal_rank_is_that_of_the_first_relevant_one(ranked: list[int], grades: dict[int, int]) -> None:
    expected = 0.0
    for index in reversed(range(len(ranked))):
        if grades.get(ranked[index], 0) >= 1:
            expected = 1 / (index + 1)

    assert reciprocal_rank(ranked, grades) == expected


@given(rankings, judged, st.integers(1, 10))
def test_ndcg_is_dcg_over_the_best_dcg_of_any_order(ranked: list[int], grades: dict[int, int], most: int) -> None:
    total, seen = 0.0, list[int]()
    for index in range(min(most, len(ranked))):
        thing = ranked[index]
        total += (grades.get(thing, 0) if thing not in seen else 0) / (math.log(index + 2) / math.log(2))
        seen.append(thing)
    best = max(sum(grades[thing] / math.log2(place + 2) for place, thing in enumerate(order[:most])) for order in permutations(grades))

    assert ndcg(ranked, grades, most) == pytest.approx(total / best if best else 1.0)
    assert 0 <= ndcg(ranked, grades, most) <= 1 + 1e-9


@given(judged, st.integers(1, 10))
def test_the_best_order_is_worth_one(grades: dict[int, int], most: int) -> None:
    assert ndcg(sorted(grades, key=lambda thing: -grades[thing]), grades, most) == pytest.approx(1.0)


@given(scores, scores)
def test_separation_is_the_share_of_pairs_in_the_right_order(one: list[float], other: list[float]) -> None:
    pairs = [1.0 if a > b else 0.5 if a == b else 0.0 for a in one for b in other]

    assert separation(one, other) == pytest.approx(sum(pairs) / len(pairs) if pairs else 1.0)
    if one and other:
        assert separation(one, other) + separation(other, one) == pytest.approx(1.0)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=60), st.integers(1, 100))
def test_a_percentile_is_the_least_value_that_so_many_do_not_exceed(values: list[float], percent: int) -> None:
    found = percentile(values, percent)

    assert found in values
    assert 100 * sum(value <= found for value in values) >= percent * len(values)
    assert all(100 * sum(value <= lower for value in values) < percent * len(values) for lower in values if lower < found)


def test_values_worked_out_by_hand() -> None:
    # 3, 2, 3, 0, 1, 2 at places 1 to 6: 3 + 1.262 + 1.5 + 0 + 0.387 + 0.712; the best order 3, 3, 2, 2, 1: 3 + 1.893 + 1 + 0.861 + 0.387
    assert dcg([3, 2, 3, 0, 1, 2]) == pytest.approx(6.861, abs=1e-3)
    grades = {"a": 3, "b": 2, "c": 3, "d": 0, "e": 1, "f": 2}
    assert ndcg("abcdef", grades, 10) == pytest.approx(6.861 / 7.141, abs=1e-3)
    assert recall("xaxb", {"a": 1, "b": 1, "c": 1}, 4) == pytest.approx(2 / 3)
    assert reciprocal_rank("xxa", {"a": 1}) == pytest.approx(1 / 3)
    assert percentile([5.0, 1.0, 3.0, 2.0, 4.0], 95) == 5.0
    assert percentile([], 95) == 0.0
    assert mean([1.0, 2.0]) == 1.5
    assert mean([]) == 0.0
