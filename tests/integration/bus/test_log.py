"""The log's stream: how it is laid out, how its loss is noticed, reading by position and by lane, restoring."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator

import pytest

from bus.connection import ApiError, Connection, connect
from bus.errors import LogDamaged, Misuse
from bus.log import Log, LogConfig, LogState, attach, open_log
from bus.publisher import Publisher
from bus.restore import Kept, restore_log
from bus.subjects import partition_of, stored_filter
from tests.integration.bus.drafts import WORLD, moved
from worldbus.embedded import NatsServer


async def test_a_new_log_is_empty_and_readers_see_nothing_of_its_marker(log: Log) -> None:
    assert LogState(0, 0, 0) == await log.state()
    assert [] == [batch async for batch in log.read()]


async def test_opening_again_finds_the_same_log(connection: Connection, log: Log, publisher: Publisher) -> None:
    await publisher.publish(moved(1))
    again = await open_log(connection)

    assert LogState(1, 1, 1) == await again.state()
    await again.aclose()


async def test_two_who_open_at_the_same_moment_share_one_log(nats_server: NatsServer, connection: Connection) -> None:
    async with connect(nats_server.url, name="other") as other:
        logs = await asyncio.gather(*[open_log(one) for one in (connection, other, connection, other)])

        assert [LogState(0, 0, 0)] * 4 == [await log.state() for log in logs]


async def test_events_cannot_be_deleted_or_purged(connection: Connection, log: Log, publisher: Publisher) -> None:
    await publisher.publish(moved(1))
    for verb, body in (("STREAM.MSG.DELETE.LOG", {"seq": 1}), ("STREAM.PURGE.LOG", {})):
        with pytest.raises(ApiError):
            await connection.api(verb, body)

    assert LogState(1, 1, 1) == await log.state()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"deny_delete": False}, "deny_delete"),
        ({"deny_purge": False}, "deny_purge"),
        ({"allow_direct": False}, "allow_direct"),
        ({"allow_atomic": False}, "allow_atomic"),
        ({"max_msgs": 1000}, "max_msgs"),
        ({"max_age": 3_600_000_000_000}, "max_age"),
        ({"max_msgs_per_subject": 1}, "max_msgs_per_subject"),
        ({"storage": "memory"}, "storage"),
        ({"allow_atomic": False, "persist_mode": "async"}, "persist_mode"),
        ({"subject_transform": None}, "subject_transform"),
        ({"subject_transform": LogConfig(partitions=4).stream()["subject_transform"]}, "subject_transform"),
    ],
)
async def test_a_stream_laid_out_differently_is_refused_by_name(connection: Connection, change: dict[str, object], named: str) -> None:
    await connection.api("STREAM.CREATE.LOG", LogConfig().stream() | change)

    with pytest.raises(Misuse, match=named):
        await open_log(connection, LogConfig(partitions=8))


async def test_whoever_asks_for_no_number_of_partitions_takes_those_that_are_there(connection: Connection) -> None:
    made = await open_log(connection, LogConfig(partitions=3))
    found = await open_log(connection)

    assert (made.partitions, found.partitions) == (3, 3)
    for log in (made, found):
        await log.aclose()


@pytest.mark.parametrize("lost", [False, True])
async def test_a_restored_log_has_as_many_partitions_as_before(connection: Connection, lost: bool) -> None:
    """Whoever repairs asks for no number either; with another one, handlers would look for their inputs where they are not."""
    made = await open_log(connection, LogConfig(partitions=3))
    await made.aclose()
    if lost:
        await connection.api("STREAM.DELETE.LOG")

    async def nothing() -> AsyncIterator[Kept]:
        return
        yield Kept("", b"")

    assert await restore_log(connection, LogConfig(), nothing()) == 0
    found = await open_log(connection)
    assert found.partitions == 3
    await found.aclose()


async def test_what_the_server_has_still_to_remove_is_not_in_the_restored_log(
    nats_server: NatsServer, connection: Connection, log: Log, publisher: Publisher
) -> None:
    """A folder set aside keeps nats-server from deleting the stream; it says that it is deleted."""
    await publisher.publish_many([moved(number) for number in range(5)])
    (streams,) = nats_server.store.glob("jetstream/*/streams")
    aside = streams / ".LOG"
    (aside / "msgs").mkdir(parents=True)

    async def two() -> AsyncIterator[Kept]:
        for number in range(2):
            yield Kept(moved(number).subject.published(), moved(number).encode())

    restoring = asyncio.create_task(restore_log(connection, LogConfig(), two()))
    await asyncio.sleep(0.5)
    assert not restoring.done()
    shutil.rmtree(aside)
    assert await restoring == 2
    assert (await log.state()).last == 2


async def test_the_subjects_of_another_stream_are_named(connection: Connection) -> None:
    await connection.api("STREAM.CREATE.OTHER", {"name": "OTHER", "subjects": ["evt.>"]})

    with pytest.raises(Misuse, match="already takes the subjects"):
        await open_log(connection)


async def test_a_log_that_vanished_is_not_made_anew(connection: Connection, log: Log) -> None:
    await connection.api("STREAM.DELETE.LOG")
    with pytest.raises(LogDamaged, match="was made at"):
        await open_log(connection)


async def test_another_log_in_its_place_is_noticed(connection: Connection, log: Log) -> None:
    await connection.api("STREAM.DELETE.LOG")
    await connection.api("STREAM.CREATE.LOG", LogConfig().stream())
    with pytest.raises(LogDamaged, match="was made at"):
        await open_log(connection)


async def test_losing_the_snapshots_loses_nothing(connection: Connection, log: Log, publisher: Publisher) -> None:
    await publisher.publish(moved(1))
    await connection.api("STREAM.DELETE.SNAPSHOTS")
    again = await open_log(connection)

    assert LogState(1, 1, 1) == await again.state()
    await again.aclose()


async def test_our_partition_is_the_servers_partition(log: Log, publisher: Publisher) -> None:
    """`partition_of` must compute what the stream's transform computes, or fences would guard the wrong lane."""
    drafts = [moved(n, entity=f"{'x' * (n % 60)}-{n}", world=f"w{n % 7}") for n in range(500)]
    await publisher.publish_many(drafts)
    stored = [event async for batch in log.read() for event in batch]

    assert [partition_of(draft.world, draft.entity, 8) for draft in drafts] == [event.partition for event in stored]


