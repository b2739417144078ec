"""A killed member's partitions are answered by the other one. How soon is a figure of `worldbus bench chaos`: machines differ."""

from __future__ import annotations

import pytest

from bench.chaos import handovers
from bench.chaos.handovers import slowest, verdict
from tests.chaos.doctored import Scribe


def test_the_slowest_answer_of_the_span_counts() -> None:
    scribe = Scribe()
    first, second = scribe.move("a", "quay"), scribe.move("b", "quay")  # recorded at 1 and 2 ns
    scribe.answer(first)  # at 3 and 4
    scribe.answer(second)  # at 5 and 6

    assert slowest(scribe.history, 0, 10) == pytest.approx(3e-9)
    assert slowest(scribe.history, 0, 1) == pytest.approx(2e-9)


@pytest.mark.timeout(400)
async def test_the_other_member_answers_after_a_kill() -> None:
    found = await handovers.run(1, 20261122)

    assert [str(violation) for violation in found.violations if violation.rule != "H3"] == []  # how soon depends on the machine
    assert found.worst_s > 0


def test_a_hand_over_that_takes_too_long_is_a_broken_promise() -> None:
    assert verdict([2.0, 3.1], [0.1, 0.2]) == []
    assert [violation.rule for violation in verdict([2.0, 3.3, 9.0], [0.1, 0.2, 7.0])] == ["H3"]
