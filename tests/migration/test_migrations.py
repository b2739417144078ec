"""Migrations: the committed schema is what they make, they can be run again, and each release's data outlives the next."""

from __future__ import annotations

import re
from pathlib import Path

import asyncpg
import pytest

import migrations
from bus.errors import BadSettings, StoreUnavailable
from migrations import dbmate, dbmate_url, migrate, pending, rollback
from projections import Listed, Projector
from projections.dump import dump
from tests.projected import events, places, rows
from worldbus.embedded import PostgresServer
from worldbus.embedded.postgres import programs

FILES = sorted(path.name for path in migrations.FOLDER.glob("*.sql") if path.name != "schema.sql")


def _comparable(text: str) -> str:
    """Without what differs between two runs of pg_dump: its version and the random word of \\restrict."""
    return re.sub(r"^(\\(un)?restrict .*|-- Dumped .*)\n", "", text, flags=re.MULTILINE)


def test_schema_sql_is_what_the_migrations_make(empty_database: str, tmp_path: Path) -> None:
    migrate(empty_database)
    made = tmp_path / "schema.sql"

    dbmate(empty_database, "dump", schema_file=made, programs=programs())

    assert _comparable(made.read_text()) == _comparable(migrations.SCHEMA.read_text()), (
        "let `migrations.dbmate(dsn, 'dump')` write schema.sql anew, and commit it"
    )


def test_all_are_applied_once(empty_database: str) -> None:
    assert pending(empty_database) == FILES
    assert migrate(empty_database) == FILES
    assert pending(empty_database) == []
    assert migrate(empty_database) == []


def test_each_can_be_undone_and_done_again(empty_database: str) -> None:
    migrate(empty_database)
    for _ in FILES:
        rollback(empty_database)
    assert migrate(empty_database) == FILES


@pytest.mark.parametrize("applied", range(1, len(FILES)))
async def test_a_database_at_an_earlier_release_is_brought_up_with_its_data(empty_database: str, applied: int, tmp_path: Path) -> None:
    """Stops after each migration, works there, then migrates on: what was recorded is still there and work goes on."""
    earlier = tmp_path / "earlier"
    earlier.mkdir()
    for name in FILES[:applied]:
        (earlier / name).write_text((migrations.FOLDER / name).read_text())
    dbmate(empty_database, "--no-dump-schema", "migrate", folder=earlier)
    connection = await asyncpg.connect(empty_database)
    await connection.execute("DO $$ BEGIN CREATE ROLE worldbus_reader; EXCEPTION WHEN OTHERS THEN NULL; END $$")
    await Projector(empty_database, [places()]).run(Listed(events(50)))
    before = await dump(connection, places())

    migrate(empty_database)

    assert await dump(connection, places()) == before
    await Projector(empty_database, [places()]).run(Listed(events(80)))
    assert await rows(connection, "SELECT position FROM world.checkpoint") == [(80,)]
    await connection.close()


async def test_what_was_there_before_the_readers_came_is_theirs_to_read(empty_database: str, postgres_server: PostgresServer) -> None:
    migrate(empty_database)
    await Projector(empty_database, [places()]).run(Listed(events(5)))
    name = empty_database.partition("@/")[2].partition("?")[0]

    connection = await asyncpg.connect(postgres_server.address("worldbus_reader", name))
    assert await connection.fetchval("SELECT count(*) FROM world.events") == 5
    assert await connection.fetchval("SELECT count(*) FROM world.places") > 0
    await connection.close()


@pytest.mark.parametrize(
    ("dsn", "url"),
    [
        ("postgresql://u:p%40@/db?host=/run/pg&port=5432", "postgres://u:p%40@/db?port=5432&socket=%2Frun%2Fpg&sslmode=disable"),
        ("postgresql://u@127.0.0.1:5433/db", "postgres://u@127.0.0.1:5433/db?sslmode=disable"),
        ("postgresql://u@db.example/game", "postgres://u@db.example/game?sslmode=prefer"),
        ("postgresql://u@db.example/game?sslmode=verify-full", "postgres://u@db.example/game?sslmode=verify-full"),
    ],
)
def test_addresses_in_dbmate_s_words(dsn: str, url: str) -> None:
    assert dbmate_url(dsn) == url


def test_no_server_is_said_as_such() -> None:
    with pytest.raises(StoreUnavailable):
        migrate("postgresql://nobody@127.0.0.1:1/none")


def test_a_refused_password_is_said_as_such(postgres_server: PostgresServer) -> None:
    with pytest.raises(BadSettings):
        migrate(postgres_server.address("worldbus_owner").replace("only-for-tests-worldbus_owner", "wrong"))
