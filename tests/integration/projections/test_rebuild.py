"""Rebuild: the old rows serve until the new ones are complete, the difference is shown, and nobody has to restart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import asyncpg
import pytest

from bus.errors import LogDamaged, Misuse
from bus.event import Event
from projections import Checkpoints, Listed, Projector
from projections.dump import dump
from projections.generations import load
from projections.hold import holding
from projections.rebuild import catch_up, filling, rebuild
from tests.projected import SCHEMA, events, places, rows


class Growing:
    """A log that others write to; a reader that follows it never ends."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._grown = asyncio.Condition()

    async def append(self, more: Sequence[Event]) -> None:
        async with self._grown:
            self.events += more
            self._grown.notify_all()

    async def read(self, *, after: int, follow: bool = False) -> AsyncIterator[Sequence[Event]]:
        while True:
            if after < len(self.events):
                batch = self.events[after : after + 300]
                after += len(batch)
                yield batch
            elif not follow:
                return
            else:
                async with self._grown:
                    while len(self.events) <= after:
                        await self._grown.wait()


WIDER = SCHEMA.replace("moves bigint", "steps bigint NOT NULL DEFAULT 0, moves bigint")


async def test_the_same_version_again_changes_nothing(database: str, connection: asyncpg.Connection) -> None:
    history = events(5000)
    await Projector(database, [places()]).run(Listed(history))
    before = await dump(connection, places())

    seen: list[tuple[int, int]] = []
    difference = await rebuild(places(), database, Listed(history), progress=lambda done, goal: seen.append((done, goal)))

    assert difference.empty
    assert (difference.position, difference.before_position, difference.before, difference.after) == (5000, 5000, 1, 1)
    assert [(table.table, table.before == table.after > 0) for table in difference.tables] == [("places", True), ("visits", True)]
    assert await dump(connection, places()) == before
    assert seen == sorted(seen)
    assert seen[-1][1] == 5000
    assert [(one.generation, one.live) for one in await load(connection)] == [(2, True)]


async def test_rows_that_were_wrong_are_named_and_mended(database: str, connection: asyncpg.Connection) -> None:
    await Projector(database, [places()]).run(Listed(events(100)))
    sound = await dump(connection, places())
    await connection.execute("UPDATE p_places_1_1.places SET zone = 'nowhere' WHERE player = (SELECT min(player) FROM world.places)")
    await connection.execute("DELETE FROM p_places_1_1.visits WHERE zone = 'zone1' AND player = 'player1'")
    await connection.execute("INSERT INTO p_places_1_1.visits VALUES ('duskmarket', 'nowhere', 'ghost')")

    difference = await rebuild(places(), database)

    found = {table.table: (table.added, table.removed, table.changed) for table in difference.tables}
    assert found == {"places": (0, 0, 1), "visits": (1, 1, 0)}
    key, before, after = difference.tables[0].sample[0]
    assert key.startswith("duskmarket/player")
    assert "nowhere" in (before or "")
    assert "nowhere" not in (after or "")
    assert await dump(connection, places()) == sound


async def test_a_rehearsal_switches_nothing(database: str, connection: asyncpg.Connection) -> None:
    await Projector(database, [places()]).run(Listed(events(100)))
    await connection.execute("UPDATE p_places_1_1.places SET zone = 'nowhere'")

    difference = await rebuild(places(), database, switch=False)

    assert not difference.empty
    assert await rows(connection, "SELECT DISTINCT zone FROM world.places") == [("nowhere",)]
    assert [(one.generation, one.live) for one in await load(connection)] == [(1, True)]


async def test_a_running_projector_writes_on_and_queries_are_served_throughout(
    database: str, reader: str, connection: asyncpg.Connection
) -> None:
    log, served, done = Growing(), 0, asyncio.Event()

    async def ask() -> None:
        nonlocal served
        asking = await asyncpg.connect(reader)
        while not done.is_set():
            assert await asking.fetchval("SELECT count(*) FROM world.places") > 0  # any error ends the test
            served += 1
        await asking.close()

    async def write() -> None:
        while not done.is_set():
            await checkpoints.wait_for(len(log.events) - 1000, 100)  # no faster than this machine projects
            await log.append(events(50, first=len(log.events) + 1))
            await asyncio.sleep(len(log.events) / 400_000)  # ever slower: on a busy machine a rebuild may be no quicker than the projector

    await log.append(events(3000))
    projector = Projector(database, [places()])
    working = asyncio.create_task(projector.run(log, follow=True))
    async with Checkpoints.open(reader) as checkpoints:
        await checkpoints.wait_for(3000, 100)
        busy = [asyncio.create_task(ask()), asyncio.create_task(write())]
        differences = [await rebuild(places(), database, log) for _ in range(3)]
        done.set()
        await asyncio.gather(*busy)
        await checkpoints.wait_for(len(log.events), 100)
    assert not working.done()  # the same projector, never restarted
    working.cancel()

    assert all(difference.empty for difference in differences)
    assert served > 0
    assert [(one.generation, one.live, one.stopped_at) for one in await load(connection)] == [(4, True, None)]
    kept = await dump(connection, places())
    await rebuild(places(), database)
    assert await dump(connection, places()) == kept


