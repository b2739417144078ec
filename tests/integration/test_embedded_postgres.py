"""The embedded Postgres keeps what it promises: passwords, roles, data across a crash, and an address that stays."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from structlog.testing import capture_logs

from migrations import migrate
from worldbus.embedded import PostgresServer

SECRETS = {"worldbus_admin": "a-a-a", "worldbus_owner": "o-o-o", "worldbus_reader": "r-r-r", "worldbus_gateway": "g-g-g"}


@pytest.fixture
def server(data_folder: Path) -> Iterator[PostgresServer]:
    server = PostgresServer(data_folder / "postgres", secret=SECRETS.__getitem__)
    server.start()
    yield server
    server.stop()


async def _execute(dsn: str, *statements: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(dsn)
    try:
        for statement in statements[:-1]:
            await connection.execute(statement)
        return await connection.fetch(statements[-1])
    finally:
        await connection.close()


async def test_committed_rows_survive_kill_9_at_the_same_address(server: PostgresServer) -> None:
    dsn = server.dsn
    await _execute(dsn, "CREATE TABLE kept (n int)", "INSERT INTO kept SELECT generate_series(1, 1000)")

    server.kill()
    server.start()

    assert server.dsn == dsn
    assert [(1000,)] == [tuple(row) for row in await _execute(dsn, "SELECT count(*) FROM kept")]


async def test_another_owner_ends_the_server_that_a_crashed_one_left_and_takes_over(server: PostgresServer, data_folder: Path) -> None:
    await _execute(server.dsn, "CREATE TABLE kept AS SELECT 42 AS n")
    left_behind = server.pid
    (data_folder / "postgres" / "postgres.pid").unlink()  # the crash came before its pid was written down

    heir = PostgresServer(data_folder / "postgres", secret=SECRETS.__getitem__)
    heir.start()
    try:
        rows = await _execute(heir.dsn, "SELECT n FROM kept")
    finally:
        heir.stop()

    assert [(42,)] == [tuple(row) for row in rows]
    assert left_behind is not None
    assert server.pid is None


async def test_a_pid_file_that_names_a_foreign_process_does_not_stop_the_start(server: PostgresServer) -> None:
    server.kill()
    lock = server.data / "postmaster.pid"
    lines = lock.read_text().splitlines()
    lock.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")

    server.start()

    assert [(1,)] == [tuple(row) for row in await _execute(server.dsn, "SELECT 1")]


async def test_durable_settings_are_the_shipped_ones(server: PostgresServer) -> None:
    names = ("fsync", "full_page_writes", "data_checksums", "synchronous_commit", "listen_addresses")

    found = {name: (await _execute(server.dsn, f"SHOW {name}"))[0][0] for name in names}

    assert {"fsync": "on", "full_page_writes": "on", "data_checksums": "on", "synchronous_commit": "on", "listen_addresses": ""} == found


async def test_a_wrong_password_is_refused(server: PostgresServer) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(server.dsn.replace("o-o-o", "guess"))


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT pg_sleep(1)",
        "SELECT pg_sleep_for('1 s')",
        "SELECT pg_advisory_lock(42)",
        "SELECT pg_try_advisory_xact_lock(42)",
        "SELECT pg_notify('x', 'y')",
        "SELECT lo_create(0)",
        "SET temp_file_limit = -1",
        "SET default_transaction_read_only = off; COMMIT; CREATE TEMP TABLE mine (n int)",
        "SET default_transaction_read_only = off; COMMIT; CREATE TABLE mine (n int)",
        "SELECT * FROM pg_authid",
        "SELECT pg_read_file('/etc/passwd')",
        "COPY (SELECT 1) TO PROGRAM 'true'",
    ],
)
async def test_the_reader_cannot_write_wait_or_hold_others_up(postgres_server: PostgresServer, statement: str) -> None:
    connection = await asyncpg.connect(postgres_server.reader_dsn)
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    finally:
        await connection.close()


async def test_a_pooled_reader_connection_can_be_reset(postgres_server: PostgresServer) -> None:
    async with asyncpg.create_pool(postgres_server.reader_dsn, min_size=1, max_size=1) as pool:
        for _ in range(2):
            assert await pool.fetchval("SELECT '[1,2,3]'::vector") == "[1,2,3]"


async def test_a_path_too_long_for_a_socket_gets_a_short_private_folder(data_folder: Path) -> None:
    deep = data_folder / ("a-long-name-" * 8) / "data"
    deep.mkdir(parents=True)
    if os.geteuid() == 0:
        deep.parent.chmod(0o711)
        deep.chmod(0o711)
    server = PostgresServer(deep / "postgres", secret=SECRETS.__getitem__, strict=False)
    server.start()
    try:
        rows = await _execute(server.dsn, "SELECT 1")
    finally:
        server.stop()

    assert [(1,)] == [tuple(row) for row in rows]
    assert server.socket_folder.stat().st_mode & 0o777 == 0o700
    server.socket_folder.rmdir()  # and the socket in it is gone


async def test_a_folder_closed_to_the_servers_user_is_no_obstacle_to_root(data_folder: Path) -> None:
    """A checkout in root's home, 0700: the server runs as another user and must pass through all the same."""
    data_folder.chmod(0o700)
    server = PostgresServer(data_folder / "postgres", secret=SECRETS.__getitem__, strict=False)
    server.start()
    try:
        rows = await _execute(server.dsn, "CREATE TABLE written AS SELECT 1 AS n", "SELECT n FROM written")
    finally:
        server.stop()

    assert [(1,)] == [tuple(row) for row in rows]


