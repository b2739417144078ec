"""Readers ask, and can do nothing else: a corpus of hostile statements changes no row, and each gets an answer."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import suppress
from urllib.parse import urlsplit

import asyncpg
import pytest

from bus.errors import Rejected
from projections import Listed, Projector
from projections.dump import dump
from projections.past import past
from projections.query import Answer, SqlRejected, SqlTimeout, SqlTooManyRows, query
from tests.projected import events, places, rows


@pytest.fixture
async def filled(database: str) -> str:
    await Projector(database, [places()]).run(Listed(events(200)))
    return database


async def test_an_answer_has_columns_and_rows(filled: str, reader: str) -> None:
    answer = await query(reader, "SELECT 'a' AS letter, 1 AS number UNION ALL SELECT 'b', 2 ORDER BY 2 DESC;  ")

    assert answer == Answer(("letter", "number"), [("b", 2), ("a", 1)])


async def test_views_need_no_schema_name(filled: str, reader: str) -> None:
    assert (await query(reader, "SELECT count(*) FROM places")) == (await query(reader, "SELECT count(*) FROM world.places"))


@pytest.mark.parametrize(
    "sql", ["VALUES (1)", "TABLE places", "WITH p AS (SELECT 1 AS x) SELECT x FROM p", "SELECT 1 AS x, 2 AS x -- done"]
)
async def test_whatever_is_a_query_is_answered(filled: str, reader: str, sql: str) -> None:
    assert (await query(reader, sql)).rows


async def test_a_slow_statement_ends_in_time(filled: str, reader: str) -> None:
    # Small series joined: a single long one fills the disk that a reader may use, and that can come first.
    series = ", ".join(f"generate_series(1, 1000) AS n{number}" for number in range(4))
    with pytest.raises(SqlTimeout):
        await query(reader, f"SELECT count(*) FROM {series}", timeout=0.2)


async def test_too_many_rows_are_refused(filled: str, reader: str) -> None:
    assert len((await query(reader, "SELECT * FROM generate_series(1, 5)", limit=5)).rows) == 5
    with pytest.raises(SqlTooManyRows, match="more than 5 rows"):
        await query(reader, "SELECT * FROM generate_series(1, 6)", limit=5)
    with pytest.raises(SqlTooManyRows, match="bytes"):
        await query(reader, "SELECT repeat('x', 100000) FROM generate_series(1, 200)")


async def test_readers_see_nothing_but_the_views(filled: str, reader: str) -> None:
    for table in ("worldbus.events", "worldbus.checkpoint", "p_places_1_1.places", "pg_authid"):
        with pytest.raises(SqlRejected, match="permission denied"):
            await query(reader, f"SELECT * FROM {table}")


TARGETS = ("world.places", "worldbus.events", "worldbus.checkpoint", "p_places_1_1.places", "world.events")
WRITES = (
    "DELETE FROM {0}",
    "UPDATE {0} SET position = 0",
    "INSERT INTO {0} SELECT * FROM {0}",
    "TRUNCATE {0}",
    "DROP TABLE {0}",
    "DROP VIEW {0} CASCADE",
    "ALTER TABLE {0} RENAME TO gone",
    "CREATE TABLE world.mine AS SELECT * FROM {0}",
    "SELECT * INTO world.mine FROM {0}",
    "WITH gone AS (DELETE FROM {0} RETURNING *) SELECT * FROM gone",
    "WITH changed AS (UPDATE {0} SET position = 1 RETURNING position) SELECT * FROM changed",
    "COPY {0} TO '/tmp/stolen'",
    "COPY {0} FROM PROGRAM 'id'",
    "LOCK TABLE {0} IN ACCESS EXCLUSIVE MODE",
    "SELECT * FROM {0} FOR UPDATE",
    "GRANT ALL ON {0} TO PUBLIC",
    "COMMENT ON TABLE {0} IS 'mine'",
    "CREATE INDEX ON {0} (position)",
    "CREATE TRIGGER t AFTER INSERT ON {0} EXECUTE FUNCTION pg_sleep(1)",
    "MERGE INTO {0} USING (SELECT 1) AS s ON false WHEN NOT MATCHED THEN DO NOTHING",
)
SESSION = (
    "SET statement_timeout = 0",
    "SET default_transaction_read_only = off",
    "SET ROLE worldbus_owner",
    "RESET ROLE",
    "RESET ALL",
    "SET SESSION AUTHORIZATION worldbus_owner",
    "SET TRANSACTION READ WRITE",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT s",
    "DO $$ BEGIN DELETE FROM worldbus.events; END $$",
    "CALL pg_sleep(1)",
    "LISTEN worldbus_checkpoint",
    "NOTIFY worldbus_checkpoint, '1'",
    "PREPARE p AS DELETE FROM worldbus.events",
    "EXECUTE p",
    "DECLARE c CURSOR FOR SELECT 1",
    "VACUUM FULL",
    "ANALYZE",
    "CHECKPOINT",
    "LOAD 'x'",
    "CREATE FUNCTION world.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE SCHEMA mine",
    "CREATE TEMP TABLE mine (x int)",
    "CREATE ROLE mine SUPERUSER",
    "ALTER ROLE worldbus_reader SUPERUSER",
    "ALTER SYSTEM SET fsync = off",
    "ALTER ROLE worldbus_reader SET statement_timeout = 0",
    "DROP SCHEMA world CASCADE",
    "DROP OWNED BY worldbus_owner",
    "CREATE EXTENSION dblink",
    "EXPLAIN ANALYZE DELETE FROM worldbus.events",
    "SHOW ALL",
    "",
    ";",
    "\0",
    "SELECT $1",
    "SELECT",
    "(",
)
FUNCTIONS = (
    "pg_sleep(10)",
    "pg_advisory_lock(42)",
    "pg_advisory_xact_lock(42)",
    "pg_try_advisory_lock(42)",
    "lo_create(0)",
    "lo_import('/etc/passwd')",
    "lo_from_bytea(0, 'x')",
    "pg_notify('worldbus_checkpoint', '1')",
    "pg_logical_emit_message(false, 'a', 'b')",
    "pg_read_file('/etc/passwd')",
    "pg_ls_dir('.')",
    "pg_reload_conf()",
    "pg_rotate_logfile()",
    "pg_switch_wal()",
    "pg_terminate_backend((SELECT pid FROM pg_stat_activity WHERE usename = 'worldbus_owner' LIMIT 1))",
    "pg_cancel_backend((SELECT pid FROM pg_stat_activity WHERE usename = 'worldbus_owner' LIMIT 1))",
    "set_config('transaction_read_only', 'off', false)",
    "set_config('role', 'worldbus_owner', false)",
    "query_to_xml('DELETE FROM worldbus.events', true, true, '')",
    "query_to_xml('SELECT * FROM worldbus.events', true, true, '')",
    "nextval('worldbus.none')",
    "pg_create_logical_replication_slot('s', 'pgoutput')",
    "repeat('x', 2000000000)",
    "(SELECT count(*) FROM generate_series(1, 100000000000))",
)
WRAPS = (
    "{0}",
    "SELECT 1; {0}",
    "SELECT 1) AS q; {0}; --",
    "SELECT 1) AS q; {0}; SELECT * FROM (SELECT 1",
    "SELECT 1 /* ; */ ; {0}",
    "-- quiet\n{0}",
    "COMMIT; {0}",
)


def _hostile() -> list[str]:
    writes = [wrap.format(write.format(target)) for write in WRITES for target in TARGETS for wrap in WRAPS[:4]]
    session = [wrap.replace("{0}", statement) for statement in SESSION for wrap in WRAPS]
    calls = [
        wrap.replace("{0}", f"SELECT {call}") for call in FUNCTIONS for wrap in ("{0}", "SELECT 1 WHERE ({0})::text <> ''", "SELECT 1; {0}")
    ]
    return writes + session + calls


def test_the_corpus_is_large() -> None:
    assert len(set(_hostile())) >= 300


async def test_hostile_statements_change_nothing_and_are_answered(
    filled: str, reader: str, connection: asyncpg.Connection, postgres_server: object
) -> None:
    before = await _everything(connection)
    ends: dict[str, int] = {}

    async def attack(statements: list[str]) -> None:
        for statement in statements:
            try:
                await query(reader, statement, timeout=2.0, limit=100)
                ends["answered"] = ends.get("answered", 0) + 1
            except Rejected as error:
                ends[error.code] = ends.get(error.code, 0) + 1

    corpus = _hostile()
    await asyncio.gather(*(attack(corpus[start::6]) for start in range(6)))

    assert await _everything(connection) == before
    assert sum(ends.values()) == len(corpus)
    assert ends["SQL_REJECTED"] > 0.9 * len(corpus)
    assert await rows(connection, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(0,)]
    assert await rows(connection, "SELECT count(*) FROM pg_largeobject_metadata") == [(0,)]


async def test_hostile_statements_to_the_past_change_nothing(filled: str, connection: asyncpg.Connection) -> None:
    before = await _everything(connection)
    ends = 0
    async with past(filled, [places()]) as then:
        await then.advance(100)
        for statement in itertools.islice(_hostile(), 0, None, 3):
            with suppress(Rejected):
                await then.ask(statement, timeout=0.2, limit=100)
            ends += 1
        assert (await then.ask("SELECT position FROM checkpoint")).rows == [(100,)]

    assert ends >= 200
    assert await _everything(connection) == before


async def _everything(connection: asyncpg.Connection) -> tuple[object, ...]:
    tables = """
        SELECT n.nspname, relname, relkind, relacl::text FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
         WHERE nspname !~ '^pg_' ORDER BY 1, 2
    """
    return (
        await dump(connection, places()),
        await rows(connection, "SELECT position, chain FROM worldbus.checkpoint"),
        await rows(connection, "SELECT count(*), max(position) FROM worldbus.events"),
        await rows(connection, tables),
        await rows(connection, "SELECT rolname, rolsuper, rolconfig FROM pg_roles ORDER BY 1"),
    )


async def test_a_reader_that_stays_cannot_keep_a_transaction_open(filled: str, reader: str) -> None:
    """Past our wrapper: the role's own limits hold until it lifts them, the rights that are missing stay missing."""
    asking = await asyncpg.connect(reader)
    assert urlsplit(reader).username == "worldbus_reader"
    assert await asking.fetchval("SHOW statement_timeout") == "5s"
    assert await asking.fetchval("SHOW default_transaction_read_only") == "on"
    await asking.execute("SET default_transaction_read_only = off")
    for statement in ("CREATE TEMP TABLE x (y int)", "SELECT lo_create(0)", "SELECT pg_advisory_lock(1)", "CREATE TABLE world.x (y int)"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await asking.execute(statement)
    await asking.close()
