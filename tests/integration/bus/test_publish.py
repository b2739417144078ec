"""Publishing: one answer per event, the same id once, fences, groups, group commit; an unknown outcome is never called success."""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections import Counter
from pathlib import Path

import pytest

from bus.connection import Connection, connect
from bus.durability import prove
from bus.errors import (
    BadEvent,
    Conflict,
    Disconnected,
    IdReused,
    LogDamaged,
    NoLog,
    NotDurable,
    StorageFull,
    TooLarge,
    Unknown,
    WorldbusError,
)
from bus.event import Event
from bus.group_commit import SINGLES, GroupCommit
from bus.log import Log, LogConfig, attach, open_log
from bus.publisher import Publisher, open_publisher
from bus.subjects import LaneName, stored_filter
from tests.integration.bus.drafts import WORLD, moved
from tests.integration.bus.waiting import eventually
from tests.pausing import pause
from worldbus.embedded import NatsServer


async def stored(log: Log) -> list[Event]:
    return [event async for batch in log.read() for event in batch]


async def test_a_position_is_where_the_event_really_is(log: Log, publisher: Publisher) -> None:
    drafts = [moved(n) for n in range(300)]
    positions = await asyncio.gather(*[publisher.publish(draft) for draft in drafts])
    events = await stored(log)

    assert [draft.id for draft in drafts] == [events[position - 1].id for position in positions]


async def test_submissions_are_recorded_in_their_order(log: Log, publisher: Publisher) -> None:
    futures = [publisher.submit(moved(n)) for n in range(3000)]

    assert list(range(1, 3001)) == await asyncio.gather(*futures)


async def test_many_events_from_either_kind_of_source(log: Log, publisher: Publisher) -> None:
    async def source():
        for n in range(1500):
            yield moved(n)

    assert list(range(1, 2001)) == await publisher.publish_many(moved(n) for n in range(2000))
    assert list(range(2001, 3501)) == await publisher.publish_many(source())
    assert [] == await publisher.publish_many([])


async def test_the_same_event_again_is_recorded_once(log: Log, publisher: Publisher) -> None:
    draft = moved(1)
    first = await publisher.publish(draft)
    again = await asyncio.gather(*[publisher.publish(draft) for _ in range(20)])
    many = await publisher.publish_many([draft] * 5)

    assert [first] * 25 == again + many
    assert 1 == (await log.state()).last


async def test_the_same_event_made_anew_is_recorded_once(log: Log, publisher: Publisher) -> None:
    """Whoever crashed makes it again, at a later time of its clock; alone, among many, and in a group."""
    first = await publisher.publish(moved(1, id="again"))
    group = await publisher.publish_group([moved(2, id="g1"), moved(3, id="g2")])

    assert await publisher.publish(moved(1, id="again")) == first
    assert await publisher.publish_many([moved(1, id="again")] * 3) == [first] * 3
    assert await publisher.publish_group([moved(2, id="g1"), moved(3, id="g2")]) == group
    assert (await log.state()).last == 3


async def test_the_same_id_with_another_body_is_refused_and_never_swallowed(log: Log, publisher: Publisher) -> None:
    await publisher.publish(moved(1, id="taken"))
    for other in (moved(2, id="taken", entity="p1"), moved(1, id="taken", entity="elsewhere")):
        with pytest.raises(IdReused) as reused:
            await publisher.publish(other)

        assert "ID_REUSED_WITH_DIFFERENT_BODY" == reused.value.code
        with pytest.raises(IdReused):
            await publisher.publish_many([moved(5), other])
    assert 1 == sum(event.id == "taken" for event in await stored(log))


