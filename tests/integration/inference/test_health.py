"""What a worker says of its engine: failures are counted, and a change is told at once."""

from __future__ import annotations

import asyncio
from typing import Any

from bus.connection import Connection
from bus.log import Log
from bus.publisher import Publisher
from inference.engines.grammar import GrammarEngine
from inference.engines.timed import Pace, TimedEngine
from inference.keeper import Keeper
from inference.settings import WorkerSettings
from inference.worker import run_worker
from tests.integration.inference.conftest import LADDERS, Game, Until


async def test_failures_are_counted_and_an_engine_that_goes_down_is_told_at_once(
    game: Game, connection: Connection, log: Log, publisher: Publisher, until: Until
) -> None:
    engine, grammar = TimedEngine(Pace(first=0.001, per_token=0.02)), GrammarEngine()
    settings = WorkerSettings(tier="gold", name="w1", report_s=3600.0, reopen_s=0.05)
    async with grammar.open(), run_worker(connection, log, publisher, LADDERS, settings, engine=engine, grammar=grammar) as worker:
        await until(lambda: worker.up)
        await game.ask(max_tokens=60, budget_ms=3000)
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
