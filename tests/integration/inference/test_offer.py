"""A load offered on a bus that is there: the players are the benchmark's, the workers are somebody else's."""

from __future__ import annotations

from bench.load.offer import offer
from bench.load.script import Script
from inference.engines.timed import Pace
from tests.engines import TimedEngine
from tests.integration.inference.conftest import Run
from worldbus.embedded import NatsServer


async def test_a_load_on_a_bus_that_is_there_is_accounted_for_to_the_last_request(run: Run, nats_server: NatsServer) -> None:
    async with run(TimedEngine(Pace(first=0.005, per_token=0.001), slots=4)) as worker:
        figures = {one.name: one for one in await offer(nats_server.url, Script(budget_ms=10_000), 30.0, 1.0, burstiness=0.5)}
        offered = worker.metrics.counts["offered"]

    assert figures["offered"].value == offered > 0
    assert figures["offered_speakable"].value == 1
    assert figures["offered_rung_full"].value == 1
    assert figures["offered_tokens"].value > 0
    assert figures["offered_cost"].value == 0, "this worker has no price per token"