async def test_once_holds_beyond_the_logs_memory_of_ids(connection: Connection) -> None:
    """The window is two minutes; here it is 100 ms, and long over."""
    await connection.api("STREAM.CREATE.LOG", LogConfig().stream() | {"duplicate_window": 100_000_000})
    log = await attach(connection, LogConfig())
    async with open_publisher(connection, log, "relaxed") as publisher:
        draft = moved(1)
        first = await publisher.publish(draft, once=True)
        await publisher.publish_many([moved(n, entity="p1") for n in range(50)])
        newest = moved(1, entity="p2")
        recorded = await publisher.publish(newest)
        while recorded == await publisher.publish(newest):
            await asyncio.sleep(0.05)  # the log forgets in the order in which it heard
        assert first == await publisher.publish(draft, once=True)
        assert first == await publisher.publish(moved(1, id=draft.id), once=True), "made anew, after a crash say: only our clock went on"
        with pytest.raises(IdReused):
            await publisher.publish(moved(1, id=draft.id, time_ns=5), once=True)
        with pytest.raises(IdReused):
            await publisher.publish(moved(9, entity="p1", id=draft.id), once=True)
        forgotten = await publisher.publish(draft)  # without `once` the log has forgotten it: this is what `once` is for

        assert (1, 54) == (first, forgotten)
    await log.aclose()


async def test_expected_lets_exactly_one_of_many_writers_in(log: Log, publisher: Publisher) -> None:
    at = await publisher.publish(moved(0, entity="hero"))
    answers = await asyncio.gather(*[publisher.publish(moved(n, entity="hero"), expected=at) for n in range(30)], return_exceptions=True)

    assert 1 == sum(isinstance(answer, int) for answer in answers)
    assert 29 == sum(isinstance(answer, Conflict) for answer in answers)
    conflict = next(answer for answer in answers if isinstance(answer, Conflict))
    assert {"world": WORLD, "subsystem": "game", "entity": "hero", "expected": 1, "found": 2} == conflict.facts


async def test_expected_zero_means_nothing_was_said_yet(log: Log, publisher: Publisher) -> None:
    assert 1 == await publisher.publish(moved(0, entity="new"), expected=0)
    with pytest.raises(Conflict):
        await publisher.publish(moved(1, entity="new"), expected=0)
    assert 2 == await publisher.publish(moved(1, entity="new", subsystem="operator"), expected=0)


async def test_a_fenced_publish_is_recognised_when_it_had_arrived_before(log: Log, publisher: Publisher) -> None:
    """Its acknowledgement was lost and it was sent again: the conflict is with itself."""
    draft = moved(1, entity="hero")
    future = publisher.submit(draft, expected=0)
    publication = next(iter(publisher._open.values()))
    publisher._send(publication)  # as after a timeout

    assert 1 == await future
    assert 1 == (await log.state()).last


async def test_a_fenced_publish_sent_twice_is_not_taken_for_what_overtook_it(log: Log, publisher: Publisher) -> None:
    """It was sent again because no answer came; what moved the lane meanwhile is somebody else's event."""
    await publisher.publish(moved(1, entity="hero"))
    future = publisher.submit(moved(2, entity="hero"), expected=0)
    publication = next(iter(publisher._open.values()))
    publisher._send(publication)  # as after a timeout

    with pytest.raises(Conflict, match="at 0, found it at 1"):
        await future
    assert publication.tries == 2
    assert 1 == (await log.state()).last


async def test_a_group_is_recorded_together_and_once(log: Log, publisher: Publisher) -> None:
    group = [moved(n) for n in range(10)]
    positions = await publisher.publish_group(group)

    assert list(range(1, 11)) == positions
    assert positions == await publisher.publish_group(group)
    assert 10 == (await log.state()).last
    assert [] == await publisher.publish_group([])
    assert [11] == await publisher.publish_group([moved(1)])


async def test_a_group_with_one_bad_apple_leaves_nothing(log: Log, publisher: Publisher) -> None:
    await publisher.publish(moved(1, id="taken"))
    bad_groups = [
        [moved(1), moved(2), moved(3, id="taken")],
        [moved(1), moved(2, id="two words")],
        [moved(1, id="twin"), moved(2, id="twin")],
        [moved(n) for n in range(1001)],
    ]
    for group in bad_groups:
        with pytest.raises((IdReused, BadEvent)):
            await publisher.publish_group(group)
    with pytest.raises(Conflict):
        await publisher.publish_group([moved(1, entity="hero"), moved(2, entity="hero")], expected={LaneName(WORLD, "game", "hero"): 7})

    assert 1 == (await log.state()).last
    with pytest.raises(TooLarge) as large:
        await publisher.publish_group(bad_groups[-1])
    assert "BATCH_TOO_LARGE" == large.value.code


