"""A killed member's partitions are answered by the other one. How soon is a figure of `worldbus bench chaos`: machines differ."""

from __future__ import annotations

import pytest

from bench.chaos import handovers
from bench.chaos.handovers import slowest
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

    assert [str(violation) for violation in found.violations] == []
    assert 0 < found.worst_s < 60