async def test_what_a_role_did_to_itself_ends_with_the_next_start_and_touches_no_other(server: PostgresServer) -> None:
    """A role may always change its own password and settings: whoever has the reader's could lock every reader out for ever."""
    await _execute(
        server.reader_dsn,
        "SET default_transaction_read_only = off",
        "ALTER ROLE worldbus_reader PASSWORD 'mine now'",
        "ALTER ROLE worldbus_reader SET statement_timeout = '1ms'",
        "ALTER ROLE worldbus_reader SET search_path = nowhere",
        "ALTER ROLE worldbus_reader SET default_transaction_read_only = off",
        "ALTER ROLE worldbus_reader IN DATABASE worldbus SET lock_timeout = '1ms'",
        "SELECT 1",
    )
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(server.reader_dsn)
    assert [(1,)] == [tuple(row) for row in await _execute(server.gateway_dsn, "SELECT 1")]

    server.stop()
    server.start()

    names = ("statement_timeout", "search_path", "default_transaction_read_only", "lock_timeout")
    shown = [(await _execute(server.reader_dsn, f"SHOW {name}"))[0][0] for name in names]
    assert shown == ["5s", "world, public", "on", "1s"]


async def test_a_cluster_of_an_earlier_release_gets_the_role_it_lacks(server: PostgresServer) -> None:
    await _execute(
        server.address(),
        "REVOKE ALL ON DATABASE worldbus FROM worldbus_gateway",
        "DROP ROLE worldbus_gateway",
        "ALTER ROLE worldbus_owner NOLOGIN",
        "SELECT 1",
    )
    server.stop()
    server.start()

    assert await asyncio.to_thread(migrate, server.dsn)
    assert [(0,)] == [tuple(row) for row in await _execute(server.gateway_dsn, "SELECT position FROM world.checkpoint")]


async def test_roles_that_cannot_be_settled_do_not_keep_the_server_down(server: PostgresServer) -> None:
    await _execute(server.address(database="postgres"), "ALTER ROLE worldbus_admin SET default_transaction_read_only = on", "SELECT 1")
    server.stop()

    with capture_logs() as said:
        server.start()

    assert [one["event"] for one in said] == ["roles_not_settled"]
    assert [(1,)] == [tuple(row) for row in await _execute(server.dsn, "SELECT 1")]