async def test_a_full_window_makes_publishers_wait(connection: Connection, log: Log) -> None:
    async with open_publisher(connection, log, "relaxed", window=10) as publisher:
        most = 0

        async def one(n: int) -> None:
            nonlocal most
            await publisher.publish(moved(n))
            most = max(most, publisher.in_flight)

        await asyncio.gather(*[one(n) for n in range(500)])

        assert most <= 10
        assert 500 == (await log.state()).last


async def test_leaving_the_block_waits_for_what_was_submitted(connection: Connection, log: Log) -> None:
    async with open_publisher(connection, log, "relaxed") as publisher:
        futures = [publisher.submit(moved(n)) for n in range(100)]

    assert all(future.done() for future in futures)
    assert 100 == (await log.state()).last


async def test_without_a_stream_nothing_is_recorded_and_the_error_names_it(connection: Connection) -> None:
    log = await attach(connection, LogConfig())
    publisher = Publisher(connection, log, "relaxed", deadline=0.3)
    await publisher.open()
    for call in (publisher.publish(moved(1)), publisher.publish_many([moved(1)]), publisher.publish_group([moved(1), moved(2)])):
        with pytest.raises(NoLog, match="is log LOG there") as missing:
            await call
        assert "NO_SUCH_STREAM" == missing.value.code
    await publisher.aclose()
    await log.aclose()


async def test_a_full_store_is_an_error_at_once(connection: Connection) -> None:
    await connection.api("STREAM.CREATE.LOG", LogConfig().stream() | {"max_bytes": 2000, "discard": "new"})
    log = await attach(connection, LogConfig())
    async with open_publisher(connection, log, "relaxed") as publisher:
        with pytest.raises(StorageFull):
            await asyncio.gather(*[publisher.publish(moved(n)) for n in range(50)])
    await log.aclose()


async def test_without_an_answer_the_outcome_is_unknown(own_server: NatsServer) -> None:
    """A frozen server: neither success nor failure may be claimed. The same id later settles it."""
    async with connect(own_server.url, name="test") as connection:
        log = await open_log(connection)
        publisher = Publisher(connection, log, "relaxed", deadline=0.3)
        await publisher.open()
        draft = moved(1)
        pause(own_server.pid)
        try:
            with pytest.raises(Unknown, match="same id"):
                await publisher.publish(draft)
        finally:
            own_server.signal(signal.SIGCONT)

        assert 1 == await publisher.publish(draft)
        assert 1 == (await log.state()).last
        await publisher.aclose()


async def test_without_a_connection_nothing_was_sent(own_server: NatsServer) -> None:
    async with connect(own_server.url, name="test") as connection:
        log = await open_log(connection)
        publisher = Publisher(connection, log, "relaxed", deadline=0.3)
        await publisher.open()
        own_server.kill()
        await eventually(lambda: not connection.connected)
        for call in (publisher.publish(moved(1)), publisher.publish_group([moved(1), moved(2)])):
            with pytest.raises(Disconnected, match="not sent"):
                await call
        await publisher.aclose()


async def test_closing_tells_whoever_waits_that_nobody_knows(own_server: NatsServer) -> None:
    async with connect(own_server.url, name="test") as connection:
        log = await open_log(connection)
        publisher = Publisher(connection, log, "relaxed")
        await publisher.open()
        pause(own_server.pid)
        future = publisher.submit(moved(1))
        await publisher.aclose()
        own_server.signal(signal.SIGCONT)
        with pytest.raises(Unknown, match="closed"):
            await future


