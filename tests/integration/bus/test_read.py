"""Reading the log: in order, every event once, whatever happens to the server meanwhile; a gap is damage."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import pytest

from bus.connection import Connection, connect
from bus.errors import LogDamaged, Misuse
from bus.event import Draft, Event
from bus.log import Log, LogConfig, attach, open_log
from bus.publisher import Publisher, open_publisher
from bus.subjects import stored_filter
from tests.integration.bus.drafts import moved
from worldbus.embedded import NatsServer


async def everything(batches: AsyncIterator[list[Event]]) -> list[Event]:
    return [event async for batch in batches for event in batch]


def positions(events: list[Event]) -> list[int]:
    return [event.position for event in events]


async def test_events_come_in_order_with_their_bytes(log: Log, publisher: Publisher) -> None:
    drafts = [moved(n) for n in range(5000)]
    await publisher.publish_many(drafts)
    events = await everything(log.read())

    assert list(range(1, 5001)) == positions(events)
    assert [draft.encode() for draft in drafts] == [event.raw for event in events]
    assert [draft.subject for draft in drafts] == [event.subject for event in events]


@pytest.mark.parametrize("batch", [1, 7, 1000])
@pytest.mark.parametrize(("after", "until"), [(0, None), (10, None), (0, 40), (39, 40), (40, 40), (50, 40), (100, None), (99, 1000)])
async def test_a_stretch_of_the_log(log: Log, publisher: Publisher, after: int, until: int | None, batch: int) -> None:
    await publisher.publish_many([moved(n) for n in range(100)])
    events = await everything(log.read(after=after, until=until, batch=batch))

    assert list(range(after + 1, min(until or 100, 100) + 1)) == positions(events)


async def test_reading_ends_where_the_log_ended_when_it_began(log: Log, publisher: Publisher) -> None:
    await publisher.publish_many([moved(n) for n in range(100)])
    seen: list[int] = []
    async for batch in log.read(batch=10):
        seen += positions(batch)
        await publisher.publish(moved(1))

    assert list(range(1, 101)) == seen


async def test_filters_select_by_world_subsystem_entity_and_type(log: Log, publisher: Publisher) -> None:
    await publisher.publish_many([moved(n, world=f"w{n % 3}", subsystem=("game", "operator")[n % 2]) for n in range(300)])

    for filters, wanted in (
        ([stored_filter(world="w1")], lambda n: n % 3 == 1),
        ([stored_filter(subsystem="operator")], lambda n: n % 2 == 1),
        ([stored_filter(entity="p4")], lambda n: n % 5 == 4),
        ([stored_filter(name="PlayerMoved")], lambda n: True),
        ([stored_filter(name="PlayerLeft")], lambda n: False),
        ([stored_filter(world="w1"), stored_filter(world="w2", entity="p0")], lambda n: n % 3 == 1 or (n % 3 == 2 and n % 5 == 0)),
    ):
        events = await everything(log.read(filters=filters))

        assert [n + 1 for n in range(300) if wanted(n)] == positions(events), filters


async def test_several_filters_that_want_little_of_a_long_log_do_not_stall(log: Log, publisher: Publisher) -> None:
    """Whole requests may be skipped on the way to the next match."""
    await publisher.publish_many([moved(n, entities=1000) for n in range(3000)])
    filters = [stored_filter(entity="p999"), stored_filter(world="elsewhere"), stored_filter(entity="p998")]

    assert [999, 1000, 1999, 2000, 2999, 3000] == positions(await everything(log.read(filters=filters, batch=10)))
    assert [2999, 3000] == positions(await everything(log.read(filters=filters, after=2990, follow=True, until=3000, batch=2)))


@pytest.mark.parametrize("follow", [False, True])
async def test_a_filter_that_matches_most_of_a_long_log(log: Log, publisher: Publisher, follow: bool) -> None:
    """Such a read asks for everything and chooses itself, because matching is what costs the server."""
    await publisher.publish_many([moved(n, entities=500, subsystem=("game", "operator")[n % 3 == 0]) for n in range(6000)])
    events = await everything(log.read(filters=[stored_filter(subsystem="game")], after=100, follow=follow, until=6000))

    assert [n + 1 for n in range(100, 6000) if n % 3] == positions(events)


async def test_overlapping_filters_give_each_event_once(log: Log, publisher: Publisher) -> None:
    await publisher.publish_many([moved(n) for n in range(50)])
    events = await everything(log.read(filters=[stored_filter(world="testworld"), stored_filter(entity="p1")]))

    assert list(range(1, 51)) == positions(events)


async def test_reading_since_a_moment(log: Log, publisher: Publisher) -> None:
    await publisher.publish_many([moved(n) for n in range(10)])
    cut = datetime.now(UTC)
    await publisher.publish_many([moved(n) for n in range(10)])

    assert list(range(11, 21)) == positions(await everything(log.read(since=cut)))
    assert list(range(11, 21, 1)) == positions(await everything(log.read(since=cut, until=20)))
    assert list(range(1, 21)) == positions(await everything(log.read(since=cut - timedelta(days=1))))
    assert [] == positions(await everything(log.read(since=cut + timedelta(days=1))))


async def test_a_moment_without_a_time_zone_is_refused(log: Log) -> None:
    with pytest.raises(Misuse, match="time zone"):
        log.read(since=datetime(2026, 1, 1))  # noqa: DTZ001 - that is the mistake


async def test_following_gives_what_comes_later(log: Log, publisher: Publisher) -> None:
    await publisher.publish(moved(0))
    seen: list[int] = []
    async with aclosing(log.read(follow=True)) as batches:
        async for batch in batches:
            seen += positions(batch)
            if len(seen) == 20:
                break
            await publisher.publish(moved(len(seen)))

    assert list(range(1, 21)) == seen


async def test_following_ends_at_until_even_when_nothing_there_matches(log: Log, publisher: Publisher) -> None:
    await publisher.publish_many([moved(n) for n in range(10)])
    reading = asyncio.create_task(everything(log.read(follow=True, until=12, filters=[stored_filter(entity="p0")])))
    await publisher.publish_many([moved(1), moved(2), moved(0)])

    assert [1, 6] == positions(await reading)


async def test_a_slow_reader_loses_nothing_and_holds_little(connection: Connection, log: Log, publisher: Publisher) -> None:
    await publisher.publish_many([moved(n) for n in range(3000)])
    seen: list[int] = []
    async for batch in log.read(batch=50):
        assert len(batch) <= 50
        seen += positions(batch)
        await asyncio.sleep(0.001)

    assert list(range(1, 3001)) == seen


async def test_a_server_killed_again_and_again_costs_nothing(own_server: NatsServer) -> None:
    """Never skips, never repeats: the reader goes on behind the last position it handed out, the publisher resends with the same ids."""
    async with connect(own_server.url, name="writer") as writing, connect(own_server.url, name="reader") as reading:
        log, mine = await open_log(writing), await open_log(reading)
        seen: list[Event] = []

        async def read() -> None:
            async for batch in mine.read(follow=True, until=4000, batch=100):
                seen.extend(batch)

        async def kill() -> None:
            for goal in (500, 1500, 2500):
                while len(seen) < goal:
                    await asyncio.sleep(0.005)
                own_server.kill()
                await asyncio.to_thread(own_server.start)

        async def write(drafts: list[Draft]) -> list[int]:
            written: list[int] = []
            async with open_publisher(writing, log, "relaxed") as publisher:
                for at in range(0, len(drafts), 100):
                    written += await publisher.publish_many(drafts[at : at + 100])
            return written

        drafts = [moved(n) for n in range(4000)]
        written, *_ = await asyncio.gather(write(drafts), read(), kill())

        assert list(range(1, 4001)) == positions(seen)
        assert list(range(1, 4001)) == written
        assert [draft.encode() for draft in drafts] == [event.raw for event in seen]


async def test_a_frozen_server_only_delays(own_server: NatsServer) -> None:
    async with connect(own_server.url, name="test") as connection:
        log = await open_log(connection)
        async with open_publisher(connection, log, "relaxed") as publisher:
            seen: list[int] = []

            async def read() -> None:
                async for batch in log.read(follow=True, until=200):
                    seen.extend(positions(batch))

            reading = asyncio.create_task(read())
            await publisher.publish_many([moved(n) for n in range(100)])
            own_server.signal(signal.SIGSTOP)
            writing = asyncio.create_task(publisher.publish_many([moved(n) for n in range(100)]))
            await asyncio.sleep(0.5)
            own_server.signal(signal.SIGCONT)
            await asyncio.gather(reading, writing)

            assert list(range(1, 201)) == seen


async def gap_stream(connection: Connection, *, first: int = 1) -> Log:
    """A log in which somebody deleted an event, as damage or a careless hand would."""
    await connection.api("STREAM.CREATE.LOG", LogConfig().stream() | {"deny_delete": False, "deny_purge": False})
    for n in range(20):
        await connection.request(moved(n).subject.published(), moved(n).encode())
    if first > 1:
        await connection.api("STREAM.PURGE.LOG", {"seq": first})
    else:
        await connection.api("STREAM.MSG.DELETE.LOG", {"seq": 10, "no_erase": True})
    await connection.api("STREAM.UPDATE.LOG", LogConfig().stream() | {"deny_delete": False, "deny_purge": False})
    return await attach(connection, LogConfig())


@pytest.mark.parametrize("first", [1, 5])
async def test_a_gap_is_damage_and_never_skipped(connection: Connection, first: int) -> None:
    log = await gap_stream(connection, first=first)
    with pytest.raises(LogDamaged, match="repair"):
        await everything(log.read())
    with pytest.raises(LogDamaged):
        await everything(log.read(after=2))
    await log.aclose()


async def test_a_log_that_ends_before_the_reader_is_damage(log: Log, publisher: Publisher) -> None:
    """A reader ahead of the log is never "caught up": the log lost what the reader has seen."""
    await publisher.publish_many([moved(n) for n in range(5)])
    with pytest.raises(LogDamaged, match="wanted every one from 1 to at least 9") as damage:
        await everything(log.read(after=9, follow=True))

    assert {"wanted": 9, "found": 5} == damage.value.facts


async def test_a_log_that_is_gone_ends_its_readers(connection: Connection, log: Log, publisher: Publisher) -> None:
    await publisher.publish(moved(1))
    reading = asyncio.create_task(everything(log.read(follow=True)))
    await log.wait_for(1)
    await connection.api("STREAM.DELETE.LOG")
    with pytest.raises(LogDamaged, match="is gone"):
        await reading


async def test_many_readers_at_once(log: Log, publisher: Publisher) -> None:
    await publisher.publish_many([moved(n) for n in range(1000)])
    several = await asyncio.gather(*[everything(log.read(after=after)) for after in range(0, 1000, 100)])

    assert [list(range(after + 1, 1001)) for after in range(0, 1000, 100)] == [positions(one) for one in several]


async def test_hostile_bytes_in_the_log_do_not_stop_a_reader(connection: Connection, log: Log) -> None:
    """Somebody with raw access stored rubbish: its position comes with what is there, and looking inside is an error of its own."""
    for subject in ("evt.w.game.e.\x00", "evt.w.game.ü.X", "evt.w.game.e.PlayerMoved", "evt.*.game.e.X"):
        connection.write(b"PUB %b 3\r\n\xff\xfe\x00\r\n" % subject.encode())
    await log.wait_for(4)

    assert [1, 2, 3, 4] == positions(await everything(log.read()))
