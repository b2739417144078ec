"""As of: the same SQL, asked of the world as it was."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from bus.errors import BadSettings, Misuse
from projections import Listed, Projector
from projections.past import ask_past, past, position_at
from projections.query import SqlRejected
from tests.projected import T0, events, places, rows

FIRST = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=T0 // 1000)
ASKED = "SELECT player, zone, moves, played_ms, tags, since FROM world.places ORDER BY player"


@pytest.fixture
async def filled(database: str) -> str:
    await Projector(database, [places()]).run(Listed(events(300)))
    return database


@pytest.mark.parametrize("position", [0, 1, 57, 300])
async def test_the_past_is_what_the_present_was(filled: str, empty_database: str, position: int, postgres_server: object) -> None:
    reached, then = await ask_past(filled, ASKED, position, projections=[places()])

    connection = await asyncpg.connect(filled)
    await connection.execute("UPDATE worldbus.checkpoint SET position = 0, chain = decode(repeat('00', 32), 'hex')")
    await connection.execute("TRUNCATE worldbus.events, p_places_1_1.places, p_places_1_1.visits")
    await Projector(filled, [places()]).run(Listed(events(position)))
    assert reached == position
    assert then.rows == await rows(connection, ASKED)
    await connection.close()


async def test_it_goes_forward_and_answers_on_the_way(filled: str) -> None:
    async with past(filled, [places()]) as then:
        seen = []
        for position in (10, 100, 250):
            await then.advance(position)
            seen += (await then.ask("SELECT (SELECT max(position) FROM events), position FROM checkpoint")).rows
        assert seen == [(10, 10), (100, 100), (250, 250)]
        with pytest.raises(Misuse, match="open the past anew"):
            await then.advance(249)
        with pytest.raises(Misuse, match="not that far"):
            await then.advance(301)


async def test_a_wrong_question_does_not_end_it(filled: str) -> None:
    async with past(filled, [places()]) as then:
        await then.advance(50)
        with pytest.raises(SqlRejected):
            await then.ask("SELECT nothing FROM nowhere")
        assert (await then.ask("SELECT count(*) FROM world.events")).rows == [(50,)]


async def test_nobody_else_sees_it_and_nothing_is_left(filled: str, reader: str, connection: asyncpg.Connection) -> None:
    asking = await asyncpg.connect(reader)
    schemas = await rows(connection, "SELECT nspname FROM pg_namespace ORDER BY 1")
    async with past(filled, [places()]) as then:
        await then.advance(20)
        assert await asking.fetchval("SELECT position FROM world.checkpoint") == 300
        assert (await then.ask("SELECT count(*) FROM places")).rows
        assert await rows(connection, "SELECT nspname FROM pg_namespace ORDER BY 1") == schemas
        assert await asking.fetchval("SELECT position FROM world.checkpoint") == 300
    assert await rows(connection, "SELECT nspname FROM pg_namespace ORDER BY 1") == schemas
    await asking.close()


async def test_two_pasts_and_a_projector_at_once(filled: str) -> None:
    async with past(filled, [places()]) as one, past(filled, [places()]) as other:
        await one.advance(20)
        await other.advance(30)
        await Projector(filled, [places()]).run(Listed(events(400)))
        assert (await one.ask("SELECT position FROM checkpoint")).rows == [(20,)]
        assert (await other.ask("SELECT position FROM checkpoint")).rows == [(30,)]


async def test_a_moment_is_the_last_position_recorded_by_then(filled: str) -> None:
    assert await position_at(filled, FIRST - timedelta(seconds=1)) == 0
    assert await position_at(filled, FIRST + timedelta(microseconds=42)) == 42
    assert await position_at(filled, FIRST + timedelta(days=1)) == 300
    with pytest.raises(BadSettings, match="time zone"):
        await position_at(filled, FIRST.replace(tzinfo=None))
