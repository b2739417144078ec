"""JSON and protobuf CloudEvents mixed on NATS by a plain client: other bytes, the same event, for every reader there is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import nats
import pytest

from bus.connection import Connection
from bus.connection import connect as connect_nats
from bus.consumer import PullConsumer
from bus.event import Draft, Event
from bus.json_format import format_time, to_dict
from bus.log import Log, LogConfig, open_log
from bus.runtime import run_handlers
from bus.verify import verify
from projections import Projector
from projections.archive import check_log
from projections.past import ask_past
from projections.rebuild import rebuild
from projections.store import close, connect
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerJoined, PlayerMoved
from tests.duskmarket import PROJECTIONS, by_name, player
from tests.integration.gateway.conftest import Caller, Open, joined, recorded
from tests.integration.gateway.test_streams import stream
from worldbus.embedded import NatsServer
from worldbus.repair import repair
from worldbus.testing.servers import as_reader
from worldbus.why import why

T0 = 1_795_348_800_000_000_000
MAIN = "main"


def protobuf(draft: Draft) -> tuple[bytes, dict[str, str] | None]:
    return draft.encode(), None


def structured(draft: Draft) -> tuple[bytes, dict[str, str] | None]:
    """JSON without a header that says so."""
    return json.dumps(_document(draft)).encode(), None


def announced(draft: Draft) -> tuple[bytes, dict[str, str] | None]:
    """JSON as the binding asks for it."""
    return json.dumps(_document(draft), indent=2).encode(), {"content-type": "application/cloudevents+json"}


def binary_json(draft: Draft) -> tuple[bytes, dict[str, str] | None]:
    document = _document(draft)
    return json.dumps(document["data"]).encode(), {**_headers(document), "content-type": "application/json"}


def binary_protobuf(draft: Draft) -> tuple[bytes, dict[str, str] | None]:
    return draft.data.SerializeToString(), {**_headers(_document(draft)), "content-type": "application/protobuf"}


FORMS = (protobuf, structured, announced, binary_json, binary_protobuf)


def _document(draft: Draft) -> dict[str, Any]:
    event = Event(raw=draft.encode(), subject=draft.subject, partition=0, position=1)
    return {name: value for name, value in to_dict(event).items() if name not in ("position", "partition", "recorded", "datacontenttype")}


def _headers(document: dict[str, Any]) -> dict[str, str]:
    return {f"ce-{name}": str(value) for name, value in document.items() if name not in ("data", "subject", "world")}


def session(form: Any) -> list[tuple[Draft, bytes, dict[str, str] | None]]:
    """The deeds of one player, written in one form."""
    entity = f"by-{form.__name__.replace('_', '-')}"
    said = [PlayerJoined(display_name="Mira", zone="quay"), PlayerMoved(zone="old-moor", x=1.5), PlayerMoved(zone="quay", x=2.5)]
    drafts = [
        Draft(
            data=one, world=MAIN, entity=entity, id=f"{entity}-{number}", time_ns=T0 + number * 10**9, extensions=(("partitionkey", "k"),)
        )
        for number, one in enumerate(said)
    ]
    return [(draft, *form(draft)) for draft in drafts]


GARBAGE: list[tuple[bytes, dict[str, str] | None]] = [
    (b"{this is no JSON", None),
    (b"[]", None),
    (b'{"data": {"zonne": "quay"}}', None),
    (b"<zone/>", {"ce-type": "PlayerMoved", "ce-id": "x", "content-type": "text/xml"}),
    (b"\xff\xff", None),
]


async def publish_all(server: NatsServer) -> None:
    """All forms in turn, event by event, with garbage of each player in between: by nats-py alone."""
    client = await nats.connect(server.url)
    jetstream = client.jetstream()
    sessions = [session(form) for form in FORMS]
    for turn in zip(*sessions, strict=True):
        for draft, payload, headers in turn:
            await jetstream.publish(draft.subject.published(), payload, headers=headers)
            for raw, more in GARBAGE:
                await jetstream.publish(f"evt.{MAIN}.game.{draft.entity}.PlayerMoved", raw, headers=more)
    await jetstream.publish(f"evt.{MAIN}.game.terse.PlayerJoined", b'{"data": {"displayName": "Terse", "zone": "quay"}}')
    await client.close()


@asynccontextmanager
async def handled(connection: Connection, log: Log) -> AsyncIterator[None]:
    """The handler of players at work until it has settled everything."""
    async with run_handlers(connection, log, [player], known=by_name()):
        yield
        last = 0
        while last != (last := (await log.state()).last) or not await _settled(log):
            await asyncio.sleep(0.1)


async def _settled(log: Log) -> bool:
    infos = [await PullConsumer(log.connection, log.name, f"player_{number}").info() for number in range(log.partitions)]
    return not any(info["num_pending"] or info["num_ack_pending"] for info in infos)


def alike(events: Sequence[Event]) -> dict[str, list[dict[str, Any]]]:
    """By player, what was said by and about him, without what differs from player to player."""
    found: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        document = to_dict(event)
        document["data"] = {name: value for name, value in document["data"].items() if name != "due_world_ms"}
        for name in ("id", "subject", "position", "partition", "recorded", "causationid", "correlationid", "lane"):
            document.pop(name, None)
        found.setdefault(event.entity, []).append(document)
    return found


def readable(events: Sequence[Event]) -> list[Event]:
    bad = {raw for raw, _ in GARBAGE}
    return [event for event in events if event.raw not in bad]


@pytest.fixture
def own_nats(data_folder: Any) -> Any:
    """A server of this test's own: its log is deleted and restored."""
    server = NatsServer(data_folder / "nats", password="only-for-tests", strict=False)
    server.start()
    yield server
    server.stop()


