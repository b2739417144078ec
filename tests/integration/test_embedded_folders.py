"""Data folders as people name them, on disks as they have them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from bench.small_disk import fill, resize
from bus.connection import connect
from bus.errors import Misuse, StorageFull, Transient
from bus.log import open_log
from bus.publisher import Publisher, open_publisher
from migrations import migrate
from tests.disks import small_disk
from tests.integration.bus.drafts import moved
from worldbus.embedded import embedded
from worldbus.embedded.nats import free_ports
from worldbus.settings import Settings

NAMES = (
    *("jürgen", "日本語", 'it\'s "so"', "two  words", "🎲👨\u200d👩\u200d👧", "back\\slash", "$HOME", "%20", "a&b?c#d"),
    *("{braces}, [too]", "a=b;c|d^e`f", "é" * 60, "long-" * 30),
)


@pytest.mark.parametrize("name", NAMES)
async def test_a_world_lives_in_a_folder_of_any_name(data_folder: Path, name: str) -> None:
    folder = data_folder / name / "d"
    settings = Settings(data=folder, durability="relaxed", websocket=f"127.0.0.1:{free_ports()[0]}")
    async with embedded(settings, own=True) as servers, embedded(settings) as found:
        assert found.nats_url == servers.nats_url
        async with connect(found.nats_url, name="test") as connection:
            log = await open_log(connection)
            async with open_publisher(connection, log, "relaxed") as publisher:
                assert await publisher.publish(moved(1)) == 1
            await log.aclose()
        await asyncio.to_thread(migrate, found.postgres_dsn)
        reader = await asyncpg.connect(found.reader_dsn)
        assert await reader.fetchval("SELECT position FROM world.checkpoint") == 0
        await reader.close()


@pytest.mark.parametrize("name", ["two\nlines", "a\tb", "\udcff"])
async def test_a_path_that_a_line_cannot_hold_is_refused_before_anything_is_made(data_folder: Path, name: str) -> None:
    with pytest.raises(Misuse, match="control characters"):
        async with embedded(Settings(data=data_folder / name), own=True):
            pass

    assert list(data_folder.iterdir()) == []


@pytest.fixture
def disk() -> Iterator[Path]:
    with small_disk(260) as folder:
        yield folder


async def test_too_small_a_disk_is_said_before_anything_is_started(disk: Path) -> None:
    fill(disk, leave=100 << 20)
    with pytest.raises(Misuse, match=r"wanted 160 MB free .* found 99 MB"):
        async with embedded(Settings(data=disk / "d"), own=True):
            pass

    assert {path.name for path in (disk / "d").iterdir()} <= {"worldbus.lock", "worldbus.json"}


async def test_a_full_log_takes_events_again_when_its_disk_has_room(disk: Path) -> None:
    """Somebody else fills the disk under a running world: nothing that was acknowledged is lost, and nobody has to restart anything."""
    async with embedded(Settings(data=disk / "d", durability="relaxed"), own=True) as servers:
        keeping = asyncio.create_task(servers.keep_alive())
        async with connect(servers.nats_url, name="test") as connection:
            log = await open_log(connection)
            async with open_publisher(connection, log, "relaxed") as publisher:
                ballast = fill(disk)
                acknowledged, refused = [], False
                while not refused:
                    try:
                        async with asyncio.timeout(3):
                            acknowledged += await asyncio.gather(*(publisher.publish(moved(n, size=100_000)) for n in range(20)))
                    except (Transient, TimeoutError):
                        refused = True
                ballast.unlink()
                position = await _until_taken(publisher)
                assert position > max(acknowledged, default=0)
                state = await log.state()
                assert (state.first, state.count) == (1, state.last)
                for one in acknowledged:
                    assert (await log.get(one)).position == one
            await log.aclose()
        assert not keeping.done()
        keeping.cancel()


async def test_the_limit_of_the_log_follows_a_disk_that_grew(disk: Path) -> None:
    """The log is what fills the disk: it is refused in words while there still is room for Postgres, and goes on where more is given."""
    async with embedded(Settings(data=disk / "d", durability="relaxed"), own=True) as servers:
        keeping = asyncio.create_task(servers.keep_alive())
        async with connect(servers.nats_url, name="test") as connection:
            log = await open_log(connection)
            async with open_publisher(connection, log, "relaxed") as publisher:
                with pytest.raises(StorageFull, match="no room"):
                    await _publish_for_ever(publisher)
                before = (await log.state()).last
                owner = await asyncpg.connect(servers.postgres_dsn)
                await owner.execute("CREATE TABLE written AS SELECT 1 AS n")
                await owner.close()
                resize(disk, 400)
                assert await _until_taken(publisher) > before
            await log.aclose()
        assert not keeping.done()
        keeping.cancel()


async def test_servers_that_cannot_be_started_for_want_of_room_are_tried_again(disk: Path) -> None:
    """Also where it is not the server that fails, but what is written before it: both files stand for a disk that takes none."""
    folder = disk / "d"
    async with embedded(Settings(data=folder, durability="relaxed"), own=True) as servers:
        assert servers.nats is not None
        assert servers.postgres is not None
        ballast = fill(disk, leave=4 << 20)
        configuration, record = folder / "nats" / "nats.conf", folder / "postgres" / "postgres.pid"
        configuration.unlink()
        configuration.symlink_to("/dev/full")
        record.unlink()
        record.mkdir()
        keeping = asyncio.create_task(servers.keep_alive())
        with capture_logs() as said:
            for server in (servers.nats, servers.postgres):
                assert server.pid is not None
                os.kill(server.pid, signal.SIGKILL)
            while not keeping.done() and any(_starts(said, server.name) < 2 for server in (servers.nats, servers.postgres)):
                await asyncio.sleep(0.05)
            assert not keeping.done()
        ballast.unlink()
        configuration.unlink()
        record.rmdir()
        while servers.nats.pid is None or servers.postgres.pid is None or not await _takes_clients(servers.nats_url):
            await asyncio.sleep(0.05)
        assert not keeping.done()
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)  # a start that is under way comes to its end


async def _takes_clients(url: str) -> bool:
    with suppress(Misuse):
        async with connect(url, name="test"):
            return True
    return False


def _starts(said: list[MutableMapping[str, Any]], server: str) -> int:
    return sum(one["event"] == "embedded_server_restarting" and one["server"] == server for one in said)


async def _publish_for_ever(publisher: Publisher) -> None:
    while True:
        await asyncio.gather(*(publisher.publish(moved(number, size=200_000)) for number in range(20)))


async def _until_taken(publisher: Publisher) -> int:
    while True:
        try:
            return await publisher.publish(moved(0))
        except Transient:
            await asyncio.sleep(0.2)
