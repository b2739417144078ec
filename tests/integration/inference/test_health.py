"""What a worker says of its engine: failures are counted, and a change is told at once."""

from __future__ import annotations

import asyncio
from typing import Any

from bus.connection import Connection
from bus.log import Log
from bus.publisher import Publisher
from inference.engines.timed import Pace
from inference.health import is_news
from inference.keeper import Keeper
from inference.settings import WorkerSettings
from inference.worker import run_worker
from schemas.gen.worldbus.inference.v1.inference_pb2 import ModelHealthReported
from tests.engines import GrammarEngine, TimedEngine
from tests.integration.inference.conftest import LADDERS, Game, Until


async def test_failures_are_counted_and_an_engine_that_goes_down_is_told_at_once(
    game: Game, connection: Connection, log: Log, publisher: Publisher, until: Until
) -> None:
    engine, grammar = TimedEngine(Pace(first=0.001, per_token=0.02)), GrammarEngine()
    settings = WorkerSettings(tier="gold", name="w1", report_s=3600.0, reopen_s=0.05)
    async with grammar.open(), run_worker(connection, log, publisher, LADDERS, settings, engine=engine, grammar=grammar) as worker:
        await until(lambda: worker.up)
        while not await game.said("ModelHealthReported"):
            await asyncio.sleep(0.02)
        await game.ask(max_tokens=60, budget_ms=20_000)
        await until(lambda: any(work.kept > 2 for work in worker.running))
        engine.break_down()
        await game.ends(1)
        reports: list[Any] = []
        while sum(report.failures for report in reports) < 1 or not reports[-1].ready:
            await asyncio.sleep(0.02)
            reports = [event.data for event in await game.said("ModelHealthReported")]

    assert reports[0].ready
    assert all(report.failures <= report.requests for report in reports)
    assert sum(report.failures for report in reports) == 1


async def test_an_idle_worker_says_nothing_more(game: Game, connection: Connection, log: Log, publisher: Publisher, until: Until) -> None:
    engine, grammar = TimedEngine(Pace(first=0.001, per_token=0.001)), GrammarEngine()
    settings = WorkerSettings(tier="gold", name="w1", report_s=0.01)
    async with grammar.open(), run_worker(connection, log, publisher, LADDERS, settings, engine=engine, grammar=grammar):

        async def settled(requests: int) -> list[Any]:
            """The reports, once they tell of so many requests, and of an engine that is idle again."""
            while True:
                found = [event.data for event in await game.said("ModelHealthReported")]
                if found and sum(one.requests for one in found) == requests and found[-1].free_slots == engine.slots:
                    return found
                await asyncio.sleep(0.01)

        for asked in range(3):
            if asked:
                await game.ask(max_tokens=5, budget_ms=5000)
            await settled(asked)
            await asyncio.sleep(0.5)  # fifty spans in which nothing happens
        found = await settled(2)

    idle = [report for report in found if report.ready and not report.requests and report.free_slots == engine.slots]
    assert len(idle) <= 3, "once at the start, and once after each request at most"


def _stood(**fields: Any) -> ModelHealthReported:
    return ModelHealthReported(**{"tier": "gold", "worker": "w1", "ready": True, "slots": 2, "free_slots": 2, "span_ms": 10, **fields})


def test_only_what_happened_or_changed_is_news() -> None:
    told = _stood(requests=3)

    assert not is_news(_stood(span_ms=9_000), told)
    assert is_news(told, None)
    for fields in ({"requests": 1}, {"requests": 1, "failures": 1}, {"late": 1}, {"free_slots": 0}, {"slots": 1, "free_slots": 1}):
        assert is_news(_stood(**fields), told), fields
    down = _stood(ready=False, free_slots=0)
    assert is_news(down, told)
    assert is_news(down, down), "model management counts the reports of an engine that stays down"


async def test_an_engine_that_fails_without_an_answer_between_is_left_alone_for_longer_each_time(until: Until) -> None:
    engine = TimedEngine()
    keeper = Keeper(engine, warm=(), reopen_s=0.01, keep_warm_s=0.0, changed=lambda: None)
    task = asyncio.create_task(keeper.run())
    pauses = []
    for _ in range(4):
        await until(lambda: keeper.up)
        pauses.append(keeper._pause_s)
        keeper.fail("a test")
        await until(lambda: not keeper.up)
    await until(lambda: keeper.up)
    keeper.proved()
    assert pauses == [0.01, 0.02, 0.04, 0.08]
    assert keeper._pause_s == 0.01
    assert keeper.failures == 4
    task.cancel()
