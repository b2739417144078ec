"""Traps 9, 10 and 11 of the peers: figures that look well and are not."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from bus.connection import Connection, connect
from bus.errors import WorldbusError
from bus.log import Log, open_log
from bus.runtime import run_handlers
from inference.engines.timed import Pace
from inference.ladder import ENGINE_RUNGS
from inference.metrics import BUCKETS
from inference.tiers import TIERS
from tests.duskmarket import player
from tests.engines import TimedEngine
from tests.integration.inference.conftest import Game, Run
from worldbus.cli.lag import _handler
from worldbus.embedded import NatsServer
from worldbus.lag import consumers, queues


async def test_trap_9_shedding_invisible_in_goodput(game: Game, run: Run) -> None:
    """arXiv 2410.14257: who refuses most has the best goodput, because what was refused is in no list. Here every request is offered,
    and only a model's answer in time attains: lines without a model are counted by themselves."""
    async with run(TimedEngine(Pace(first=0.02, per_token=0.01), slots=1)) as worker:
        for number in range(100):
            await game.ask(max_tokens=20, budget_ms=1500, player=f"p{number}", entity=f"n{number % 9}")
        ends = await game.ends(100)
        counts, rungs = worker.metrics.counts, worker.metrics.rungs
        shown = worker.metrics.exposition()

    of_models = [event for event in ends.values() if cast(Any, event.data).rung in ENGINE_RUNGS]
    assert counts["offered"] == 100 == sum(counts[how] for how in ("completed", "degraded", "expired", "cancelled", "rejected"))
    assert 0 < counts["attained"] <= len(of_models) < 60, "one slot does not do a hundred answers in 1.5 s: most were shed"
    assert counts["attained"] < counts["spoken"] <= 100, "and yet something was said to nearly everybody"
    assert sum(rungs.values()) == counts["completed"] + counts["degraded"]
    assert _figure(shown, "requests_total", 'what="offered"') == 100
    assert _figure(shown, "requests_total", 'what="attained"') == counts["attained"]
    assert _figure(shown, "rungs_total", 'rung="grammar"') > 0


def _figure(shown: str, name: str, label: str) -> float:
    (line,) = [line for line in shown.splitlines() if line.startswith(f"worldbus_inference_{name}{{") and label in line]
    return float(line.rpartition(" ")[2])


async def test_trap_10_scaler_reads_0_for_what_it_cannot_see(log: Log, connection: Connection) -> None:
    """noetl#597: with the wrong account the backlog reads 0, and everything is scaled down. Here what nobody knows is no number."""
    unseen = _handler(player.name, await consumers(log, [player]))
    assert (unseen["waiting"], unseen["open"], unseen["behind"], unseen["never_ran"]) == (None, None, None, True)
    assert [one.exists for one in await queues(log)] == [False] * len(TIERS)

    async with run_handlers(connection, log, [player]):
        seen = _handler(player.name, await consumers(log, [player]))
        while seen["behind"] is None:
            await asyncio.sleep(0.02)
            seen = _handler(player.name, await consumers(log, [player]))
    assert (seen["waiting"], seen["open"], seen["behind"], seen["never_ran"]) == (0, 0, 0, False)


async def test_trap_10_a_place_that_is_known_in_part_is_not_known(log: Log, connection: Connection) -> None:
    """One partition of eight has no consumer: the sum over the seven others is no answer."""
    async with run_handlers(connection, log, [player]):
        places = await consumers(log, [player])
        while not all(one.exists for one in places):
            await asyncio.sleep(0.02)
            places = await consumers(log, [player])
    await connection.api(f"CONSUMER.DELETE.{log.name}.{places[0].name}")

    found = _handler(player.name, await consumers(log, [player]))
    assert (found["behind"], found["never_ran"]) == (None, False)


async def test_trap_10_a_server_that_does_not_answer_is_an_error_and_not_0(tmp_path: Path) -> None:
    """keda#7322: a follower that lost its leader goes on telling its last number. Here only the consumer's leader is asked, and its silence
    is an error."""
    server = NatsServer(tmp_path / "nats", password="only-for-tests", strict=False)
    server.start()
    try:
        async with connect(server.url, name="test") as connection:
            log = await open_log(connection)
            server.stop()
            with pytest.raises(WorldbusError):
                await consumers(log, [player])
            with pytest.raises(WorldbusError):
                await queues(log)
    finally:
        server.stop()


async def test_trap_10_backlog_of_a_tier_is_seen_before_any_worker_takes_it(game: Game, run: Run, log: Log) -> None:
    """What waits for a tier whose workers are gone is still counted."""
    async with run(None):
        pass
    for _ in range(7):
        await game.ask(budget_ms=60_000)

    gold = {one.handler: one for one in await queues(log)}["gold"]
    assert (gold.exists, gold.waiting + gold.open) == (True, 7)


def test_trap_11_histograms_that_cannot_resolve_the_slo() -> None:
    """vLLM: the first bucket of a request's time ends at 0.3 s, so a promise of 0.1 s cannot be seen. Here every promise is a bucket's
    bound, and its neighbours are near enough to see by how much it is kept."""
    promises = {limit / 1000 for tier in TIERS.values() for limit in (tier.first_chunk_ms, tier.answer_ms) if limit} | {0.016, 0.030}

    assert promises <= set(BUCKETS)
    assert sum(0.005 <= bound <= 0.200 for bound in BUCKETS) >= 10
    for promise in promises:
        at = BUCKETS.index(promise)
        assert BUCKETS[at - 1] >= 0.5 * promise
        assert BUCKETS[at + 1] <= 2 * promise


def _names() -> Iterator[tuple[str, str]]:
    for file in sorted(Path(__file__).parent.glob("test_*.py")):
        for name in re.findall(r"^(?:async )?def (test_trap_\d+_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE):
            yield file.name, name


def test_every_trap_of_the_peers_has_a_test_by_its_name() -> None:
    assert {int(name.split("_")[2]) for _, name in _names()} == set(range(1, 16))
