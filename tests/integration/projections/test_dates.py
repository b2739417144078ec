"""Times in tables are those of the events, to the microsecond, for every year that has a date: live, rebuilt, and as of the past."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import asyncpg
import pytest

from bus.event import Draft, Event
from projections import Listed, Projector
from projections.columns import moment
from projections.past import past
from projections.query import query
from projections.rebuild import rebuild
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerEnteredZone
from tests.projected import T0, places, rows

FIRST_NS = -62_135_596_800 * 10**9
LAST_NS = 253_402_300_800 * 10**9 - 1
MOMENTS_NS = {
    "0001-01-01T00:00:00.000000": FIRST_NS,
    "0001-01-01T00:00:00.000001": FIRST_NS + 1_001,
    "1684-12-31T23:59:59.999999": (datetime(1685, 1, 1, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // (datetime.resolution) * 1000 - 1,
    "1969-12-31T23:59:59.999999": -1,
    "1970-01-01T00:00:00.000000": 0,
    "1970-01-01T00:00:00.000001": 1_999,
    "2300-01-01T00:00:00.000001": 10_413_792_000_000_001_000,
    "5138-11-16T09:46:39.123457": 99_999_999_999_123_457_789,
    "9999-12-31T23:59:59.999999": LAST_NS,
}


def at(position: int, time_ns: int) -> Event:
    """An event of the player `p<position>` with this time."""
    draft = Draft(
        data=PlayerEnteredZone(zone="quay"), world="duskmarket", entity=f"p{position}", subsystem="test", id=f"e{position}", time_ns=time_ns
    )
    return Event(raw=draft.encode(), subject=draft.subject, partition=1, position=position, recorded_ns=T0 + position * 1000)


HISTORY: Sequence[Event] = [at(position, time_ns) for position, time_ns in enumerate(MOMENTS_NS.values(), start=1)]
SINCE = "SELECT to_char(since AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US') FROM world.places ORDER BY substr(player, 2)::int"


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu"])
async def test_live_rebuilt_and_past_say_the_same_exact_moment(database: str, connection: asyncpg.Connection, zone: str) -> None:
    """Also where the database counts in a time zone whose days have 23 or 25 hours."""
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(f"ALTER DATABASE {name} SET timezone = '{zone}'")
    wanted = [(said,) for said in MOMENTS_NS]

    await Projector(database, [places()]).run(Listed(HISTORY))
    assert await rows(connection, SINCE) == wanted
    assert (await rebuild(places(), database)).empty
    assert await rows(connection, SINCE) == wanted
    async with past(database, [places()]) as then:
        await then.advance(len(HISTORY))
        assert (await then.ask(SINCE)).rows == wanted


async def test_the_archive_says_them_too_and_1970_is_a_time(database: str, connection: asyncpg.Connection) -> None:
    await Projector(database, []).run(Listed(HISTORY))

    asked = "SELECT to_char(time AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US') FROM world.events ORDER BY position"
    assert await rows(connection, asked) == [(said,) for said in MOMENTS_NS]


async def test_readers_get_them_as_they_are(database: str, reader: str) -> None:
    await Projector(database, [places()]).run(Listed(HISTORY))

    answer = await query(reader, "SELECT since FROM places ORDER BY substr(player, 2)::int")

    assert [since for (since,) in answer.rows] == [moment(event.time_ns) for event in HISTORY]


@pytest.mark.parametrize("time_ns", [FIRST_NS - 1, LAST_NS + 1, 10**21])
async def test_a_time_that_no_calendar_has_skips_its_event_on_record(database: str, connection: asyncpg.Connection, time_ns: int) -> None:
    """The archive keeps the event, without a time; the tables say nothing about it; the projector goes on."""
    impossible, after = at(1, time_ns), at(2, 0)

    assert await Projector(database, [places()]).run(Listed([impossible, after])) == 2

    assert await rows(connection, "SELECT time FROM world.events WHERE position = 1") == [(None,)]
    assert await rows(connection, "SELECT player FROM world.places") == [("p2",)]
    assert await rows(connection, "SELECT position FROM world.skipped") == [(1,)]
