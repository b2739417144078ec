"""Nobody may write to a log that is not the one that was archived."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bus.connection import connect
from bus.errors import LogDamaged
from bus.event import Draft
from bus.log import Log, open_log
from bus.publisher import open_publisher
from projections import Projector
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerMoved
from worldbus.embedded import NatsServer
from worldbus.guard import held_against_archive


@pytest.fixture
def own_nats(data_folder: Path) -> Iterator[NatsServer]:
    """A server of this test's own, whose log may be lost."""
    server = NatsServer(data_folder / "nats", password="only-for-tests", strict=False)
    server.start()
    yield server
    server.stop()


async def fill(log: Log, count: int, word: str = "zone") -> None:
    async with open_publisher(log.connection, log, "relaxed") as publisher:
        await publisher.publish_many(
            Draft(data=PlayerMoved(zone=word), world="w", entity=f"p{number}", id=f"{word}-{number}", time_ns=1) for number in range(count)
        )


@pytest.mark.parametrize("thorough", [False, True])
async def test_a_whole_log_passes_and_a_shorter_or_another_one_does_not(own_nats: NatsServer, fresh_database: str, thorough: bool) -> None:
    async with connect(own_nats.url, name="test") as connection:
        log = await open_log(connection)
        await fill(log, 50)
        await Projector(fresh_database, []).run(log, follow=False)

        await held_against_archive(log, fresh_database, thorough=thorough)

        for stream in (log.name, log.config.snapshots):
            await connection.api(f"STREAM.DELETE.{stream}")
        await log.aclose()
        log = await open_log(connection)
        with pytest.raises(LogDamaged, match="stream ends at 0, archive at 50"):
            await held_against_archive(log, fresh_database, thorough=thorough)
        await fill(log, 50, "other")
        with pytest.raises(LogDamaged, match="holds another event"):
            await held_against_archive(log, fresh_database, thorough=thorough)
        await log.aclose()


async def test_an_exchanged_event_in_the_middle_is_found_by_the_thorough_look(own_nats: NatsServer, fresh_database: str) -> None:
    async with connect(own_nats.url, name="test") as connection:
        log = await open_log(connection)
        await fill(log, 50)
        await Projector(fresh_database, []).run(log, follow=False)
        kept = [event async for batch in log.read() for event in batch]
        for stream in (log.name, log.config.snapshots):
            await connection.api(f"STREAM.DELETE.{stream}")
        await log.aclose()
        log = await open_log(connection)
        for event in kept:
            raw = event.raw if event.position != 20 else event.raw.replace(b"zone", b"Zone")
            await connection.request(event.subject.published(), raw)

        with pytest.raises(LogDamaged, match="position 20 holds another event"):
            await held_against_archive(log, fresh_database, thorough=True)
        await log.aclose()


async def test_without_a_database_or_tables_there_is_nothing_to_compare(own_nats: NatsServer, empty_database: str) -> None:
    async with connect(own_nats.url, name="test") as connection:
        log = await open_log(connection)

        await held_against_archive(log, "", thorough=True)
        await held_against_archive(log, empty_database, thorough=True)
        await log.aclose()
