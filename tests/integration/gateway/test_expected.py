"""Expected positions over HTTP: rules over several entities hold whoever races, and an answer that was lost costs nothing."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from bus.connection import Connection
from bus.event import Draft
from bus.log import Log
from bus.subjects import LaneName
from schemas.gen.io.cloudevents.v1.cloudevents_pb2 import CloudEvent, CloudEventBatch
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerMoved
from tests.integration.gateway.conftest import DEAF, MUTE, OTHER, Answer, Caller, Open, archived, joined, recorded
from tests.streams import forget_ids
from worldbus.embedded import NatsServer
from worldbus.gateway.bodies import PROTOBUF, PROTOBUF_BATCH

ROUNDS = 50
ATOMIC = "/v1/events?atomic=true"


def moved(entity: str, x: float, **more: Any) -> dict[str, Any]:
    """Coins that go into a purse, or out of it."""
    return {"specversion": "1.0", "type": "PlayerMoved", "subject": entity, "data": {"zone": "quay", "x": x}, **more}


async def looked(log: Log, entity: str) -> tuple[float, int]:
    """The sum in a purse, and the position of its last event."""
    events = await log.read_lane(LaneName("main", "game", entity).stored(log.partitions))
    data: list[Any] = [event.data for event in events]
    return sum(it.x for it in data), events[-1].position if events else 0


async def test_a_rule_over_two_purses_holds_whoever_races(open_caller: Open, nats_server: NatsServer, log: Log, caller: Caller) -> None:
    """Two game servers on two gateways take the one coin that two purses hold together, each from its own purse."""
    async with open_caller(nats_server.url) as other:
        for number in range(ROUNDS):
            purses = [f"{side}-{number}" for side in ("east", "west")]
            assert (await caller.publish(moved(purses[number % 2], 1.0))).status == 201
            seen = {purse: await looked(log, purse) for purse in purses}
            assert sum(balance for balance, _ in seen.values()) == 1

            async def take(one: Caller, purse: str, read: str, seen: dict[str, tuple[float, int]] = seen) -> Answer:
                taken = moved(purse, -1.0, expected=seen[purse][1])
                return await one.publish([taken, moved(purse, 0.0)], path=f"{ATOMIC}&expected=game/{read}:{seen[read][1]}")

            answers = await asyncio.gather(take(caller, *purses), take(other, *reversed(purses)))

            won, lost = sorted(answers, key=lambda answer: answer.status)
            winner = purses[answers.index(won)]
            after = {purse: await looked(log, purse) for purse in purses}
            assert (won.status, lost.status, lost.code) == (201, 409, "CONFLICT")
            assert sum(balance for balance, _ in after.values()) == 0
            named = {field: lost.body[field] for field in ("world", "subsystem", "entity", "expected", "found")}
            assert named == {
                "world": "main",
                "subsystem": "game",
                "entity": winner,
                "expected": seen[winner][1],
                "found": after[winner][1],
            }


async def test_each_event_says_what_it_expects_of_its_own_lane(caller: Caller, log: Log) -> None:
    first = await caller.publish(joined("e1", expected=0))
    again = await caller.publish(joined("e1", expected=0))
    stale = await caller.publish(joined("e2", expected=0))
    right = await caller.publish(joined("e3", expected=1))
    many = await caller.publish(
        [joined("e4", expected=2, entity="other"), joined("e5", expected=2), joined("e6", expected=0, entity="third")]
    )

    assert [answer.status for answer in (first, again, stale, right, many)] == [201, 200, 409, 201, 409]
    assert (stale.code, stale.body["found"], stale.body["expected"]) == ("CONFLICT", 1, 0)
    assert [result["status"] for result in many.body["results"]] == [409, 201, 201]
    events = await recorded(log)
    assert [event.id for event in events] == ["e1", "e3", "e5", "e6"]
    assert all("expected" not in event.envelope.attributes for event in events)


async def test_every_format_has_a_place_for_it(caller: Caller, log: Log) -> None:
    body = {"display_name": "Mira", "zone": "quay"}
    draft = Draft(data=PlayerMoved(zone="quay"), world="main", entity="mira", id="p1")
    event = CloudEvent.FromString(draft.encode())
    for wanted, status in ((7, 409), (0, 201)):
        event.attributes["expected"].ce_integer = wanted
        assert (await caller.ask("POST", "/v1/events", event.SerializeToString(), Content_Type=PROTOBUF)).status == status
    batch = CloudEventBatch(events=[event])
    batch.events[0].id, batch.events[0].attributes["expected"].ce_integer = "p2", 1
    many = await caller.ask("POST", ATOMIC, batch.SerializeToString(), Content_Type=PROTOBUF_BATCH)
    binary = {"ce_id": "b1", "ce_type": "PlayerJoined", "ce_subject": "mira", "ce_specversion": "1.0", "Content_Type": "application/json"}
    stale = await caller.ask("POST", "/v1/events", json.dumps(body), ce_expected="1", **binary)
    right = await caller.ask("POST", "/v1/events", json.dumps(body), ce_expected="2", **binary)
    left_out = await caller.publish(joined("j1", expected=None))

    assert [answer.status for answer in (many, stale, right, left_out)] == [201, 409, 201, 201]
    assert [event.id for event in await recorded(log)] == ["p1", "p2", "b1", "j1"]
    assert (await recorded(log))[0].raw == draft.encode()


async def test_one_event_may_expect_what_it_read(caller: Caller, log: Log) -> None:
    await caller.publish(joined("e1", entity="rival"))
    stale = await caller.publish(joined("e2"), path="/v1/events?expected=game/rival:0")
    right = await caller.publish(joined("e3"), path="/v1/events?expected=main/game/rival:1")
    again = await caller.publish(joined("e3"), path="/v1/events?expected=main/game/rival:0")

    assert [(answer.status, answer.body.get("entity")) for answer in (stale, right, again)] == [(409, "rival"), (201, None), (200, None)]
    assert right.body["position"] == again.body["position"] == 2
    assert (await log.state()).last == 2


@pytest.mark.parametrize("path", [ATOMIC, f"{ATOMIC}&expected=game/mira:0"])
async def test_a_group_sent_by_several_at_the_same_moment_is_recorded_once(
    open_caller: Open, nats_server: NatsServer, caller: Caller, log: Log, path: str
) -> None:
    group = [joined(f"e{number}", entity=entity, time="2026-11-22T12:00:00Z") for number, entity in enumerate(("mira", "otto", "rival"))]
    async with open_caller(nats_server.url) as second:
        answers = await asyncio.gather(*(one.publish(group, path=path) for one in (caller, second) * 4))

    assert {answer.status for answer in answers} <= {200, 201}, [answer.body for answer in answers]
    assert [[result["position"] for result in answer.body["results"]] for answer in answers] == [[1, 2, 3]] * 8
    assert (await log.state()).last == 3


@pytest.mark.parametrize("memory", ["the log's", "the feed's", "the archive's"])
async def test_a_group_whose_answer_was_lost_is_recognised(
    open_caller: Open, nats_server: NatsServer, connection: Connection, log: Log, fresh_database: str, memory: str
) -> None:
    group = [joined("e1", expected=0, time="2026-11-22T12:00:00Z"), joined("e2", entity="otto", expected=0, time="2026-11-22T12:00:00Z")]
    path = f"{ATOMIC}&expected=game/nobody:0"
    group.append(joined("e3", time="2026-11-22T12:00:00Z"))
    async with archived(fresh_database, log) as caught_up:
        async with open_caller(nats_server.url, fresh_database) as caller:
            first = await caller.publish(group, path=path)
            for entity in ("mira", "otto", "nobody"):
                assert (await caller.publish(joined(entity=entity))).status == 201
            if memory == "the feed's":
                await forget_ids(connection)
            again = await caller.publish(group, path=path)
        if memory == "the archive's":
            await forget_ids(connection)
            await caught_up()
            async with open_caller(nats_server.url, fresh_database) as fresh:
                again = await fresh.publish(group, path=path)
        changed = [group[0], {**group[1], "data": {"display_name": "Otto"}}, group[2]]
        async with open_caller(nats_server.url, fresh_database) as caller:
            other = await caller.publish(changed, path=path)

    assert (first.status, again.status, again.headers.get("Idempotent-Replayed")) == (201, 200, "true")
    assert [result["position"] for result in again.body["results"]] == [1, 2, 3]
    assert (other.status, other.code) == (409, "ID_REUSED_WITH_DIFFERENT_BODY")
    assert (await log.state()).last == 6


@pytest.mark.parametrize(
    ("events", "path", "token", "status", "code"),
    [
        (joined("x", expected=-1), "/v1/events", "", 422, "OUT_OF_RANGE"),
        (joined("x", expected=True), "/v1/events", "", 422, "OUT_OF_RANGE"),
        (joined("x", expected="7"), "/v1/events", "", 422, "OUT_OF_RANGE"),
        (joined("x", expected=1.5), "/v1/events", "", 422, "OUT_OF_RANGE"),
        (joined("x", expected=2**63), "/v1/events", "", 422, "OUT_OF_RANGE"),
        ([joined("x", expected=0), joined("y", expected=1)], ATOMIC, "", 422, "EXPECTED_TWICE"),
        ([joined("x", expected=0), joined("y")], f"{ATOMIC}&expected=game/mira:1", "", 422, "EXPECTED_TWICE"),
        ([joined("x"), joined("y")], "/v1/events?expected=game/a:0", "", 400, "EXPECTED_NEEDS_ATOMIC"),
        ([joined("x"), joined("y")], f"{ATOMIC}&expected=game/a:0,game/b:0&expected=game/c:0", "", 422, "TOO_MANY_EXPECTED"),
        (joined("x"), "/v1/events?expected=" + ",".join(f"game/a{number}:0" for number in range(33)), "", 400, "TOO_MANY_EXPECTED"),
        (joined("x"), "/v1/events?expected=", "", 400, "BAD_POSITION"),
        (joined("x"), "/v1/events?expected=game/a", "", 400, "BAD_POSITION"),
        (joined("x"), "/v1/events?expected=game/a:-1", "", 400, "BAD_POSITION"),
        (joined("x"), "/v1/events?expected=a:1", "", 400, "BAD_POSITION"),
        (joined("x"), "/v1/events?expected=m/game/*/a:1", "", 400, "BAD_POSITION"),
        (joined("x"), "/v1/events?expected=game/%2A:1", "", 400, "BAD_POSITION"),
        (joined("x"), "/v1/events?expected=elsewhere/game/a:0", "", 403, "WORLD_NOT_ALLOWED"),
        (joined("x", world="main"), "/v1/events?expected=game/a:0", DEAF, 403, "MAY_NOT_HEAR"),
        (joined("x", world="main"), "/v1/events?expected=game/a:0", MUTE, 403, "SUBSYSTEM_NOT_ALLOWED"),
        (joined("x", world="elsewhere"), "/v1/events?expected=main/game/a:0", OTHER, 403, "WORLD_NOT_ALLOWED"),
    ],
)
async def test_what_cannot_be_expected_is_refused(
    caller: Caller, log: Log, events: Any, path: str, token: str, status: int, code: str
) -> None:
    answer = await caller.publish(events, path=path, token=token)

    assert (answer.status, answer.code) == (status, code)
    assert (await log.state()).last == 0
