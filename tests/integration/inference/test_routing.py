"""Routing acted upon: a tier that is full or broken is helped out by another one, and `verify` makes every decision again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast

import pytest

from bus.connection import Connection
from bus.event import Event
from bus.log import Log
from bus.publisher import Publisher
from bus.runtime import run_handlers
from bus.signals import signal
from bus.verify import verify
from handlers.router.tiers import LANES
from inference import consult
from inference.consult import lane_of
from inference.delivery import hear
from inference.engine import Engine
from inference.engines.timed import Pace
from inference.settings import WorkerSettings
from inference.worker import Worker, run_worker
from tests.duskmarket import router
from tests.engines import GrammarEngine, TimedEngine
from tests.integration.inference.conftest import LADDERS, WORLD, Game, Until

QUICK = Pace(first=0.001, per_token=0.001)


class Site:
    """A router and workers of several tiers on one log."""

    def __init__(self, connection: Connection, log: Log, publisher: Publisher) -> None:
        self.connection, self.log, self.publisher = connection, log, publisher

    @asynccontextmanager
    async def tiers(self, *, routed: bool = True, reopen_s: float = 0.02, **engines: Engine | None) -> AsyncIterator[dict[str, Worker]]:
        """Workers by tier; each knows the others. Each promises what its engine shows, not what hardware is believed to do."""
        async with AsyncExitStack() as stack:
            if routed:
                await stack.enter_async_context(run_handlers(self.connection, self.log, [router]))
            grammar = GrammarEngine()
            await stack.enter_async_context(grammar.open())
            workers = {}
            for tier, engine in engines.items():
                settings = WorkerSettings(tier=tier, name=f"{tier}-1", reopen_s=reopen_s, report_s=0.1, drain_s=0.0)
                workers[tier] = await stack.enter_async_context(
                    run_worker(self.connection, self.log, self.publisher, LADDERS, settings, engine=engine, grammar=grammar)
                )
            while not all(worker.up or engines[tier] is None for tier, worker in workers.items()) or not _acquainted(workers):
                await asyncio.sleep(0.005)
            yield workers

    async def routing(self) -> list[Any]:
        """What the router said, in order."""
        return [event.data async for events in self.log.read() for event in events if event.name == "InferenceRouted"]

    async def redecided(self) -> int:
        """How many decisions of the router come out again as they were recorded; fails if one does not."""
        events: list[Event] = [event async for some in self.log.read() for event in some]
        report = verify([router], events, partitions=self.log.partitions)
        assert report.differences == (), report
        return report.identical


def _acquainted(workers: dict[str, Worker]) -> bool:
    up = sum(worker.up for worker in workers.values())
    return all(len(list(worker.vitals.up())) == up for worker in workers.values())


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine the router's word takes longer than a tenth of a second."""
    monkeypatch.setattr(consult, "ASIDE_S", 3.0)


@pytest.fixture
def site(connection: Connection, log: Log, publisher: Publisher) -> Site:
    return Site(connection, log, publisher)


async def _busy(game: Game, until: Until, tier: str, worker: Worker) -> None:
    """Take the only slot of a worker for a long time."""
    await game.ask(tier=tier, max_tokens=1000, budget_ms=60_000, entity=f"long-{tier}", salience=1.0, cancel_key="long")
    await until(lambda: len(worker.running) == 1)
    engine = cast(TimedEngine, worker.engine)
    await until(lambda: engine.tokens > 3)


async def _free(game: Game, site: Site, ends: int) -> None:
    signal(site.connection, f"sig.{WORLD}.cancel.long")
    await game.ends(ends)


async def test_gold_that_is_full_is_helped_out_by_silver_when_there_is_time_and_not_when_there_is_none(
    site: Site, game: Game, until: Until
) -> None:
    slow, quick = TimedEngine(Pace(first=0.001, per_token=0.05), slots=1), TimedEngine(QUICK, slots=4)
    async with site.tiers(gold=slow, silver=quick) as workers:
        await _busy(game, until, "gold", workers["gold"])
        relaxed = await game.ask(budget_ms=10_000, max_tokens=12)
        end = (await game.ends(1))[relaxed.request_id]
        assert (end.name, cast(Any, end.data).rung, cast(Any, end.data).tier) == ("InferenceCompleted", "full", "silver")
        spoken = [chunk.text async for chunk in hear(site.connection, WORLD, relaxed.request_id)]
        assert "".join(spoken) == cast(Any, end.data).text

        pressed = await game.ask(budget_ms=300, max_tokens=12)
        end = (await game.ends(2))[pressed.request_id]
        assert (end.name, cast(Any, end.data).tier) == ("InferenceDegraded", "gold")
        await _free(game, site, 3)

        assert [(one.request_id, one.asked, one.tier, one.code) for one in await site.routing()] == [
            (relaxed.request_id, "gold", "silver", "overflow"),
            (pressed.request_id, "gold", "gold", "no_better"),
        ]
        assert "silver needs" in (await site.routing())[1].reason
        await until(lambda: not any(worker.held for worker in workers.values()))
    assert await site.redecided() >= 2


