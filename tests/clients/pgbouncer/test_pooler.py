"""worldbus behind a real pgbouncer in transaction mode: two statements of one client may meet two servers, and a session is nobody's."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, urlsplit

import asyncpg
import pytest
from structlog.testing import capture_logs

from bus.connection import connect
from bus.errors import BadSettings
from bus.log import Log, open_log
from bus.presence import Part
from bus.publisher import open_publisher
from projections import Checkpoints, Listed, Projector
from projections.dump import dump
from projections.hold import holding
from projections.past import past
from projections.query import query
from projections.rebuild import rebuild
from projections.store import connected, is_pooled, open_pool
from tests.integration.bus.drafts import moved
from tests.projected import events, places
from worldbus.embedded import NatsServer, PostgresServer
from worldbus.embedded.nats import free_ports
from worldbus.standby import project
from worldbus.testing.projection_laws import Batches
from worldbus.testing.servers import PASSWORDS, as_reader, delete_streams

pytestmark = pytest.mark.skipif(os.environ.get("WORLDBUS_POOLER") != "1", reason="`make test-pooler` runs it, with a real pgbouncer")

CONFIG = """
[databases]
* = host={socket} port=5432
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users.txt
pool_mode = transaction
default_pool_size = 12
max_client_conn = 200
logfile = {folder}/log
pidfile = {folder}/pid
{more}
"""


LEFT = """
    SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database
     WHERE locktype = 'advisory' AND datname = current_database()
"""


class Pooler:
    """A pgbouncer before the test's Postgres."""

    def __init__(self, server: PostgresServer, folder: Path, more: str = "") -> None:
        self.port = free_ports()[0]
        folder.mkdir()
        (folder / "users.txt").write_text("".join(f'"{role}" "{word}"\n' for role, word in PASSWORDS.items()))
        (folder / "pgbouncer.ini").write_text(CONFIG.format(socket=server.socket_folder, port=self.port, folder=folder, more=more))
        command = [shutil.which("pgbouncer") or "/usr/sbin/pgbouncer", "-q", str(folder / "pgbouncer.ini")]
        if os.geteuid() == 0:
            shutil.chown(folder, "nobody")
            for file in folder.iterdir():
                shutil.chown(file, "nobody")
            command[1:1] = ["-u", "nobody"]
        self.process = subprocess.Popen(command)
        until = time.monotonic() + 60
        while time.monotonic() < until and self.process.poll() is None:
            with suppress(OSError), __import__("socket").create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(0.05)
        raise AssertionError((folder / "log").read_text())

    def __call__(self, dsn: str) -> str:
        """The pooler's address of a database, instead of the server's own."""
        parts = urlsplit(dsn)
        return f"postgresql://{parts.username}:{quote(parts.password or '')}@127.0.0.1:{self.port}{parts.path}"

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()


@pytest.fixture
def pooled(postgres_server: PostgresServer, data_folder: Path) -> Iterator[Pooler]:
    pooler = Pooler(postgres_server, data_folder / "pgbouncer")
    yield pooler
    pooler.close()


@pytest.fixture
async def log(nats_server: NatsServer) -> AsyncIterator[Log]:
    async with connect(nats_server.url, name="test") as connection:
        await delete_streams(connection, nats_server)
        opened = await open_log(connection)
        yield opened
        await opened.aclose()


async def test_a_pooler_is_told_from_a_server(pooled: Pooler, fresh_database: str) -> None:
    async with connected(fresh_database) as straight, connected(pooled(fresh_database)) as behind:
        assert (await is_pooled(straight), await is_pooled(behind)) == (False, True)


async def test_readers_are_answered_alike_and_many_at_once(pooled: Pooler, fresh_database: str) -> None:
    await Projector(fresh_database, [places()]).run(Listed(events(300)))
    asked = "SELECT player, zone, since, '24:00'::time AS t FROM places ORDER BY player"
    wanted = await query(as_reader(fresh_database), asked)

    answers = await asyncio.gather(*(query(pooled(as_reader(fresh_database)), asked) for _ in range(40)))

    assert all(answer == wanted for answer in answers)