async def test_other_bytes_are_the_same_event_for_every_reader(open_caller: Open, own_nats: NatsServer, fresh_database: str) -> None:
    async with open_caller(own_nats.url, fresh_database) as caller:
        connection, log = caller.gateway._world.connection, caller.gateway._world.log
        async with handled(connection, log):
            await publish_all(own_nats)
        await Projector(fresh_database, PROJECTIONS).run(log, follow=False)
        events = await recorded(log)
        await _streams(caller, events)

        by_player = alike(readable(events))
        terse = by_player.pop("terse")
        assert len(by_player) == len(FORMS)
        first = by_player["by-protobuf"]
        assert len(first) > 5, "it was answered"
        assert all(said == first for said in by_player.values())
        assert terse[0]["time"] == format_time(next(event for event in events if event.entity == "terse").recorded_ns // 1000 * 1000)
        assert not [event for event in events if event.name in ("EventParked", "EventDeferred")]
        single = [await log.get(event.position) for event in events]
        assert single == events
        assert [event.header for event in single] == [event.header for event in events]

        await _tables(fresh_database, events, log)
        await _verified(events, log)
    async with connect_nats(own_nats.url, name="repair") as connection:
        await _restored(connection, fresh_database, events)


async def _streams(caller: Caller, events: Sequence[Event]) -> None:
    async with stream(caller, "/v1/subscribe?after=0&world=main") as reader:
        blocks = [await reader.event() for _ in events]
    bad = {raw for raw, _ in GARBAGE}

    assert [int(block.id) for block in blocks] == [event.position for event in events]
    assert [block.event for block in blocks] == ["damaged" if event.raw in bad else "message" for event in events]
    assert [block.data for block in blocks if block.event == "message"] == [to_dict(event) for event in readable(events)]
    for event in events[:20]:
        answer = await caller.ask("GET", f"/v1/events/{event.position}")
        assert (answer.status, answer.body["position"], "unreadable" in answer.body) == (200, event.position, event.raw in bad)


async def _tables(dsn: str, events: Sequence[Event], log: Log) -> None:
    """The archive and the views; a rebuild; the past; the chain behind an answer."""
    connection = await connect(as_reader(dsn))
    await connection.execute("SET search_path = world")
    owner = await connect(dsn)
    try:
        rows = await connection.fetch("SELECT position, event_id, type, time, cause, header FROM events ORDER BY position")
        unread = {event.position for event in events} - {event.position for event in readable(events)}
        for row, event in zip(rows, events, strict=True):
            if event.position in unread:
                assert (row["event_id"], row["type"], row["time"]) == (None, None, None)
            else:
                assert (row["event_id"], row["type"], row["cause"] or "") == (event.id, event.type, event.cause)
                assert int(row["time"].timestamp()) == event.time_ns // 10**9
            assert row["header"] == event.header
        skipped = await connection.fetch("SELECT position, projection, reason FROM skipped ORDER BY position")
        assert {row["position"] for row in skipped} == unread
        assert {row["projection"] for row in skipped} == {"*"}
        asked = "SELECT zone, online, display_name FROM players WHERE player LIKE 'by-%' ORDER BY player"
        before = [tuple(row) for row in await connection.fetch(asked)]
        assert before == [("quay", True, "Mira")] * len(FORMS)
        assert (await check_log(owner, log, full=True)).ok
        answer = next(event for event in events if event.entity == "by-binary-json" and event.name == "PlayerArrived")
        chain = await why(connection, answer.id)
        assert [link.event.id for link in chain.links] == ["by-binary-json-0", answer.id]
        assert not any(link.problem for link in chain.links)
    finally:
        await close(connection)
        await close(owner)
    assert [tuple(row) for row in (await ask_past(dsn, asked, events[-1].position, projections=PROJECTIONS))[1].rows] == before
    await _rebuilt(dsn, asked, before, len(skipped))


async def _rebuilt(dsn: str, asked: str, before: list[Any], skipped: int) -> None:
    projection = next(one for one in PROJECTIONS if one.name == "players")
    await rebuild(projection, dsn)
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("SET search_path = world")
        assert [tuple(row) for row in await connection.fetch(asked)] == before
        assert await connection.fetchval("SELECT count(*) FROM skipped") == skipped, "what nobody can decode is skipped once"
    finally:
        await connection.close()


async def _verified(events: Sequence[Event], log: Log) -> None:
    report = verify([player], events, partitions=log.partitions, settled=lambda handler, partition: events[-1].position)

    assert (report.different, report.open, report.percent) == (0, 0, 100.0)
    assert report.decisions > len(FORMS) * 3


async def _restored(connection: Connection, dsn: str, events: Sequence[Event]) -> None:
    """A log that is gone comes back from the archive with the same events, times that the old log gave included."""
    await connection.api("STREAM.DELETE.LOG")
    done = await repair(connection, dsn, LogConfig())
    again = await open_log(connection)
    owner = await connect(dsn)
    try:
        found = await recorded(again)
        assert done.restored == len(events)
        assert (await check_log(owner, again, full=True)).ok
        assert [event.raw for event in found] == [event.raw for event in events]
        without = [{name: value for name, value in to_dict(event).items() if name != "recorded"} for event in readable(found)]
        assert without == [{name: value for name, value in to_dict(event).items() if name != "recorded"} for event in readable(events)]
        await _verified(found, again)
        assert (await repair(connection, dsn, LogConfig())).problem == ""
    finally:
        await close(owner)
        await again.aclose()


async def test_an_id_is_the_same_in_every_format(caller: Caller, log: Log, nats_server: NatsServer) -> None:
    """A repetition in another format is a repetition, and another body is another body."""
    client = await nats.connect(nats_server.url)
    document = {**joined("day-1"), "time": "2026-11-22T12:00:00Z"}
    ack = await client.jetstream().publish(
        "evt.main.game.mira.PlayerJoined", json.dumps(document).encode(), headers={"Nats-Msg-Id": "day-1"}
    )
    await client.close()
    await caller.gateway.feed.catch_up()
    timed = await caller.publish(document)
    timeless = await caller.publish(joined("day-1"))
    other = await caller.publish(joined("day-1", data={"zone": "moor"}))

    assert [(one.status, one.body.get("position")) for one in (timed, timeless)] == [(200, ack.seq), (200, ack.seq)]
    assert other.status == 409
    assert len(await recorded(log)) == 1
