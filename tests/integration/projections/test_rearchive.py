"""A damaged archive is written again from a log that is proven to be what was archived, and from no other."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest

from bus.errors import LogDamaged, Misuse
from bus.event import Event
from migrations import migrate
from projections import Listed, Projector
from projections.archive import broken_link, check
from projections.hold import PROJECTOR, holding
from projections.rearchive import rebuild_archive
from tests.projected import entered, events, places, rows, unreadable
from worldbus.embedded import PostgresServer

LINES = b"ce-specversion: 1.0\r\nce-id: b320\r\nce-type: Odd\r\nce-source: /here\r\n"


def headed(position: int, lines: bytes) -> Event:
    """An event in binary mode, with these header lines."""
    event = entered(position, players=3)
    return Event(raw=b"{}", subject=event.subject, partition=event.partition, position=position, header=b"NATS/1.0\r\n" + lines + b"\r\n")


HISTORY = [*events(319), headed(320, LINES), *events(179, first=321), unreadable(500), *events(100, first=501)]


class State:
    def __init__(self, last: int) -> None:
        self.last = last


class Log(Listed):
    """A log at hand that says how long it is."""

    def __init__(self, history: Sequence[Event]) -> None:
        super().__init__(history, batch=50)
        self._state = State(len(history))

    async def state(self) -> State:
        return self._state


@pytest.fixture
async def filled(database: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("projections.rearchive.STEP", 100)
    await Projector(database, [places()]).run(Listed(HISTORY[:550]))
    return database


DAMAGES = {
    "a byte of an event": "UPDATE worldbus.events SET raw = set_byte(raw, 0, get_byte(raw, 0) # 1) WHERE position = 300",
    "another subject": "UPDATE worldbus.events SET entity = 'mallory' WHERE position = 300",
    "a row is gone": "DELETE FROM worldbus.events WHERE position = 300",
    "many rows are gone": "DELETE FROM worldbus.events WHERE position BETWEEN 300 AND 549",
    "all rows are gone": "DELETE FROM worldbus.events",
    "the hash of a row": "UPDATE worldbus.events SET chain = raw WHERE position = 300",
    "the hash of the checkpoint": "UPDATE worldbus.checkpoint SET chain = decode(repeat('ab', 32), 'hex')",
    "everything from some point on": "UPDATE worldbus.events SET raw = '\\x00' WHERE position >= 300",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
async def test_every_row_is_again_what_it_was(filled: str, connection: asyncpg.Connection, damage: str) -> None:
    before = await rows(connection, "SELECT * FROM worldbus.events ORDER BY position")
    checkpoint = await rows(connection, "SELECT position, chain FROM worldbus.checkpoint")
    await connection.execute(damage)
    assert await broken_link(connection)

    done = await rebuild_archive(filled, Log(HISTORY))

    assert done.damaged
    assert done.rewritten
    assert await rows(connection, "SELECT * FROM worldbus.events ORDER BY position") == before
    assert await rows(connection, "SELECT position, chain FROM worldbus.checkpoint") == checkpoint
    assert (await check(connection, State(600), Listed(HISTORY), full=True)).ok
    assert await Projector(filled, [places()]).run(Listed(HISTORY)) == 600


@pytest.mark.parametrize("damage", [DAMAGES["a byte of an event"], DAMAGES["all rows are gone"]])
async def test_from_a_restored_log_that_says_when_events_were_recorded(filled: str, connection: asyncpg.Connection, damage: str) -> None:
    before = await rows(connection, "SELECT * FROM worldbus.events ORDER BY position")
    restored = headed(320, LINES + b"ce-recorded: 2026-01-01T00:00:00Z\r\n")
    await connection.execute(damage)

    await rebuild_archive(filled, Log([*HISTORY[:319], restored, *HISTORY[320:]]))

    assert await rows(connection, "SELECT * FROM worldbus.events ORDER BY position") == before


async def test_what_the_chain_does_not_cover_is_written_again_too_if_asked_for(filled: str, connection: asyncpg.Connection) -> None:
    await connection.execute("UPDATE worldbus.events SET event_id = 'forged' WHERE position = 7")
    assert (await rebuild_archive(filled, Log(HISTORY))).rewritten == 0

    assert (await rebuild_archive(filled, Log(HISTORY), whole=True)).rewritten == 550

    assert await rows(connection, "SELECT event_id FROM worldbus.events WHERE position = 7") == [("e7",)]


@pytest.mark.parametrize("where", [5, 299, 300, 301, 549, 550])
async def test_from_a_log_that_was_changed_nothing_is_written(filled: str, connection: asyncpg.Connection, where: int) -> None:
    await connection.execute(DAMAGES["a byte of an event"])
    damaged = await rows(connection, "SELECT * FROM worldbus.events ORDER BY position")
    other = [*HISTORY[: where - 1], entered(where, players=3), *HISTORY[where:]]

    with pytest.raises(LogDamaged):
        await rebuild_archive(filled, Log(other))

    assert await rows(connection, "SELECT * FROM worldbus.events ORDER BY position") == damaged


async def test_a_log_that_is_shorter_is_refused(filled: str, connection: asyncpg.Connection) -> None:
    await connection.execute(DAMAGES["a row is gone"])

    with pytest.raises(LogDamaged, match="at least 550 events .* found 549"):
        await rebuild_archive(filled, Log(HISTORY[:549]))


async def test_while_a_projector_works_it_is_refused(filled: str) -> None:
    async with holding(filled, PROJECTOR) as mine:
        assert mine
        with pytest.raises(Misuse, match="projector"):
            await rebuild_archive(filled, Log(HISTORY))


async def test_interrupted_it_goes_on_where_it_was(filled: str, connection: asyncpg.Connection) -> None:
    before = await rows(connection, "SELECT * FROM worldbus.events ORDER BY position")
    await connection.execute(DAMAGES["everything from some point on"])
    working = asyncio.create_task(
        rebuild_archive(filled, Log(HISTORY), progress=lambda done, goal: working.cancel() if done >= 399 and rewriting(done) else None)
    )
    seen: list[int] = []

    def rewriting(done: int) -> bool:
        """The third time that a position is told of, it was written: looked for, proven, written."""
        seen.append(done)
        return done < max(seen)

    with suppress(asyncio.CancelledError):
        await working
    assert working.cancelled()
    first = await broken_link(connection)
    assert first > 300

    done = await rebuild_archive(filled, Log(HISTORY))

    assert (done.damaged, done.rewritten) == (first, 550 - first + 1)
    assert await rows(connection, "SELECT * FROM worldbus.events ORDER BY position") == before


async def test_pages_that_cannot_be_read_are_written_again(data_folder: Path) -> None:
    """The disk gave back something else than was written: Postgres refuses the page, and whoever reads it."""
    server = PostgresServer(data_folder / "postgres", secret=lambda role: f"only-for-tests-{role}", strict=False)
    server.start()
    try:
        await asyncio.to_thread(migrate, server.dsn)
        await Projector(server.dsn, [places()]).run(Listed(HISTORY[:550]))
        connection = await asyncpg.connect(server.address())
        before = await rows(connection, "SELECT * FROM worldbus.events ORDER BY position")
        await connection.execute("CHECKPOINT")
        file = await connection.fetchval("SELECT pg_relation_filepath('worldbus.events')")
        await connection.close()
        server.stop()
        with (server.data / file).open("r+b") as pages:
            pages.seek(8192 * 2 + 4000)
            pages.write(b"\xff" * 100)
        server.start()

        done = await rebuild_archive(server.dsn, Log(HISTORY))

        assert done.rewritten == 550
        connection = await asyncpg.connect(server.dsn)
        assert await rows(connection, "SELECT * FROM worldbus.events ORDER BY position") == before
        assert await broken_link(connection) == 0
        await connection.close()
    finally:
        server.stop()
