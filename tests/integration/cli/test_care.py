"""The deeds of an operator when servers are missing or the log is lost."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg

from bus.connection import connect
from tests.integration.cli.conftest import call, lines
from worldbus.embedded import embedded
from worldbus.settings import Settings


def test_run_wants_servers_that_are_there(data_folder: Path) -> None:
    done = call(data_folder, "run")

    assert done.returncode == 2
    assert "wanted --nats and --postgres, or a running `worldbus up`" in done.stderr


def test_servers_that_do_not_answer_are_told_with_exit_code_3(data_folder: Path) -> None:
    nats = call(data_folder, "tail", "--nats", "nats://127.0.0.1:1")
    postgres = call(data_folder, "sql", "SELECT 1", "--postgres", "postgresql://nobody@127.0.0.1:1/nothing", "--json")

    assert (nats.returncode, "cannot connect to NATS at nats://127.0.0.1:1" in nats.stderr) == (3, True)
    assert (postgres.returncode, '"error": "STORE_UNAVAILABLE"' in postgres.stderr) == (3, True)
    assert "Traceback" not in nats.stderr + postgres.stderr


def test_a_lost_log_is_noticed_and_restored_from_its_archive(data_folder: Path) -> None:
    (report,) = lines(call(data_folder, "demo", "--players", 2, "--seconds", 1, "--json"))
    before = lines(call(data_folder, "replay", "--json"))
    asyncio.run(_lose_the_log(data_folder))

    broken = call(data_folder, "check")
    up = call(data_folder, "up")
    (repaired,) = lines(call(data_folder, "log", "repair", "--from-archive", "--json"))

    assert (broken.returncode, "`worldbus log repair --from-archive`" in broken.stdout) == (1, True)
    assert (up.returncode, "log repair --from-archive" in up.stderr) == (3, True)
    assert (repaired["restored"], repaired["kept"]) == (report["last"], 0)
    after = lines(call(data_folder, "replay", "--json"))
    assert [one | {"recorded": None} for one in after] == [one | {"recorded": None} for one in before]
    checked = call(data_folder, "check", "--full", "--stopped")
    assert checked.returncode == 0, checked.stdout
    asleep = call(data_folder, "check")
    assert (asleep.returncode, "nobody runs this world" in asleep.stdout) == (1, True)
    (verified,) = lines(call(data_folder, "verify", "--json"))
    assert (verified["percent"], verified["events"]) == (100.0, report["last"])


def test_a_damaged_archive_is_noticed_and_written_again_from_the_log(data_folder: Path) -> None:
    (report,) = lines(call(data_folder, "demo", "--players", 2, "--seconds", 1, "--json"))
    asyncio.run(_spoil_the_archive(data_folder))

    broken = call(data_folder, "check", "--full")
    (rebuilt,) = lines(call(data_folder, "archive", "rebuild", "--from-log", "--json"))
    again = call(data_folder, "archive", "rebuild", "--from-log")

    assert (broken.returncode, "`worldbus archive rebuild --from-log`" in broken.stdout) == (1, True)
    assert (rebuilt["damaged"], rebuilt["proven"]) == (10, report["last"])
    assert (again.returncode, again.stdout) == (0, "the archive fits its hash chain: nothing to rebuild\n")
    checked = call(data_folder, "check", "--full", "--stopped")
    assert checked.returncode == 0, checked.stdout


async def _spoil_the_archive(folder: Path) -> None:
    async with embedded(Settings(data=folder, durability="relaxed"), own=True) as servers:
        connection = await asyncpg.connect(servers.postgres_dsn)
        await connection.execute("DELETE FROM worldbus.events WHERE position IN (10, 12, 30)")
        await connection.close()


async def _lose_the_log(folder: Path) -> None:
    settings = Settings(data=folder, durability="relaxed")
    async with embedded(settings, own=True) as servers, connect(servers.nats_url, name="test") as connection:
        await connection.api("STREAM.DELETE.LOG")