async def test_new_code_builds_its_version_beside_the_old_one_and_takes_its_place(database: str, connection: asyncpg.Connection) -> None:
    history = events(3000)
    await Projector(database, [places()]).run(Listed(history[:2500]))
    newer = places(version=2, schema=WIDER)

    await Projector(database, [newer]).run(Listed(history))

    assert await rows(connection, "SELECT version, position, in_step, live FROM world.projections") == [(2, 3000, True, True)]
    assert await rows(connection, "SELECT sum(steps) FROM world.places") == [(0,)]
    kept = await dump(connection, newer)
    assert (await rebuild(newer, database)).empty
    assert await dump(connection, newer) == kept


async def test_old_code_leaves_behind_what_it_does_not_know(database: str, connection: asyncpg.Connection) -> None:
    history = events(300)
    newer = places(version=2, schema=WIDER)
    await Projector(database, [newer]).run(Listed(history[:200]))

    await Projector(database, []).run(Listed(history))

    assert await rows(connection, "SELECT version, position, in_step, live FROM world.projections") == [(2, 200, False, True)]
    await Projector(database, [newer]).run(Listed(history))
    assert await rows(connection, "SELECT version, position, in_step, live FROM world.projections") == [(2, 300, True, True)]
    assert (await rebuild(newer, database)).empty


async def test_views_come_and_go_with_the_version(database: str, reader: str, connection: asyncpg.Connection) -> None:
    await Projector(database, [places()]).run(Listed(events(100)))
    other = places(version=2, schema=SCHEMA.replace("VIEW crowds", "VIEW gatherings").replace("count(*) AS players", "count(*) AS people"))

    await rebuild(other, database)

    asking = await asyncpg.connect(reader)
    assert await asking.fetchval("SELECT sum(people) FROM world.gatherings") > 0
    with pytest.raises(asyncpg.UndefinedTableError):
        await asking.fetchval("SELECT 1 FROM world.crowds")
    await asking.close()


async def test_a_long_query_delays_the_switch_and_is_not_harmed(database: str, reader: str, connection: asyncpg.Connection) -> None:
    await Projector(database, [places()]).run(Listed(events(100)))
    asking = await asyncpg.connect(reader)
    query = asking.transaction()
    await query.start()
    count = await asking.fetchval("SELECT count(*) FROM world.places")

    rebuilding = asyncio.create_task(rebuild(places(), database))
    await asyncio.sleep(0.5)

    assert not rebuilding.done()
    assert await asking.fetchval("SELECT count(*) FROM world.places") == count
    await query.rollback()
    await asking.close()
    assert (await rebuilding).empty


async def test_what_a_killed_rebuild_left_is_removed(database: str, connection: asyncpg.Connection) -> None:
    await Projector(database, [places()]).run(Listed(events(5000)))

    def die(done: int, goal: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await rebuild(places(), database, progress=die)
    assert [(one.generation, one.live) for one in await load(connection)] == [(1, True), (2, False)]

    await rebuild(places(), database)

    assert [one.live for one in await load(connection)] == [True]
    assert len(await rows(connection, "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'p\\_places%'")) == 1


async def test_one_rebuild_at_a_time(database: str, connection: asyncpg.Connection) -> None:
    await Projector(database, [places()]).run(Listed(events(10)))

    async with holding(database, "worldbus rebuild places") as mine:
        assert mine
        with pytest.raises(Misuse, match="another process"):
            await rebuild(places(), database)
    await rebuild(places(), database)


async def test_a_generation_is_filled_by_one_process(database: str, connection: asyncpg.Connection) -> None:
    await Projector(database, [places()]).run(Listed(events(10)))
    await Projector(database, []).run(Listed(events(20)))
    (left,) = await load(connection)

    async with filling(database, left.schema) as mine:
        assert mine
        assert not await catch_up(connection, database, places(), left)
    assert await catch_up(connection, database, places(), left)


async def test_a_source_with_a_gap_is_refused(database: str, connection: asyncpg.Connection) -> None:
    history = events(100)
    await Projector(database, [places()]).run(Listed(history))

    with pytest.raises(LogDamaged, match="wanted position 50, found 51"):
        await rebuild(places(), database, Listed(history[:49] + history[50:]))

    assert await rows(connection, "SELECT live, position FROM world.projections WHERE live") == [(True, 100)]


async def test_a_source_that_is_too_short_is_refused(database: str) -> None:
    history = events(5000)
    await Projector(database, [places()]).run(Listed(history))

    with pytest.raises(LogDamaged, match="shorter than the archive"):
        await rebuild(places(), database, Listed(history[:2000]))