async def test_get_gives_the_event_at_a_position(log: Log, publisher: Publisher) -> None:
    drafts = [moved(n) for n in range(10)]
    await publisher.publish_many(drafts)
    event = await log.get(7)

    assert (7, drafts[6].encode(), drafts[6].subject) == (event.position, event.raw, event.subject)
    assert event.recorded_ns > 0


async def test_get_beyond_the_end_says_where_the_end_is(log: Log, publisher: Publisher) -> None:
    await publisher.publish(moved(1))
    with pytest.raises(LogDamaged, match="holds 1 to 1"):
        await log.get(2)


async def test_last_gives_the_newest_match(log: Log, publisher: Publisher) -> None:
    await publisher.publish_many([moved(n) for n in range(20)])

    newest = await log.last(stored_filter(entity="p3"))
    exact = await log.last(f"evt.{partition_of(WORLD, 'p3', 8)}.{WORLD}.game.p3.PlayerMoved")
    nobody = await log.last(stored_filter(entity="nobody"))

    assert newest is not None
    assert exact == newest
    assert 19 == newest.position
    assert nobody is None


async def test_read_lane_gives_one_entitys_history_behind_a_position(log: Log, publisher: Publisher) -> None:
    await publisher.publish_many([moved(n) for n in range(6000)])
    whole = await log.read_lane(stored_filter(entity="p2"))
    rest = await log.read_lane(stored_filter(entity="p2"), after=5000)
    nothing = await log.read_lane(stored_filter(entity="nobody"))

    assert list(range(3, 6001, 5)) == [event.position for event in whole]
    assert list(range(5003, 6001, 5)) == [event.position for event in rest]
    assert [] == nothing


async def test_a_long_lane_comes_whole_over_several_answers(log: Log, publisher: Publisher) -> None:
    await publisher.publish_many([moved(n, entities=1) for n in range(3500)])

    assert list(range(1, 3501)) == [event.position for event in await log.read_lane(stored_filter(entity="p0"))]


async def test_wait_for_returns_once_the_position_is_written(log: Log, publisher: Publisher) -> None:
    waiting = asyncio.create_task(log.wait_for(3))
    await publisher.publish(moved(1))
    await publisher.publish(moved(2))
    assert not waiting.done()
    await publisher.publish(moved(3))
    await waiting

    with pytest.raises(TimeoutError):
        await log.wait_for(4, timeout=0.05)


async def test_a_restored_log_has_every_event_at_its_old_position(connection: Connection, log: Log, publisher: Publisher) -> None:
    await publisher.publish_many([moved(n) for n in range(3000)])
    before = [event async for batch in log.read() for event in batch]

    async def archive() -> AsyncIterator[Kept]:
        for event in before:
            stored = f"evt.{event.partition}.{'.'.join(event.subject)}"
            yield Kept(stored if event.position % 2 else event.subject.published(), event.raw)

    count = await restore_log(connection, log.config, archive())
    again = await open_log(connection)
    after = [event async for batch in again.read() for event in batch]
    await again.aclose()

    assert 3000 == count
    assert before == after


async def test_half_a_restore_leaves_a_log_that_nobody_opens(connection: Connection, log: Log, publisher: Publisher) -> None:
    await publisher.publish(moved(1))

    async def archive() -> AsyncIterator[Kept]:
        for n in range(1500):
            yield Kept(moved(n).subject.published(), moved(n).encode())
        yield Kept("evt.not-a-subject", b"y")

    with pytest.raises(Misuse, match="position 1501"):
        await restore_log(connection, log.config, archive())
    with pytest.raises(LogDamaged, match="was made at"):
        await open_log(connection)


async def test_a_publisher_in_the_middle_of_a_restore_is_noticed(connection: Connection, log: Log) -> None:
    async def archive() -> AsyncIterator[Kept]:
        for n in range(2500):
            if n == 1200:
                await connection.request(moved(n).subject.published(), moved(n).encode())
            yield Kept(moved(n).subject.published(), moved(n).encode())

    with pytest.raises(LogDamaged, match="stop whoever publishes"):
        await restore_log(connection, log.config, archive())


async def test_salvage_reads_around_a_gap(connection: Connection) -> None:
    await connection.api("STREAM.CREATE.LOG", LogConfig().stream() | {"deny_delete": False})
    for n in range(20):
        await connection.request(moved(n).subject.published(), moved(n).encode())
    await connection.api("STREAM.MSG.DELETE.LOG", {"seq": 10, "no_erase": True})
    log = await attach(connection, LogConfig())

    assert [*range(1, 10), *range(11, 21)] == [event.position async for batch in log.salvage() for event in batch]
    await log.aclose()
