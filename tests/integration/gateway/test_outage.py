"""nats-server is killed and started again while game servers publish: nothing that was acknowledged is lost, nothing is there twice."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus.connection import connect
from bus.log import open_log
from tests.integration.gateway.conftest import QUICK, Caller, Open, joined, recorded
from worldbus.embedded import NatsServer


@pytest.fixture
def own_nats(data_folder: Path) -> Iterator[NatsServer]:
    """A server that this test may kill."""
    server = NatsServer(data_folder / "nats", password="only-for-tests", strict=True)
    server.start()
    yield server
    server.stop()


async def test_a_killed_server_loses_nothing_that_was_acknowledged_and_doubles_nothing(open_caller: Open, own_nats: NatsServer) -> None:
    acknowledged: dict[str, int] = {}
    statuses: set[int] = set()
    stop = asyncio.Event()

    async def game_server(caller: Caller, name: str) -> None:
        """Publishes one after the other, and repeats what was not acknowledged, as the documents ask for."""
        number = 0
        while not stop.is_set() or f"{name}-{number}" not in acknowledged:
            answer = await caller.publish(joined(f"{name}-{number}", entity=name))
            statuses.add(answer.status)
            if answer.status in (200, 201):
                acknowledged[answer.body["id"]] = answer.body["position"]
                if stop.is_set():
                    return
                number += 1
            else:
                assert (answer.status, int(answer.headers["Retry-After"]) >= 1) == (503, True)
                await asyncio.sleep(0.05)

    limits = type(QUICK)(answer_s=0.5)
    async with open_caller(own_nats.url, limits=limits) as caller:
        servers = [asyncio.create_task(game_server(caller, f"s{number}")) for number in range(6)]
        for round_ in range(1, 4):
            while len(acknowledged) < 40 * round_:
                await asyncio.sleep(0.01)
            own_nats.signal(signal.SIGKILL)
            await asyncio.sleep(1.0)  # longer than an answer may take: somebody is told that it is unknown
            await asyncio.to_thread(own_nats.start)
        stop.set()
        await asyncio.gather(*servers)
        assert caller.gateway.feed.doubled == 0

    async with connect(own_nats.url, name="look") as connection:
        log = await open_log(connection)
        found = {event.position: event.id for event in await recorded(log)}
        await log.aclose()
    assert 503 in statuses
    assert {one: position for position, one in found.items()} == acknowledged
    assert len(found) == len(acknowledged)
