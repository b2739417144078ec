"""Counting on from a clock's last step, as the clock itself counts."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from handlers.time_manager.anchor import Anchor as Clock
from worldbus_client import Anchor, world_time

ANSWER = {
    "anchor": {
        "at": "2026-11-22T12:00:00.25Z", "world_ms": 60_000, "owed_thousandths": 7, "scale": 60_000, "running": True, "rests_ms": 310_000,
    }
}  # fmt: skip
AT = 1_795_348_800.25


def test_an_answer_of_the_gateway_is_read() -> None:
    assert Anchor.of_answer(ANSWER) == Anchor(AT, 60_000, 60_000, True, 310_000, 7)


@given(st.integers(0, 10**12), st.integers(1, 3_600_000), st.integers(0, 999), st.integers(0, 310_000))
def test_it_counts_as_the_clock_does(world_ms: int, scale: int, owed: int, passed_ms: int) -> None:
    anchor = Anchor(AT, world_ms, scale, rests_ms=310_000, owed_thousandths=owed)
    clock = Clock(world_ms=world_ms, real_ms=0, scale=scale, owed=owed)

    assert world_time(anchor, AT + passed_ms / 1000) == (clock.world_at(passed_ms) if passed_ms else world_ms)


def test_it_stands_before_the_step_when_paused_and_behind_the_rest() -> None:
    anchor = Anchor.of_answer(ANSWER)

    assert world_time(anchor, AT - 100) == 60_000
    assert world_time(anchor, AT + 310) == world_time(anchor, AT + 10_000) == 60_000 + 310_000 * 60
    assert world_time(Anchor(AT, 60_000, 60_000, running=False, rests_ms=310_000), AT + 10) == 60_000
    assert world_time(Anchor(time.time() - 10, 0, 1000, rests_ms=310_000)) >= 10_000