async def test_silver_that_is_full_is_helped_out_by_golds_free_slots_only(site: Site, game: Game, until: Until) -> None:
    silver, gold = TimedEngine(Pace(first=0.001, per_token=0.05), slots=1), TimedEngine(Pace(first=0.001, per_token=0.02), slots=1)
    async with site.tiers(silver=silver, gold=gold) as workers:
        await _busy(game, until, "silver", workers["silver"])
        helped = await game.ask(tier="silver", budget_ms=10_000, max_tokens=8)
        end = (await game.ends(1))[helped.request_id]
        assert (end.name, cast(Any, end.data).tier) == ("InferenceCompleted", "gold")

        await _busy(game, until, "gold", workers["gold"])
        await until(lambda: all(one.free == 0 for one in workers["silver"].vitals.up()))
        alone = await game.ask(tier="silver", budget_ms=2500, max_tokens=8)
        end = (await game.ends(2))[alone.request_id]
        assert (end.name, cast(Any, end.data).tier) == ("InferenceDegraded", "silver")
        await _free(game, site, 4)

        assert [(one.asked, one.tier) for one in await site.routing()] == [("silver", "gold"), ("silver", "silver")]
        assert "gold has no free slot" in (await site.routing())[1].reason
    await site.redecided()


async def test_gold_whose_engine_is_broken_is_helped_out_by_silver_until_it_is_back(site: Site, game: Game, until: Until) -> None:
    gold = TimedEngine(QUICK)
    async with site.tiers(reopen_s=4.0, gold=gold, silver=TimedEngine(QUICK)) as workers:
        gold.break_down()
        asked = [await game.ask(budget_ms=10_000, max_tokens=8)]
        await until(lambda: not workers["gold"].up)
        await until(lambda: all(one.tier == "silver" for one in workers["gold"].vitals.up()))
        asked += [await game.ask(budget_ms=10_000, max_tokens=8, entity=f"n{number}") for number in range(5)]
        ends = await game.ends(6)
        assert {(event.name, cast(Any, event.data).tier) for event in ends.values()} == {("InferenceCompleted", "silver")}
        assert {one.code for one in await site.routing()} == {"broken"}

        await until(lambda: workers["gold"].up)
        after = await game.ask(budget_ms=10_000, max_tokens=8)
        assert cast(Any, (await game.ends(7))[after.request_id].data).tier == "gold"
    assert await site.redecided() >= 6


async def test_without_a_router_the_holders_own_ladder_answers_in_time(site: Site, game: Game, until: Until) -> None:
    slow, quick = TimedEngine(Pace(first=0.001, per_token=0.05), slots=1), TimedEngine(QUICK)
    async with site.tiers(routed=False, gold=slow, silver=quick) as workers:
        await _busy(game, until, "gold", workers["gold"])
        request = await game.ask(budget_ms=3000, max_tokens=12)
        end = (await game.ends(1))[request.request_id]
        assert (end.name, cast(Any, end.data).tier) == ("InferenceDegraded", "gold")
        await _free(game, site, 2)
    assert await site.routing() == []


async def test_a_request_that_is_set_aside_can_be_called_off(site: Site, game: Game, until: Until) -> None:
    slow, quick = TimedEngine(Pace(first=0.001, per_token=0.05), slots=1), TimedEngine(QUICK)
    async with site.tiers(routed=False, gold=slow, silver=quick) as workers:
        await _busy(game, until, "gold", workers["gold"])
        request = await game.ask(budget_ms=10_000, max_tokens=12)
        await until(lambda: len(workers["gold"].consult) == 1)
        signal(site.connection, f"sig.{WORLD}.cancel.{request.request_id}", b"left")
        end = (await game.ends(1))[request.request_id]

        assert (end.name, cast(Any, end.data).reason) == ("InferenceCancelled", "left")
        assert len(workers["gold"].consult) == 0
        await _free(game, site, 2)


async def test_a_worker_that_stops_hands_back_what_it_has_set_aside(site: Site, game: Game, until: Until) -> None:
    slow, quick = TimedEngine(Pace(first=0.001, per_token=0.05), slots=1), TimedEngine(QUICK)
    async with site.tiers(routed=False, gold=slow, silver=quick) as workers:
        await _busy(game, until, "gold", workers["gold"])
        request = await game.ask(budget_ms=9000, max_tokens=150)
        await until(lambda: len(workers["gold"].consult) == 1)
        await workers["gold"].drain()
        assert len(workers["gold"].consult) == 0
        assert not any(work.ask.id == request.request_id for work in workers["gold"].held.values())
    async with site.tiers(gold=TimedEngine(QUICK)):
        assert (await game.ends(2))[request.request_id].name == "InferenceCompleted"


async def test_a_tier_with_room_consults_nobody(site: Site, game: Game) -> None:
    async with site.tiers(gold=TimedEngine(QUICK), silver=TimedEngine(QUICK)):
        for number in range(30):
            await game.ask(budget_ms=10_000, max_tokens=4, entity=f"n{number % 5}")
        ends = await game.ends(30)

    assert {cast(Any, event.data).tier for event in ends.values()} == {"gold"}
    assert await site.routing() == []


def test_workers_and_the_router_mean_the_same_lanes() -> None:
    for tier, lanes in LANES.items():
        assert {lane_of(tier, f"r{number}") for number in range(200)} == set(lanes)