@pytest.mark.parametrize("durability", ["relaxed", "strict"])
async def test_a_server_killed_in_the_middle_costs_no_event_and_no_order(own_server: NatsServer, durability: str) -> None:
    async with connect(own_server.url, name="test") as connection:
        log = await open_log(connection)
        publisher = Publisher(connection, log, durability)  # type: ignore[arg-type] - a word of Durability
        await publisher.open()
        drafts = [moved(n) for n in range(6000)]
        done: list[int] = []

        async def each() -> None:
            for draft in drafts[:3000]:
                future = publisher.submit(draft)
                future.add_done_callback(lambda future: done.append(future.result()))
                if publisher.in_flight > 200:
                    await asyncio.sleep(0.002)
            await publisher.flush()

        async def kill() -> None:
            for goal in (300, 900, 1500, 2100):
                await eventually(lambda goal=goal: len(done) > goal)  # type: ignore[misc]
                own_server.kill()
                await asyncio.to_thread(own_server.start)

        await asyncio.gather(each(), kill())
        killing = asyncio.create_task(asyncio.to_thread(lambda: (own_server.kill(), own_server.start())))
        positions = await publisher.publish_many(drafts[3000:])
        await killing
        events = await stored(log)

        assert [draft.id for draft in drafts] == [event.id for event in events]
        assert list(range(3001, 6001)) == positions
        assert list(range(1, 3001)) == sorted(done)
        await publisher.aclose()


@pytest.mark.parametrize("lost", ["some", "all"])
async def test_nothing_is_published_to_a_log_that_came_back_shorter(own_server: NatsServer, tmp_path: Path, lost: str) -> None:
    async with connect(own_server.url, name="test") as connection:
        log = await open_log(connection)
        async with open_publisher(connection, log, "relaxed") as publisher:
            await publisher.publish_many(moved(number) for number in range(20))
            await asyncio.to_thread(own_server.stop)
            shutil.copytree(own_server.store, tmp_path / "older")
            await asyncio.to_thread(own_server.start)
            await publisher.publish_group([moved(number) for number in range(20, 50)])
            await asyncio.to_thread(own_server.kill)
            shutil.rmtree(own_server.store)
            if lost == "some":
                shutil.copytree(tmp_path / "older", own_server.store)
            await asyncio.to_thread(own_server.start)
            with pytest.raises(LogDamaged, match="came back with 20 events|is gone"):
                await publisher.publish_group([moved(50), moved(51)])
            with pytest.raises(LogDamaged, match="came back with 20 events|is gone"):
                await publisher.publish(moved(50))
        await log.aclose()


async def test_waiting_writes_share_batches_and_each_gets_its_own_position(strict_server: NatsServer) -> None:
    async with connect(strict_server.url, name="test") as connection:
        log = await open_log(connection)
        async with open_publisher(connection, log, "strict", monitors=[strict_server.monitor_url]) as publisher:
            drafts = [moved(n) for n in range(2500)]
            positions = await asyncio.gather(*[publisher.publish(draft) for draft in drafts])
            events = await stored(log)

            assert list(range(1, 2501)) == positions
            assert [draft.id for draft in drafts] == [event.id for event in events]
            assert isinstance(publisher._sender, GroupCommit)
            assert publisher._sender.batches >= 2
            assert list(range(2501, 5001)) == await publisher.publish_many(moved(n) for n in range(2500))


async def test_a_refused_batch_is_taken_apart_so_that_each_write_gets_its_own_answer(strict_server: NatsServer) -> None:
    """Among 200 writes that travel together: repeated ids, stale fences, and the good ones."""
    async with connect(strict_server.url, name="test") as connection:
        log = await open_log(connection)
        async with open_publisher(connection, log, "strict", monitors=[strict_server.monitor_url]) as publisher:
            known = moved(0, entity="known")
            first = await publisher.publish(known)
            await publisher.publish(moved(0, entity="hero"))
            calls = []
            for n in range(200):
                match n % 50:
                    case 10:
                        calls.append(publisher.publish(known))
                    case 20:
                        calls.append(publisher.publish(moved(n, entity="hero"), expected=1))
                    case 30:
                        calls.append(publisher.publish(moved(n, id=known.id)))
                    case _:
                        calls.append(publisher.publish(moved(n)))
            answers = await asyncio.gather(*calls, return_exceptions=True)

            kinds = Counter(type(answer).__name__ for answer in answers)
            assert {"int": 192, "Conflict": 4, "IdReused": 4} == dict(kinds)
            assert [first] * 4 == [answer for n, answer in enumerate(answers) if n % 50 == 10]
            positions = [answer for n, answer in enumerate(answers) if n % 50 not in (10, 20, 30)]
            assert len(set(positions)) == 188
            assert 190 == (await log.state()).last


