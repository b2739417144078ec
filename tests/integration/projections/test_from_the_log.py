"""The real log in front: published, projected, checked against its archive, rebuilt from it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from bus.connection import connect
from bus.event import Draft
from bus.log import open_log
from bus.publisher import open_publisher
from projections import Checkpoints, Projector
from projections.archive import check
from projections.rebuild import rebuild
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerEnteredZone
from tests.projected import places, rows
from worldbus.embedded import NatsServer


@pytest.fixture
def own_nats(data_folder: Path) -> Iterator[NatsServer]:
    """A nats-server whose log begins with this test."""
    server = NatsServer(data_folder / "nats", password="only-for-tests", strict=False)
    server.start()
    yield server
    server.stop()


async def test_published_projected_checked_and_rebuilt(own_nats: NatsServer, database: str, connection: asyncpg.Connection) -> None:
    async with connect(own_nats.url, name="test") as nats, Checkpoints.open(database) as checkpoints:
        log = await open_log(nats)
        projecting = asyncio.create_task(Projector(database, [places()]).run(log))
        async with open_publisher(nats, log, "relaxed") as publisher:
            said = (
                Draft(data=PlayerEnteredZone(zone=f"zone{number % 5}"), world="duskmarket", entity=f"p{number % 9}")
                for number in range(2500)
            )
            positions = await publisher.publish_many(said)
        await checkpoints.wait_for(positions[-1], 100)

        assert await rows(connection, "SELECT count(*), max(position) FROM world.events") == [(2500, 2500)]
        assert await rows(connection, "SELECT sum(moves) FROM world.places") == [(2500,)]
        full = await check(connection, await log.state(), log, full=True)
        assert (full.ok, full.checked) == (True, 2500)
        assert (await check(connection, await log.state(), log)).ok
        assert (await rebuild(places(), database, log)).empty

        projecting.cancel()
        await asyncio.gather(projecting, return_exceptions=True)
        await log.aclose()
