"""An event id is the key for ever: not for the log's two minutes, whatever lags, restarts or is away."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from bus.connection import Connection
from bus.log import Log
from tests.integration.gateway.conftest import Open, archived, joined, recorded
from tests.streams import forget_ids
from worldbus.embedded import NatsServer, PostgresServer
from worldbus.gateway import known


async def test_an_archived_event_is_recognised_by_a_gateway_that_never_saw_it(
    open_caller: Open, nats_server: NatsServer, fresh_database: str, connection: Connection, log: Log
) -> None:
    async with open_caller(nats_server.url, fresh_database) as first:
        before = await first.publish([joined("e1"), joined("e2", entity="oto")])
    async with archived(fresh_database, log) as caught_up:
        await caught_up()
    await forget_ids(connection)

    async with open_caller(nats_server.url, fresh_database) as second:
        assert second.gateway.feed.ids_floor == 2
        again = await second.publish([joined("e1"), joined("e2", entity="oto")])
        elsewhere = await second.publish(joined("e1", entity="oto"))
        other = await second.publish(joined("e1", data={"display_name": "Myra"}))

    assert (again.status, elsewhere.status, other.status) == (200, 409, 409)
    assert [one["position"] for one in again.body["results"]] == [one["position"] for one in before.body["results"]]
    assert len(await recorded(log)) == 2


async def test_an_event_that_the_projector_has_not_reached_is_recognised(
    open_caller: Open, nats_server: NatsServer, fresh_database: str, connection: Connection, log: Log
) -> None:
    async with open_caller(nats_server.url, fresh_database) as first:
        await first.publish(joined("e1"))
        async with archived(fresh_database, log) as caught_up:
            await caught_up()
        await first.publish(joined("e2"))  # nobody projects any more
    await forget_ids(connection)

    async with open_caller(nats_server.url, fresh_database) as second:
        assert second.gateway.feed.ids_floor == 1
        again = await second.publish([joined("e1"), joined("e2")])
        other = await second.publish(joined("e2", entity="oto"))

    assert ([one["position"] for one in again.body["results"]], again.status, other.status) == ([1, 2], 200, 409)
    assert len(await recorded(log)) == 2


async def test_what_another_gateway_recorded_is_recognised_as_well(
    open_caller: Open, nats_server: NatsServer, connection: Connection, log: Log
) -> None:
    async with open_caller(nats_server.url) as one, open_caller(nats_server.url) as two:
        answers = await asyncio.gather(*(caller.publish(joined(f"e{number}")) for number in range(20) for caller in (one, two)))
        await forget_ids(connection)
        await one.gateway.feed.beyond(19)
        await two.gateway.feed.beyond(19)
        again = [await caller.publish(joined(f"e{number}")) for number in range(20) for caller in (one, two)]

    assert {answer.status for answer in answers} <= {200, 201}
    assert {answer.status for answer in again} == {200}
    assert [answer.body["position"] for answer in again] == [answer.body["position"] for answer in answers]
    assert sorted(event.id for event in await recorded(log)) == sorted(f"e{number}" for number in range(20))


async def test_without_the_archive_the_entity_is_looked_through(
    open_caller: Open, nats_server: NatsServer, postgres_server: PostgresServer, fresh_database: str, connection: Connection, log: Log
) -> None:
    async with open_caller(nats_server.url, fresh_database) as first:
        await first.publish(joined("e1"))
    async with archived(fresh_database, log) as caught_up:
        await caught_up()
    await forget_ids(connection)

    async with open_caller(nats_server.url, fresh_database) as second:
        postgres_server.stop()
        try:
            again = await second.publish(joined("e1"))
            other = await second.publish(joined("e1", data={"display_name": "Myra"}))
            new = await second.publish([joined("e2"), joined("e3")])
            atomic = await second.publish([joined("e4"), joined("e5")], path="/v1/events?atomic=true")
            ready = await second.ask("GET", "/readyz")
        finally:
            postgres_server.start()

    assert (again.status, again.body["position"], other.status, new.status) == (200, 1, 409, 201)
    assert (atomic.status, atomic.code) == (503, "ARCHIVE_AWAY")
    assert ready.body["checks"]["archive"] is False
    assert [event.id for event in await recorded(log)] == ["e1", "e2", "e3"]


async def test_an_archive_that_hangs_is_asked_once_and_not_by_every_request(
    open_caller: Open, nats_server: NatsServer, fresh_database: str, connection: Connection, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known, "TIMEOUT_S", 0.3)
    async with open_caller(nats_server.url, fresh_database) as first:
        await first.publish(joined("e1"))
    async with archived(fresh_database, log) as caught_up:
        await caught_up()
    await forget_ids(connection)

    async with open_caller(nats_server.url, fresh_database) as second:
        before = second.gateway._archive.asked
        hanging = await asyncpg.connect(fresh_database)
        try:
            async with hanging.transaction():
                await hanging.execute("LOCK TABLE worldbus.events, worldbus.checkpoint IN ACCESS EXCLUSIVE MODE")
                again = [await second.publish(joined("e1")) for _ in range(3)]
                new = await asyncio.gather(*(second.publish(joined(f"n{number}")) for number in range(10)))
                ready = await second.ask("GET", "/readyz")
                asked = second.gateway._archive.asked - before
        finally:
            await hanging.close()
        while not (await second.ask("GET", "/readyz")).body["checks"]["archive"]:
            await asyncio.sleep(0.05)

    assert [answer.status for answer in again] == [200] * 3
    assert {answer.status for answer in new} == {201}
    assert (ready.status, ready.body["checks"]["archive"]) == (200, False)
    assert asked <= 1
    assert len(await recorded(log)) == 11


async def test_while_the_newest_part_of_the_log_is_out_of_sight_nobody_is_told_anything(
    open_caller: Open, nats_server: NatsServer, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_caller(nats_server.url) as caller:
        caller.gateway._known._stale_s = -1.0  # as if it were longer ago than the log remembers ids
        known = await caller.publish(joined("e1"))
        fresh = await caller.publish(joined())  # its id is made here: it cannot be an old one

    assert (known.status, known.code, known.headers["Retry-After"]) == (503, "LOG_OUT_OF_SIGHT", "1")
    assert fresh.status == 201
    assert len(await recorded(log)) == 1


async def test_an_atomic_batch_of_long_ago_is_recognised(
    open_caller: Open, nats_server: NatsServer, connection: Connection, log: Log
) -> None:
    async with open_caller(nats_server.url) as first:
        await first.publish([joined("e1"), joined("e2")], path="/v1/events?atomic=true")
        await forget_ids(connection)
    async with open_caller(nats_server.url) as second:
        again = await second.publish([joined("e1"), joined("e2")], path="/v1/events?atomic=true")
        changed = await second.publish([joined("e1"), joined("e2", entity="oto")], path="/v1/events?atomic=true")

    assert (again.status, changed.status) == (200, 409)
    assert len(await recorded(log)) == 2
