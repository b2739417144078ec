"""The projector against a real Postgres: everything arrives once, in one transaction, and nothing stops it but damage."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

import asyncpg
import pytest

from bus.errors import BadSettings, CheckpointMoved, LogDamaged, StoreUnavailable
from bus.event import Event
from projections import Checkpoints, Listed, Projector
from projections.dump import dump
from projections.generations import Generation, build
from projections.writer import wanted, write_events
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerEnteredZone, PlayerSessionSummarised
from tests.projected import SCHEMA, T0, event, events, places, rows, unreadable
from worldbus.embedded import PostgresServer
from worldbus.testing.projection_laws import Batches


@pytest.fixture
async def lossy() -> None:
    """asyncpg leaves a future behind that nobody can reach when a connection ends between two statements; it says nothing new."""

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not isinstance(context.get("exception"), asyncpg.ConnectionDoesNotExistError):
            loop.default_exception_handler(context)

    asyncio.get_running_loop().set_exception_handler(handle)


class Trickle:
    """Events that come a few at a time, with a pause, so that batches overlap with commits."""

    def __init__(self, history: Sequence[Event], step: int = 7) -> None:
        self._history, self._step = history, step

    async def read(self, *, after: int, follow: bool = False) -> AsyncIterator[Sequence[Event]]:
        for start in range(after, len(self._history), self._step):
            yield self._history[start : start + self._step]
            await asyncio.sleep(0.001)


async def test_archive_checkpoint_and_tables_move_together(database: str, connection: asyncpg.Connection) -> None:
    history = events(1000)

    assert await Projector(database, [places()]).run(Listed(history)) == 1000

    assert await rows(connection, "SELECT position FROM world.checkpoint") == [(1000,)]
    assert await rows(connection, "SELECT raw FROM world.events ORDER BY position") == [(one.raw,) for one in history]
    moves = sum(one.name == "PlayerEnteredZone" for one in history)
    gone = await connection.fetchval("SELECT sum(moves) FROM world.places")
    assert 0 < gone <= moves


async def test_a_row_says_what_its_events_said(database: str, connection: asyncpg.Connection) -> None:
    first = event(1, PlayerEnteredZone(zone="harbour", previous="mill", x=1.5))
    second = event(2, PlayerEnteredZone(zone="market", x=2.5))

    await Projector(database, [places()]).run(Listed([first, second], batch=1))

    found = await connection.fetchrow("SELECT *, extract(epoch FROM since) * 1000000 AS micros FROM world.places")
    assert (found["zone"], found["first_zone"], found["x"], found["moves"], found["position"]) == ("market", "harbour", 2.5, 2, 2)
    assert (found["tags"], found["more"], found["micros"]) == (["market", 'a "b"', None], '{"was": ""}', T0 // 1000 + 2000)


async def test_the_archive_tells_what_the_envelope_says(database: str, connection: asyncpg.Connection) -> None:
    one = event(1, PlayerEnteredZone(zone="harbour"), id="id-1")

    await Projector(database, []).run(Listed([one]))

    found = await connection.fetchrow("SELECT * FROM world.events")
    assert (found["event_id"], found["type"], found["cause"], found["depth"]) == ("id-1", "worldbus.player.v1.PlayerEnteredZone", "c", 1)
    assert (found["subject"], found["partition"]) == ("evt.duskmarket.test.mira.PlayerEnteredZone", 1)
    subject = b"evt.1.duskmarket.test.mira.PlayerEnteredZone"
    expected = sha256(bytes(32) + (1).to_bytes(8, "big") + len(subject).to_bytes(4, "big") + subject + one.raw).digest()
    assert found["chain"] == expected


async def test_a_delivery_repeated_changes_nothing(database: str, connection: asyncpg.Connection) -> None:
    history = events(100)

    await Projector(database, [places()]).run(Batches([history[:60], history[:60], history[30:], history]))

    assert await rows(connection, "SELECT count(*), max(position) FROM worldbus.events") == [(100, 100)]
    again = await dump(connection, places())
    await Projector(database, [places()]).run(Batches([history]))
    assert await dump(connection, places()) == again


async def test_a_gap_is_damage(database: str, connection: asyncpg.Connection) -> None:
    history = events(10)

    with pytest.raises(LogDamaged, match="wanted position 5, found 6"):
        await Projector(database, [places()]).run(Batches([history[:4], history[5:]]))

    assert await rows(connection, "SELECT position FROM world.checkpoint") in ([(4,)], [(0,)])


async def test_an_unreadable_event_is_archived_and_skipped_on_record(database: str, connection: asyncpg.Connection) -> None:
    broken = unreadable(2)

    await Projector(database, [places()]).run(Listed([*events(1), broken, *events(3, first=3)]))

    assert await rows(connection, "SELECT position, projection, code FROM world.skipped") == [(2, "*", "BAD_PAYLOAD")]
    assert await rows(connection, "SELECT raw, type, event_id FROM world.events WHERE position = 2") == [(broken.raw, None, None)]
    assert await rows(connection, "SELECT position FROM world.checkpoint") == [(5,)]


async def test_text_with_nul_is_kept_as_well_as_postgres_can(database: str, connection: asyncpg.Connection) -> None:
    await Projector(database, [places()]).run(Listed([event(1, PlayerEnteredZone(zone="a\0b"), id="id\0x")]))

    assert await rows(connection, "SELECT zone FROM world.places") == [("a\ufffdb",)]
    assert await rows(connection, "SELECT event_id FROM world.events") == [("id\ufffdx",)]
    assert await rows(connection, "SELECT * FROM world.skipped") == []


async def test_an_event_that_postgres_refuses_is_skipped_alone(database: str, connection: asyncpg.Connection) -> None:
    """A sum that a column cannot hold is the one thing that is not known beforehand."""
    amounts = [2**62, 5, 2**62, 7]
    history = [event(position, PlayerSessionSummarised(duration_ms=amount)) for position, amount in enumerate(amounts, start=1)]

    await Projector(database, [places()]).run(Listed(history))

    assert await rows(connection, "SELECT position, projection FROM world.skipped") == [(3, "places")]
    assert await rows(connection, "SELECT played_ms FROM world.places") == [(2**62 + 12,)]
    assert await rows(connection, "SELECT position FROM world.checkpoint") == [(4,)]


async def test_a_value_that_its_column_cannot_hold_is_skipped_even_when_a_later_one_covers_it(
    database: str, connection: asyncpg.Connection
) -> None:
    history = [event(position, PlayerEnteredZone(zone=zone)) for position, zone in enumerate(["z" * 601, "harbour"], start=1)]

    await Projector(database, [places()]).run(Listed(history))

    assert await rows(connection, "SELECT position, code FROM world.skipped") == [(1, "BadValue")]
    assert await rows(connection, "SELECT moves FROM world.places") == [(1,)]


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ("zone text,", "zone text CHECK (zone <> 'x'),"),
        ("zone text,", "zone text UNIQUE,"),
        ("zone text,", "zone varchar(3),"),
        ("zone text,", "zone text NOT NULL,"),
        ("since timestamptz", "since timestamptz DEFAULT now()"),
        ("more jsonb", "more json"),
        ("moves bigint NOT NULL DEFAULT 0", "moves bigint GENERATED ALWAYS AS IDENTITY"),
    ],
)
async def test_tables_hold_what_the_events_say_and_nothing_else(database: str, was: str, becomes: str) -> None:
    with pytest.raises(BadSettings):
        await Projector(database, [places(schema=SCHEMA.replace(was, becomes, 1))]).run(Listed([]))


async def test_a_subsystem_speaks_for_itself_only(database: str, connection: asyncpg.Connection) -> None:
    mine = replace(places(), said_by="player")
    said = [event(1, PlayerEnteredZone(zone="true"), subsystem="player"), event(2, PlayerEnteredZone(zone="false"), subsystem="game")]

    await Projector(database, [mine]).run(Listed(said))

    assert await rows(connection, "SELECT zone FROM world.places") == [("true",)]


async def test_of_two_projectors_one_stops(database: str) -> None:
    history = events(3000)

    ends = await asyncio.gather(*(Projector(database, [places()]).run(Trickle(history)) for _ in range(2)), return_exceptions=True)

    assert sorted(type(end).__name__ for end in ends) == ["CheckpointMoved", "int"]
    assert [end for end in ends if isinstance(end, int)] == [3000]


async def test_losing_the_connection_loses_and_doubles_nothing(database: str, connection: asyncpg.Connection, lossy: None) -> None:
    history, lost = events(4000), 0
    working = asyncio.create_task(Projector(database, [places()]).run(Trickle(history)))
    async with Checkpoints.open(database) as checkpoints:
        for position in range(300, 3600, 300):
            await checkpoints.wait_for(position, 100)
            lost += await connection.fetchval(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE application_name = 'worldbus' AND datname = current_database() AND query NOT LIKE ALL ($1)",
                ["%world.checkpoint%", "LISTEN%"],
            )
    await working

    assert lost >= 8
    assert await rows(connection, "SELECT count(*), max(position) FROM worldbus.events") == [(4000, 4000)]
    expected = await _folded_elsewhere(connection, history)
    assert (await dump(connection, places())).sha256 == expected


async def _folded_elsewhere(connection: asyncpg.Connection, history: Sequence[Event]) -> str:
    """The dump of the same events folded in one go, in schemas that are rolled back."""
    transaction = connection.transaction()
    await transaction.start()
    shapes = await build(connection, places(), "elsewhere")
    await write_events(connection, places(), shapes, "elsewhere", wanted(places(), history))
    made = Generation(projection="places", generation=0, version=1, schema="elsewhere", stopped_at=0, live=False)
    dumped = await dump(connection, places(), made)
    await transaction.rollback()
    return dumped.sha256


async def test_killing_postgres_loses_and_doubles_nothing(database: str, postgres_server: PostgresServer, lossy: None) -> None:
    history = events(3000)
    working = asyncio.create_task(Projector(database, [places()]).run(Trickle(history)))
    for position in (500, 1500):
        async with Checkpoints.open(database) as checkpoints:
            await checkpoints.wait_for(position, 100)
        await asyncio.to_thread(postgres_server.kill)
        await asyncio.to_thread(postgres_server.start)
    assert await working == 3000

    connection = await asyncpg.connect(database)
    assert await rows(connection, "SELECT count(*), max(position) FROM worldbus.events") == [(3000, 3000)]
    assert (await dump(connection, places())).sha256 == await _folded_elsewhere(connection, history)
    await connection.close()


async def test_a_lost_answer_to_commit_is_read_from_the_checkpoint(database: str, connection: asyncpg.Connection) -> None:
    """The batch is in, but the projector was not told: it must go on behind it, not repeat it and not stop."""
    history = events(200)
    projector = Projector(database, [places()])
    await projector.run(Listed(history[:100]))
    await Projector(database, [places()]).run(Listed(history[:150]))
    before = (await connection.fetchrow("SELECT position, chain FROM worldbus.checkpoint WHERE position = 150"))["chain"]
    projector._possible.add((150, before))  # as if this had been its own commit

    assert await projector.run(Listed(history)) == 200
    assert await rows(connection, "SELECT count(*) FROM worldbus.events") == [(200,)]


async def test_a_moved_checkpoint_ends_the_projector(database: str) -> None:
    history = events(200)
    projector = Projector(database, [places()])
    await projector.run(Listed(history[:100]))
    await Projector(database, [places()]).run(Listed(history[:150]))

    with pytest.raises(CheckpointMoved, match="found it at 150"):
        await projector.run(Listed(history))


async def test_without_migrations_the_next_step_is_named(empty_database: str) -> None:
    with pytest.raises(BadSettings, match="worldbus migrate"):
        await Projector(empty_database, [places()]).run(Listed(events(1)))


async def test_a_table_that_differs_from_its_declaration_is_refused(database: str) -> None:
    with pytest.raises(BadSettings, match="primary key"):
        await Projector(database, [places(schema=SCHEMA.replace("PRIMARY KEY (world, player)", "PRIMARY KEY (player)"))]).run(Listed([]))


async def test_waiting_for_a_position_returns_once_it_is_projected(database: str, reader: str) -> None:
    history = events(500)
    working = asyncio.create_task(Projector(database, [places()]).run(Trickle(history)))
    async with Checkpoints.open(reader) as checkpoints:
        reached = await checkpoints.wait_for(321, 100)

        assert reached >= 321
        assert await checkpoints.position() >= 321
    await working


async def test_waiting_in_vain_says_where_the_projections_are(database: str, reader: str) -> None:
    await Projector(database, [places()]).run(Listed(events(8)))
    async with Checkpoints.open(reader) as checkpoints:
        assert await checkpoints.wait_for(8, 0.05) == 8
        with pytest.raises(StoreUnavailable, match="position 9 within 0.05 s, found them at 8"):
            await checkpoints.wait_for(9, 0.05)
