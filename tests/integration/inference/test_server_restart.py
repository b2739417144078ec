"""The server is killed while an answer is spoken: nothing is spoken twice, nothing is lost, and a successor knows what was heard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_asyncio

from bus.connection import Connection, connect
from bus.log import Log, open_log
from bus.publisher import open_publisher
from inference.delivery import Delivery, hear
from inference.engines.timed import Pace
from inference.settings import WorkerSettings
from inference.worker import Worker, run_worker
from schemas.gen.worldbus.inference.v1.types_pb2 import TokensDelivered
from tests.engines import GrammarEngine, TimedEngine
from tests.integration.inference.conftest import LADDERS, WORLD, Game, Until
from worldbus.embedded import NatsServer


@pytest.fixture
def server(data_folder: Path) -> Iterator[NatsServer]:
    """A nats-server that this test may kill."""
    started = NatsServer(data_folder / "nats", password="only-for-tests", strict=False)
    started.start()
    yield started
    started.stop()


class Site:
    def __init__(self, connection: Connection, log: Log, game: Game) -> None:
        self.connection, self.log, self.game = connection, log, game
        self.heard: list[TokensDelivered] = []

    @asynccontextmanager
    async def worker(self, name: str, engine: TimedEngine) -> AsyncIterator[Worker]:
        grammar = GrammarEngine()
        settings = WorkerSettings(tier="gold", name=name, drain_s=0.0)
        async with (
            grammar.open(),
            run_worker(self.connection, self.log, self.game.publisher, LADDERS, settings, engine=engine, grammar=grammar) as worker,
        ):
            while not worker.up:
                await asyncio.sleep(0.005)
            yield worker


@pytest_asyncio.fixture
async def site(server: NatsServer) -> AsyncIterator[Site]:
    async with connect(server.url, name="test", reconnect_time_wait=0.05) as connection:
        log = await open_log(connection)
        async with open_publisher(connection, log, "relaxed") as publisher:
            site = Site(connection, log, Game(log, publisher))

            def on_chunk(subject: bytes, reply: bytes, header: bytes | None, payload: bytes) -> None:
                site.heard.append(TokensDelivered.FromString(payload))

            await connection.listen(f"sig.{WORLD}.tokens.*", on_chunk)
            yield site
        await log.aclose()


async def _restart(server: NatsServer) -> None:
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)


@pytest.mark.timeout(90)
async def test_an_answer_goes_on_behind_what_was_heard(site: Site, server: NatsServer, until: Until) -> None:
    async with site.worker("w1", TimedEngine(Pace(first=0.001, per_token=0.02))) as worker:
        request = await site.game.ask(max_tokens=150, budget_ms=30_000)
        await until(lambda: len(site.heard) >= 2)
        await _restart(server)
        end = cast(Any, (await site.game.ends(1))[request.request_id].data)
        chunks = [chunk async for chunk in hear(site.connection, WORLD, request.request_id)]
        await until(lambda: not worker.held)

    assert [chunk.sequence for chunk in chunks] == list(range(len(chunks)))
    assert "".join(chunk.text for chunk in chunks) == end.text
    numbers = [chunk.sequence for chunk in site.heard]
    assert numbers == sorted(set(numbers)), "spoken twice"


@pytest.mark.timeout(90)
async def test_a_successor_knows_what_was_heard_before_the_restart(site: Site, server: NatsServer, until: Until) -> None:
    engine = TimedEngine()
    async with site.worker("lost", TimedEngine(Pace(first=0.001, per_token=0.02))) as lost:
        request = await site.game.ask(max_tokens=400, budget_ms=60_000)
        await until(lambda: len(site.heard) >= 2)
        for task in (*lost.holding.tasks, *lost._services):
            task.cancel()
        await lost.queue.stop()
        said = "".join(chunk.text for chunk in site.heard)
        await _restart(server)
        async with site.worker("successor", engine):
            event = (await site.game.ends(1))[request.request_id]

    assert (event.name, engine.calls) == ("InferenceDegraded", 0)
    assert cast(Any, event.data).text.startswith(said)
    numbers = [chunk.sequence for chunk in site.heard]
    assert numbers == sorted(set(numbers)), "spoken twice"


async def test_a_stream_in_memory_of_an_earlier_version_is_made_anew(site: Site) -> None:
    await site.connection.api("STREAM.CREATE.SPEECH", {"name": "SPEECH", "subjects": ["spk.*.*"], "storage": "memory"})
    for _ in range(2):
        delivery = Delivery(site.connection)
        await delivery.open()
        assert await delivery.speak(WORLD, TokensDelivered(request_id=f"r{_}", text="Hm."), 0) == _ + 1
        await delivery.aclose()

    assert (await site.connection.api("STREAM.INFO.SPEECH"))["config"]["storage"] == "file"