async def test_projector_rebuild_and_past_work_through_it(pooled: Pooler, fresh_database: str) -> None:
    dsn, history = pooled(fresh_database), events(3000)
    noise = [asyncio.create_task(_noise(dsn)) for _ in range(6)]

    assert await Projector(dsn, [places()], max_batch=100).run(Batches([history[n : n + 50] for n in range(0, 3000, 50)])) == 3000
    assert (await rebuild(places(), dsn)).empty
    async with past(dsn, [places()]) as then:
        await then.advance(1500)
        await then.ask("SELECT count(*) FROM places")
    async with Checkpoints.open(pooled(as_reader(fresh_database))) as checkpoints:
        assert await checkpoints.wait_for(3000, 60) == 3000

    for task in noise:
        assert not task.done()
        task.cancel()
    async with connected(fresh_database) as connection:
        live = await dump(connection, places())
        await rebuild(places(), fresh_database)
        assert await dump(connection, places()) == live
        assert await connection.fetchval(LEFT) == 0


async def _noise(dsn: str) -> None:
    """Other clients of the same role, so that no statement meets the server of the one before."""
    async with open_pool(dsn, name="noise", most=3) as pool:
        while True:
            await asyncio.gather(*(pool.fetchval("SELECT position + $1 FROM world.checkpoint", n) for n in range(3)))


async def test_of_two_projectors_one_works_and_the_other_stands_by(pooled: Pooler, fresh_database: str, log: Log) -> None:
    dsn, states = pooled(fresh_database), (Part("projector"), Part("projector"))
    with capture_logs() as said:
        working = [asyncio.create_task(project(dsn, [places()], log, state)) for state in states]
        async with open_publisher(log.connection, log, "relaxed") as publisher, Checkpoints.open(fresh_database) as checkpoints:
            for number in range(20):
                position = (await asyncio.gather(*(publisher.publish(moved(number * 50 + n)) for n in range(50))))[-1]
                await checkpoints.wait_for(position, 100)
            assert sorted(state.state for state in states) == ["stands by", "works"]
            first = next(number for number, state in enumerate(states) if state.state == "works")
            working[first].cancel()
            position = await publisher.publish(moved(1))
            await checkpoints.wait_for(position, 100)
        working[1 - first].cancel()
        await asyncio.gather(*working, return_exceptions=True)

    assert [one["event"] for one in said if one["log_level"] in ("warning", "error")] == ["relaxed_durability"]


async def test_a_lock_is_held_for_as_long_as_its_block(pooled: Pooler, fresh_database: str) -> None:
    dsn = pooled(fresh_database)
    async with holding(dsn, "one") as mine:
        assert mine
        for _ in range(20):
            async with holding(dsn, "one") as again:
                assert not again
    async with holding(fresh_database, "one") as mine:
        assert mine


async def test_a_refused_parameter_is_named_with_the_setting(pooled: Pooler, fresh_database: str) -> None:
    with pytest.raises(BadSettings, match=r"refuses the start-up parameter search_path.* ignore_startup_parameters"):
        async with connected(pooled(fresh_database) + "?search_path=world"):
            pass


async def test_a_pooler_whose_server_is_away_is_waited_for(
    pooled: Pooler, fresh_database: str, log: Log, postgres_server: PostgresServer
) -> None:
    state = Part("projector")
    working = asyncio.create_task(project(pooled(fresh_database), [places()], log, state))
    async with open_publisher(log.connection, log, "relaxed") as publisher, Checkpoints.open(fresh_database) as checkpoints:
        await checkpoints.wait_for(await publisher.publish(moved(1)), 100)
    await asyncio.to_thread(postgres_server.stop)
    try:
        async with open_publisher(log.connection, log, "relaxed") as publisher:
            position = await publisher.publish(moved(2))
        while state.state != "waits":
            await asyncio.sleep(0.05)
    finally:
        await asyncio.to_thread(postgres_server.start)
    async with Checkpoints.open(fresh_database) as checkpoints:
        await checkpoints.wait_for(position, 100)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)


async def test_a_pool_of_the_gateway_s_kind_prepares_nothing_that_another_client_meets(pooled: Pooler, fresh_database: str) -> None:
    async with (
        open_pool(pooled(fresh_database), name="test", most=8) as one,
        open_pool(pooled(fresh_database), name="test", most=8) as other,
    ):
        asked = [pool.fetch("SELECT $1::int + generate_series(1, 3)", n) for n in range(200) for pool in (one, other)]
        assert {len(rows) for rows in await asyncio.gather(*asked)} == {3}
    connection = await asyncpg.connect(fresh_database)
    await connection.close()
