"""Traps 1 to 4 of the peers: deadlines that are not kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from inference.deadlines import MAX_AHEAD_MS, MS, deadline_problem
from inference.engines.timed import Pace
from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceRequested
from tests.engines import TimedEngine
from tests.integration.inference.conftest import PATIENT, Game, Run


async def test_trap_1_expired_deadline_treated_as_most_urgent(game: Game, run: Run) -> None:
    """llm-d-batch-gateway#296: a negative time left sorts before every other one. Here it costs no token and no call."""
    engine = TimedEngine(Pace(first=0.001, per_token=0.001))
    for _ in range(5):
        await game.ask(budget_ms=1)
    await asyncio.sleep(0.02)
    async with run(engine):
        ends = await game.ends(5)

    assert {event.name for event in ends.values()} == {"InferenceExpired"}
    assert {cast(Any, event.data).stage for event in ends.values()} == {"arrival"}
    assert engine.tokens == 0
    assert engine.calls == 0


async def test_trap_2_producer_accepts_expired_work(game: Game, run: Run) -> None:
    """llm-d-async#150: what had expired when it was asked went to the GPU. Here it ends at once, and says by how much."""
    now = 1_800_000_000_000 * MS
    assert deadline_problem(InferenceRequested(deadline_ms=1), now) == ""
    assert "found neither" in deadline_problem(InferenceRequested(), now)
    assert str(MAX_AHEAD_MS) in deadline_problem(InferenceRequested(deadline_ms=now // MS + MAX_AHEAD_MS + 1), now)
    assert deadline_problem(InferenceRequested(budget_ms=-1), now)

    engine = TimedEngine(Pace(first=0.001, per_token=0.001))
    async with run(engine):
        past = await game.ask(deadline_ms=1_700_000_000_000, budget_ms=0)
        both = await game.ask(deadline_ms=1_700_000_000_000, budget_ms=60_000)
        ends = await game.ends(2)

    for one in (past, both):
        end = cast(Any, ends[one.request_id].data)
        assert (end.DESCRIPTOR.name, end.stage) == ("InferenceExpired", "arrival")
        assert end.late_ms > 1_000_000_000
        assert end.measured.completion_tokens == 0
    assert (engine.calls, engine.tokens) == (0, 0)


async def test_trap_3_queue_timer_that_only_fires_when_the_gpu_frees(game: Game, run: Run) -> None:
    """triton#7512: a time limit that is looked at only when the scheduler runs next. Here it fires while every slot is taken."""
    async with run(TimedEngine(Pace(first=0.01, per_token=0.05), slots=1), ladders=PATIENT):
        await game.ask(max_tokens=100, budget_ms=10_000, salience=1.0)
        await asyncio.sleep(0.05)
        waiting = await game.ask(max_tokens=8, budget_ms=3000, salience=0.1)
        while not (ends := await game.said("InferenceDegraded", "InferenceExpired")):
            await asyncio.sleep(0.01)

        assert [cast(Any, event.data).request_id for event in ends] == [waiting.request_id]
        assert cast(Any, ends[0].data).code == "no_slot"
        assert cast(Any, ends[0].data).rung == "grammar"
        assert ends[0].recorded_ns <= cast(Any, ends[0].data).measured.clock_offset_us * 1000 + await _deadline(game, waiting.request_id)


async def _deadline(game: Game, request_id: str) -> int:
    async for events in game.log.read():
        for event in events:
            if event.name == "InferenceRequested" and cast(Any, event.data).request_id == request_id:
                return event.recorded_ns + int(cast(Any, event.data).budget_ms) * MS
    raise AssertionError(request_id)


class Cold(TimedEngine):
    """Takes as long to come up as a machine that is bought for it."""

    def __init__(self) -> None:
        super().__init__(Pace(first=0.001, per_token=0.001))
        self.bought = asyncio.Event()

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[None]:
        await self.bought.wait()
        async with super()._opened():
            yield


async def test_trap_4_timer_that_does_not_start_while_scaled_to_zero(game: Game, run: Run) -> None:
    """BentoCloud: the time limit begins when a worker is up. Here it runs from the recording on, with nobody there."""
    missed = await game.ask(budget_ms=100)
    in_time = await game.ask(budget_ms=20_000)
    await asyncio.sleep(0.5)  # nobody is there
    engine = TimedEngine(Pace(first=0.001, per_token=0.001))
    async with run(engine):
        ends = await game.ends(2)

    expired, completed = (cast(Any, ends[one.request_id].data) for one in (missed, in_time))
    assert (expired.DESCRIPTOR.name, expired.stage) == ("InferenceExpired", "arrival")
    assert expired.late_ms > 0
    assert completed.DESCRIPTOR.name == "InferenceCompleted"
    assert completed.measured.queue_us >= 450_000, "the time without a worker is time in the queue"
    assert engine.calls == 1


async def test_trap_4_timer_that_does_not_start_while_the_model_loads(game: Game, run: Run) -> None:
    """The same trap one level deeper: a worker is there, its model is not."""
    engine = Cold()
    async with run(engine, wait=False, ladders=PATIENT):
        urgent = await game.ask(budget_ms=3000)
        ends = await game.ends(1)
        end = cast(Any, ends[urgent.request_id].data)

        assert (end.DESCRIPTOR.name, end.code) == ("InferenceDegraded", "no_engine"), "answered by its deadline, not expired"
        engine.bought.set()
