"""The kill test, in small: every kind of fault at least once, and no broken promise. `make chaos` is the long one."""

from __future__ import annotations

import pytest

from bench.chaos import kills

SEEDS = (20261122,)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("seed", SEEDS)
async def test_nothing_is_lost_doubled_or_out_of_order(seed: int) -> None:
    found = await kills.run(22, seed)

    assert [str(violation) for violation in found.violations] == []
    assert found.unexpected_ends == []
    assert {"kill nats", "kill handlers", "kill projector", "kill postgres", "kill backend", "pause handlers"} <= set(found.faults)
    assert found.acked > 100
    assert found.samples > 0
