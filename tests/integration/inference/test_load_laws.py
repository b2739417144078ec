"""What holds under any load, with a real worker and an engine of stated speed. Counts and orders, not times."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any, cast

from bench.load.engines import Watched
from inference.cancel import Cancel
from inference.engines.timed import Pace
from inference.ladder import ENGINE_RUNGS
from tests.engines import TimedEngine
from tests.integration.inference.conftest import PATIENT, WORLD, Game, Run, Until


async def test_ten_times_what_can_be_served_is_all_answered_in_time_and_all_that_is_begun_by_the_model(game: Game, run: Run) -> None:
    engine = Watched(TimedEngine(Pace(first=0.01, per_token=0.01), slots=2))
    async with run(engine, ladders=PATIENT) as worker:
        for number in range(300):
            await game.ask(max_tokens=12, budget_ms=4000, player=f"p{number % 30}", entity=f"n{number % 50}")
        ends = {name: (event.name, cast(Any, event.data)) for name, event in (await game.ends(300)).items()}

    assert Counter(kind for kind, _ in ends.values()).keys() == {"InferenceCompleted", "InferenceDegraded"}
    assert worker.metrics.counts["spoken"] == 300
    begun = [data for _, data in ends.values() if data.measured.engine == "timed"]
    assert {data.rung for data in begun} <= set(ENGINE_RUNGS)
    assert len(begun) == len(engine.called)
    assert 10 <= len(begun) < 150


async def test_what_came_expired_costs_the_engine_nothing_and_is_no_more_urgent_than_what_is_alive(game: Game, run: Run) -> None:
    engine = Watched(TimedEngine(Pace(first=0.01, per_token=0.01), slots=2))
    async with run(engine):
        dead = [
            await game.ask(budget_ms=0, deadline_ms=time.time_ns() // 1_000_000 - 1 - 100 * number, salience=1.0, entity=f"n{number}")
            for number in range(40)
        ]
        alive = [await game.ask(max_tokens=4, budget_ms=20_000, entity=f"n{number}") for number in range(20)]
        ends = await game.ends(60)

    assert {(ends[one.request_id].name, cast(Any, ends[one.request_id].data).stage) for one in dead} == {("InferenceExpired", "arrival")}
    assert {ends[one.request_id].name for one in alive} == {"InferenceCompleted"}
    assert set(engine.called) == {one.request_id for one in alive}


async def test_a_player_who_fills_the_engine_makes_room_for_another_at_once(game: Game, run: Run, until: Until) -> None:
    engine = Watched(TimedEngine(Pace(first=0.01, per_token=0.05), slots=4))
    async with run(engine) as worker:
        for number in range(12):
            await game.ask(max_tokens=60, budget_ms=60_000, player="noisy", entity=f"n{number}")
        await until(lambda: len(worker.running) == 4 and all(engine.moments.get(work.ask.id) for work in worker.running))
        other = await game.ask(max_tokens=4, budget_ms=60_000, player="other", entity="other")
        await until(lambda: other.request_id in engine.called)
        order = list(engine.called)

    assert order.index(other.request_id) == 4, "the next to begin, before eight that came before it"
    assert worker.metrics.counts["preempted"] == 1


async def test_nothing_is_generated_once_a_stop_is_known(game: Game, run: Run, until: Until) -> None:
    engine = Watched(TimedEngine(Pace(first=0.01, per_token=0.01), slots=4))
    async with run(engine) as worker:
        asked = [await game.ask(max_tokens=400, budget_ms=60_000, player=f"p{number}", entity=f"n{number}") for number in range(4)]
        await until(lambda: all(engine.moments.get(one.request_id) for one in asked))
        for one in asked:
            worker.intake.on_cancel(Cancel(WORLD, one.request_id, "", "barge-in", worker.clock.now_ns()))
        generated = engine.tokens
        ends = await game.ends(4)

    assert {event.name for event in ends.values()} == {"InferenceCancelled"}
    assert engine.tokens == generated
    assert sum(cast(Any, event.data).measured.completion_tokens for event in ends.values()) == generated