async def test_the_server_would_store_two_writes_under_one_fence_in_a_batch(connection: Connection, log: Log) -> None:
    """The reason for which group commit keeps them apart. When this fails, the server has learnt better and the rule may go."""
    from bus.group_commit import batch_frames
    from bus.publication import fence_lines, fence_of, pack

    answers: list[bytes] = []
    inbox = connection.new_inbox()
    await connection.listen(inbox, lambda subject, reply, header, payload: answers.append(payload))
    draft = moved(1, entity="hero")
    parcels = [pack(one, connection.max_payload) for one in (draft, moved(2, entity="hero"))]
    fenced = [parcel._replace(lines=parcel.lines + fence_lines(fence_of(draft, 8), 0)) for parcel in parcels]
    connection.write(batch_frames(fenced, inbox.encode()))
    await eventually(lambda: answers)

    assert 2 == (await log.state()).last


async def test_one_fence_lets_one_writer_in_also_under_group_commit(strict_server: NatsServer) -> None:
    async with connect(strict_server.url, name="test") as connection:
        log = await open_log(connection)
        async with open_publisher(connection, log, "strict", monitors=[strict_server.monitor_url]) as publisher:
            calls = [publisher.publish(moved(n, entity=f"p{n % 20}"), expected=0) for n in range(200)]
            answers = await asyncio.gather(*calls, return_exceptions=True)

            assert {"int": 20, "Conflict": 180} == dict(Counter(type(answer).__name__ for answer in answers))
            for n in range(20):
                assert 1 == len(await log.read_lane(stored_filter(entity=f"p{n}")))


async def test_a_few_writes_do_not_wait_for_each_other(strict_server: NatsServer) -> None:
    async with connect(strict_server.url, name="test") as connection:
        log = await open_log(connection)
        async with open_publisher(connection, log, "strict", monitors=[strict_server.monitor_url]) as publisher:
            await asyncio.gather(*[publisher.publish(moved(n)) for n in range(SINGLES)])

            assert isinstance(publisher._sender, GroupCommit)
            assert 0 == publisher._sender.batches


async def test_strict_is_refused_without_proof(nats_server: NatsServer, strict_server: NatsServer, log: Log) -> None:
    for monitors, words in (
        ([], "no monitoring address"),
        ([nats_server.monitor_url], "sync_interval: always"),
        ([strict_server.monitor_url], "another nats-server"),
        (["http://127.0.0.1:1"], "no answer"),
        ([nats_server.monitor_url.replace("http", "ftp")], "must look like"),
    ):
        with pytest.raises(WorldbusError, match=words) as refused:
            await prove(log, "strict", monitors)
        assert refused.value.code in ("NOT_DURABLE", "BAD_SETTINGS")
    async with connect(strict_server.url, name="test") as connection:
        proven = await open_log(connection)
        await prove(proven, "strict", [strict_server.monitor_url])
        replicated = Log(connection, LogConfig(replicas=3), proven._answers)
        with pytest.raises(NotDurable, match="3 replicas and 1 server"):
            await prove(replicated, "strict", [strict_server.monitor_url])
        await proven.aclose()


async def test_a_stream_that_acknowledges_early_is_not_durable(strict_server: NatsServer) -> None:
    async with connect(strict_server.url, name="test") as connection:
        await connection.api("STREAM.CREATE.LOG", LogConfig().stream() | {"allow_atomic": False, "persist_mode": "async"})
        log = await attach(connection, LogConfig())
        with pytest.raises(NotDurable, match="persist_mode"):
            await prove(log, "strict", [strict_server.monitor_url])
        await log.aclose()
