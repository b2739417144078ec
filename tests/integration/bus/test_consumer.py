"""The pinned pull consumer: one member reads, in order; a reset begins again behind what was settled; the next member takes over."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from bus.answers import parse_ack
from bus.connection import ApiError, Connection, connect
from bus.consumer import PullConsumer, Status
from bus.errors import Misuse
from bus.log import Log
from bus.publisher import Publisher
from bus.subjects import stored_filter
from tests.integration.bus.drafts import moved
from tests.integration.bus.waiting import eventually
from worldbus.embedded import NatsServer


@dataclass(slots=True)
class Member:
    """A consumer and what came through it."""

    consumer: PullConsumer
    replies: list[bytes] = field(default_factory=list)
    statuses: list[Status] = field(default_factory=list)

    @property
    def positions(self) -> list[int]:
        return [parse_ack(reply).position for reply in self.replies]


async def member(connection: Connection, *, pinned: bool = True, name: str = "h_0") -> Member:
    consumer = PullConsumer(connection, "LOG", name, pinned=pinned)
    await consumer.create([stored_filter()], pin_timeout=60.0)
    one = Member(consumer)
    await consumer.start(lambda subject, reply, header, payload: one.replies.append(reply), one.statuses.append)
    return one


async def test_what_is_settled_stays_settled_and_a_reset_brings_the_rest_in_order(
    connection: Connection, log: Log, publisher: Publisher
) -> None:
    await publisher.publish_many([moved(n) for n in range(20)])
    one = await member(connection)
    one.consumer.request(10)
    await eventually(lambda: len(one.replies) == 10)
    assert list(range(1, 11)) == one.positions
    assert one.consumer.pin

    one.consumer.ack(one.replies[3])
    while (await one.consumer.info())["ack_floor"]["stream_seq"] != 4:
        pass  # the server takes acknowledgements and resets in queues of their own
    await one.consumer.reset()
    one.consumer.request(20)
    await eventually(lambda: len(one.replies) == 26)

    assert list(range(5, 21)) == one.positions[10:]
    assert 4 == (await one.consumer.info())["ack_floor"]["stream_seq"]
    await one.consumer.close()


async def test_a_reset_to_a_position_begins_there(connection: Connection, log: Log, publisher: Publisher) -> None:
    await publisher.publish_many([moved(n) for n in range(20)])
    one = await member(connection)
    await one.consumer.reset(15)
    one.consumer.request(6)
    await eventually(lambda: len(one.replies) == 6)

    assert list(range(15, 21)) == one.positions
    await one.consumer.close()


async def test_two_members_never_read_at_once_and_an_unpinned_one_makes_room(
    nats_server: NatsServer, connection: Connection, log: Log, publisher: Publisher
) -> None:
    await publisher.publish_many([moved(n) for n in range(20)])
    async with connect(nats_server.url, name="second") as other:
        first, second = await member(connection), await member(other)
        first.consumer.request(5)
        await eventually(lambda: len(first.replies) == 5)
        second.consumer.request(5)
        first.consumer.ack(first.replies[-1])
        await connection.api("INFO")  # behind the acknowledgement
        assert [] == second.replies

        await first.consumer.unpin()
        await eventually(lambda: len(second.replies) == 5)
        first.consumer.pin = b"an-old-pin"
        first.consumer.request(5)
        await eventually(lambda: any(status.code == 423 for status in first.statuses))

        assert b"" == first.consumer.pin
        assert list(range(6, 11)) == second.positions
        assert 5 == len(first.replies)
        await first.consumer.close()
        await second.consumer.close()


async def test_a_request_that_ends_unfilled_says_how_much_will_not_come(connection: Connection, log: Log, publisher: Publisher) -> None:
    await publisher.publish_many([moved(n) for n in range(3)])
    one = await member(connection)
    one.consumer.request(10, expires=0.3, heartbeat=0.1)
    await eventually(lambda: any(status.code == 408 for status in one.statuses))

    assert [7] == [status.unfilled for status in one.statuses if status.code == 408]
    assert any(status.code == 100 for status in one.statuses)
    await one.consumer.close()


async def test_a_deleted_consumer_is_told_to_whoever_waits(connection: Connection, log: Log) -> None:
    one = await member(connection)
    one.consumer.request(10)
    await connection.api("INFO")
    await one.consumer.delete()
    await eventually(lambda: any(status.code == 409 for status in one.statuses))
    one.consumer.request(10)
    await eventually(lambda: any(status.code == 503 for status in one.statuses))
    with pytest.raises(ApiError):
        await one.consumer.info()
    await one.consumer.close()


async def test_other_filters_are_refused_because_widening_skips(connection: Connection, log: Log) -> None:
    consumer = PullConsumer(connection, "LOG", "h_0")
    await consumer.create([stored_filter(partition=0)])
    await consumer.create([stored_filter(partition=0)])
    with pytest.raises(Misuse, match="delete it"):
        await consumer.create([stored_filter(partition=0), stored_filter(partition=1)])


async def test_a_consumer_can_begin_behind_a_position(connection: Connection, log: Log, publisher: Publisher) -> None:
    await publisher.publish_many([moved(n) for n in range(10)])
    consumer = PullConsumer(connection, "LOG", "late_0", pinned=False)
    await consumer.create([stored_filter()], after=7)
    got: list[int] = []
    await consumer.start(lambda subject, reply, header, payload: got.append(parse_ack(reply).position), lambda status: None)
    consumer.request(10)
    await eventually(lambda: len(got) == 3)
    await asyncio.sleep(0)

    assert [8, 9, 10] == got
    await consumer.close()
