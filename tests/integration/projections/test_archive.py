"""The archive: an independent copy that notices what happened to the log, and to itself."""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg
import pytest

from bus.event import Event
from projections import Listed, Projector
from projections.archive import ArchiveReader, broken_link, chain_of, check
from tests.projected import entered, events, unreadable
from worldbus.testing.projection_laws import Batches


@dataclass(frozen=True)
class State:
    last: int


@pytest.fixture
async def filled(database: str) -> str:
    await Projector(database, []).run(Listed([*events(499), unreadable(500)]))
    return database


HISTORY = [*events(499), unreadable(500)]


async def test_log_and_archive_agree(filled: str, connection: asyncpg.Connection) -> None:
    head = await check(connection, State(500), Listed(HISTORY))
    full = await check(connection, State(500), Listed(HISTORY), full=True)

    assert (head.ok, head.checked) == (True, 1)
    assert (full.ok, full.checked, full.archive, full.log) == (True, 500, 500, 500)
    assert await chain_of(Listed(HISTORY), 500) == await connection.fetchval("SELECT chain FROM worldbus.checkpoint")


async def test_a_log_that_grew_since_agrees(filled: str, connection: asyncpg.Connection) -> None:
    longer = [*HISTORY, *events(50, first=501)]

    assert (await check(connection, State(550), Listed(longer))).ok
    assert (await check(connection, State(550), Listed(longer), full=True)).ok


@pytest.mark.parametrize("full", [False, True])
async def test_a_short_log_is_named(filled: str, connection: asyncpg.Connection, full: bool) -> None:
    report = await check(connection, State(250), Listed(HISTORY[:250]), full=full)

    assert report.problem == "LOG SHORTER THAN ARCHIVE: stream ends at 250, archive at 500"
    assert (report.damaged, report.position) == ("log", 251)


async def test_an_emptied_log_is_named(filled: str, connection: asyncpg.Connection) -> None:
    assert (await check(connection, State(0), Listed([]))).position == 1


async def test_another_event_at_the_head_is_named(filled: str, connection: asyncpg.Connection) -> None:
    report = await check(connection, State(500), Listed([*HISTORY[:499], entered(500)]))

    assert report.problem == "LOG DIFFERS FROM ARCHIVE: position 500 holds another event (id e500, archived unreadable)"


def _without(position: int) -> list[Event]:
    return [event for event in HISTORY if event.position != position]


@pytest.mark.parametrize("position", [1, 250, 499])
async def test_every_changed_or_missing_event_is_named(filled: str, connection: asyncpg.Connection, position: int) -> None:
    other = entered(position, zones=1)
    changed = [*HISTORY[: position - 1], other, *HISTORY[position:]]

    assert (await check(connection, State(500), Listed(changed), full=True)).position == position
    assert (await check(connection, State(500), Batches([_without(position)]), full=True)).position == position


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE worldbus.events SET raw = set_byte(raw, 0, get_byte(raw, 0) # 1) WHERE position = 300",
        "UPDATE worldbus.events SET entity = 'x' WHERE position = 300",
        "UPDATE worldbus.events SET partition = partition + 1 WHERE position = 300",
        "UPDATE worldbus.events SET chain = sha256('') WHERE position = 300",
        "DELETE FROM worldbus.events WHERE position = 300",
    ],
)
async def test_the_archive_notices_what_happens_to_itself(filled: str, connection: asyncpg.Connection, damage: str) -> None:
    assert await broken_link(connection) == 0
    await connection.execute(damage)

    report = await check(connection, State(500), Listed(HISTORY), full=True)

    assert await broken_link(connection) in (300, 301)
    assert report.damaged == "archive"
    assert report.position in (300, 301)


async def test_a_lost_tail_of_the_archive_is_noticed(filled: str, connection: asyncpg.Connection) -> None:
    await connection.execute("DELETE FROM worldbus.events WHERE position > 480")

    assert await broken_link(connection) == 481


async def test_the_archive_reads_like_the_log(filled: str) -> None:
    read = [event async for batch in ArchiveReader(filled, batch=70).read(after=123) for event in batch]

    assert read == HISTORY[123:]
    assert [event.recorded_ns for event in read] == [event.recorded_ns for event in HISTORY[123:]]
    assert [event.partition for event in read] == [event.partition for event in HISTORY[123:]]


async def test_a_subject_that_text_cannot_hold_survives(database: str, connection: asyncpg.Connection) -> None:
    odd = Event.stored(b"\xff", "evt.3.dusk\0market.test.mira.Odd", 1, 1000)
    await Projector(database, []).run(Listed([odd]))

    assert [event async for batch in ArchiveReader(database).read(after=0) for event in batch] == [odd]
    assert (await check(connection, State(1), Listed([odd]), full=True)).ok
