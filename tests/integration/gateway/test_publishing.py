"""POST /v1/events: in the log once, in order, where the answer says; and nothing half-done silently."""

from __future__ import annotations

import asyncio
import json
import time
from base64 import b64encode
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bus.event import Draft
from bus.log import Log
from schemas.gen.io.cloudevents.v1.cloudevents_pb2 import CloudEvent, CloudEventBatch
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerJoined
from tests.exposition import faults
from tests.integration.gateway.conftest import DEAF, MUTE, OTHER, SLOW, TOKEN, Caller, joined, recorded
from worldbus.gateway.bodies import PROTOBUF, PROTOBUF_BATCH


async def test_an_event_is_recorded_where_the_answer_says(caller: Caller, log: Log) -> None:
    answer = await caller.publish(joined("e1", time="2026-11-22T12:00:00.25Z", causationid="c", correlationid="r"))

    (event,) = await recorded(log)
    assert answer.status == 201
    assert answer.body == {"id": "e1", "position": 1, "subject": "evt.main.game.mira.PlayerJoined", "replayed": False}
    assert answer.headers["Location"] == "/v1/events/1"
    assert (event.id, event.cause, event.correlation, event.time_ns) == ("e1", "c", "r", 1_795_348_800_250_000_000)
    assert event.data == PlayerJoined(display_name="Mira", zone="quay")


@pytest.mark.parametrize("kind", ["application/cloudevents+json; charset=utf-8", "application/json"])
async def test_json_is_understood_under_both_its_names(caller: Caller, log: Log, kind: str) -> None:
    assert (await caller.ask("POST", "/v1/events", json.dumps(joined("e1")), Content_Type=kind)).status == 201
    assert [event.id for event in await recorded(log)] == ["e1"]


async def test_an_array_under_plain_json_is_a_batch(caller: Caller, log: Log) -> None:
    answer = await caller.ask("POST", "/v1/events", json.dumps([joined("e1"), joined("e2")]), Content_Type="application/json")

    assert (answer.status, answer.body["recorded"]) == (201, 2)
    assert [event.id for event in await recorded(log)] == ["e1", "e2"]


async def test_protobuf_goes_in_as_single_and_as_batch(caller: Caller, log: Log) -> None:
    drafts = [Draft(data=PlayerJoined(zone="quay"), world="main", entity="mira", id=f"e{number}") for number in range(4)]
    one = await caller.ask("POST", "/v1/events", drafts[0].encode(), Content_Type="application/cloudevents+protobuf")
    batch = CloudEventBatch(events=[CloudEvent.FromString(draft.encode()) for draft in drafts[1:]])
    many = await caller.ask("POST", "/v1/events", batch.SerializeToString(), Content_Type="application/cloudevents-batch+protobuf")

    assert (one.status, many.status) == (201, 201)
    assert [result["position"] for result in many.body["results"]] == [2, 3, 4]
    assert [event.raw for event in await recorded(log)] == [draft.encode() for draft in drafts]


@pytest.mark.parametrize("payload", ["json", "protobuf"])
async def test_binary_mode_has_its_attributes_in_headers(caller: Caller, log: Log, payload: str) -> None:
    data = PlayerJoined(display_name="Mira", zone="quay")
    body: Any = data.SerializeToString() if payload == "protobuf" else json.dumps({"display_name": "Mira", "zone": "quay"})
    attributes = {"ce_id": "e1", "ce_type": "PlayerJoined", "ce_subject": "mira", "ce_specversion": "1.0", "ce_depth": "3"}
    answer = await caller.ask("POST", "/v1/events", body, Content_Type=f"application/{payload}", **attributes)

    (event,) = await recorded(log)
    assert answer.status == 201
    assert (event.id, event.entity, event.depth, event.data) == ("e1", "mira", 3, data)


async def test_the_same_event_again_answers_the_same_position(caller: Caller, log: Log) -> None:
    first = await caller.publish(joined("e1"))  # its time is the moment it came, so no part of what it is
    again = await caller.publish(joined("e1"))

    assert (first.status, again.status) == (201, 200)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    assert again.body == {**first.body, "replayed": True}
    assert len(await recorded(log)) == 1


@pytest.mark.parametrize(
    "other",
    [
        joined("e1", data={"display_name": "Myra", "zone": "quay"}),
        joined("e1", entity="oto"),
        joined("e1", causationid="c"),
        joined("e1", source="/worldbus/tools"),
        joined("e1", time="2026-11-22T12:00:00Z"),
        joined("e1", type="PlayerLeft", data={}),
    ],
    ids=["data", "entity", "cause", "subsystem", "time", "type"],
)
async def test_another_event_under_a_taken_id_is_refused(caller: Caller, log: Log, other: dict[str, Any]) -> None:
    await caller.publish(joined("e1"))
    answer = await caller.publish(other)

    assert (answer.status, answer.code) == (409, "ID_REUSED_WITH_DIFFERENT_BODY")
    assert len(await recorded(log)) == 1


async def test_a_taken_id_says_nothing_of_another_world(caller: Caller) -> None:
    await caller.publish(joined("e1"))
    answer = await caller.publish(joined("e1", world="elsewhere"), token=OTHER)

    assert answer.status == 409
    assert "mira" not in json.dumps(answer.body)
    assert "position" not in answer.body


async def test_twenty_at_once_are_one(caller: Caller, log: Log) -> None:
    answers = await asyncio.gather(*(caller.publish(joined("e1")) for _ in range(20)))

    assert sorted(answer.status for answer in answers) == [200] * 19 + [201]
    assert {answer.body["position"] for answer in answers} == {1}
    assert len(await recorded(log)) == 1


async def test_the_idempotency_key_is_the_id(caller: Caller, log: Log) -> None:
    first = await caller.publish(joined(), Idempotency_Key='"k1"')
    again = await caller.publish(joined(), Idempotency_Key="k1")
    batch = await caller.publish([joined(), joined()], Idempotency_Key="k2")
    wrong = await caller.publish(joined("e9"), Idempotency_Key="k9")

    assert (first.status, again.status, again.body["id"]) == (201, 200, "k1")
    assert [result["id"] for result in batch.body["results"]] == ["k2.0", "k2.1"]
    assert (wrong.status, wrong.code) == (422, "KEY_MISMATCH")
    assert [event.id for event in await recorded(log)] == ["k1", "k2.0", "k2.1"]


async def test_a_key_and_an_id_that_differ_only_in_their_ends_do_not_agree(caller: Caller, log: Log) -> None:
    wrong = await caller.publish(joined("e1"), Idempotency_Key="k.e1")
    batch = await caller.publish([joined("0")], Idempotency_Key="k")

    assert [(answer.status, answer.code) for answer in (wrong, batch)] == [(422, "KEY_MISMATCH")] * 2
    assert await recorded(log) == []


async def test_protobuf_may_leave_out_what_json_may(caller: Caller, log: Log) -> None:
    bare = CloudEvent(spec_version="1.0", type="worldbus.player.v1.PlayerJoined")
    bare.proto_data.Pack(PlayerJoined(zone="quay"))
    bare.attributes["subject"].ce_string = "mira"
    named = CloudEvent.FromString(bare.SerializeToString())
    named.id = "e1"
    before = time.time_ns()
    fresh = [await caller.ask("POST", "/v1/events", bare.SerializeToString(), Content_Type=PROTOBUF) for _ in range(2)]
    batch = CloudEventBatch(events=[named, bare]).SerializeToString()
    again = [await caller.ask("POST", "/v1/events", batch, Content_Type=PROTOBUF_BATCH) for _ in range(2)]

    events = await recorded(log)
    assert [answer.status for answer in (*fresh, *again)] == [201] * 4
    assert [[result["replayed"] for result in answer.body["results"]] for answer in again] == [[False, False], [True, False]]
    assert len({event.id for event in events}) == len(events) == 5
    assert {(event.world, event.subsystem, event.entity) for event in events} == {("main", "game", "mira")}
    assert all(before <= event.time_ns <= time.time_ns() for event in events)


async def test_null_leaves_an_attribute_out(caller: Caller, log: Log) -> None:
    absent = dict.fromkeys(("source", "world", "time", "causationid", "depth", "datacontenttype", "dataschema", "deadline"))
    fresh = await caller.publish({**joined(), **absent, "id": None})
    named = [await caller.publish({**joined("e1"), **absent}) for _ in range(2)]
    unknown = await caller.publish({**joined("e1"), "weather": None})
    unnamed = await caller.publish({**joined("e2"), "Weather": None})

    assert [answer.status for answer in (fresh, *named, unknown)] == [201, 201, 200, 200]
    assert (unnamed.status, unnamed.code) == (422, "BAD_HEADER")
    assert {(event.world, event.subsystem, event.cause, event.depth) for event in await recorded(log)} == {("main", "game", "", 0)}


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON", "application/protobuf"])
async def test_the_datas_type_may_have_parameters(caller: Caller, log: Log, kind: str) -> None:
    assert (await caller.publish(joined("e1", datacontenttype=kind))).status == 201
    assert (await caller.publish(joined("e2", datacontenttype="text/plain"))).status == 422


async def test_a_payload_of_bytes_goes_as_base64(caller: Caller, log: Log) -> None:
    payload = PlayerJoined(display_name="Mira", zone="quay")
    event = {name: value for name, value in joined("e1").items() if name != "data"}
    event |= {"datacontenttype": "application/protobuf", "data_base64": b64encode(payload.SerializeToString()).decode()}
    answer = await caller.publish(event)
    again = await caller.publish([event])
    wrong = [
        await caller.publish({**event, **change})
        for change in (
            {"data": {}},
            {"datacontenttype": "application/json"},
            {"data_base64": "%"},
            {"data_base64": "/////w=="},
            {"data_base64": 5},
        )
    ]

    assert (answer.status, again.status, again.body["results"][0]["position"]) == (201, 200, 1)
    assert [one.status for one in wrong] == [422] * 5
    assert [event.data for event in await recorded(log)] == [payload]


async def test_binary_mode_is_told_by_any_of_its_headers_and_as_strict(caller: Caller, log: Log) -> None:
    attributes = {"Content_Type": "application/json", "ce_id": "e1", "ce_subject": "mira", "ce_specversion": "1.0"}
    untyped = await caller.ask("POST", "/v1/events", "{}", **attributes)
    broken = await caller.ask("POST", "/v1/events", '{"zone":', **attributes, ce_type="PlayerJoined")

    assert (untyped.status, untyped.code) == (422, "UNKNOWN_TYPE")
    assert "type: is missing" in untyped.body["detail"]
    assert (broken.status, broken.code) == (400, "BAD_PAYLOAD")


async def test_a_parameter_that_is_not_known_is_refused_of_one_event_as_of_many(caller: Caller, log: Log) -> None:
    for document in (joined("e1"), [joined("e1")]):
        assert (await caller.publish(document, path="/v1/events?atomci=true")).code == "UNKNOWN_PARAMETER"
        assert (await caller.publish(document, path="/v1/events?atomic=maybe")).status == 400
    assert (await caller.publish(joined("e1"), path="/v1/events?atomic=true")).status == 201


async def test_a_batch_has_a_result_for_each_event_in_order(caller: Caller, log: Log) -> None:
    await caller.publish(joined("e2"))
    answer = await caller.publish([joined("e1"), joined("e2"), joined("e3"), joined("e3")])

    assert answer.status == 201
    assert [(one["id"], one["position"], one["replayed"]) for one in answer.body["results"]] == [
        ("e1", 2, False), ("e2", 1, True), ("e3", 3, False), ("e3", 3, True)
    ]  # fmt: skip
    assert [event.id for event in await recorded(log)] == ["e2", "e1", "e3"]
    assert (await caller.publish([joined("e1"), joined("e2")])).headers["Idempotent-Replayed"] == "true"


async def test_one_bad_event_stops_its_batch_before_anything_is_recorded(caller: Caller, log: Log) -> None:
    answer = await caller.publish([joined("e1"), joined("e2", type="PlayerJoind"), joined("e3", subject="a.b"), 5])

    assert answer.status == 422
    assert [(error["index"], error["code"]) for error in answer.body["errors"]] == [
        (1, "UNKNOWN_TYPE"), (2, "BAD_SUBJECT"), (3, "BAD_PAYLOAD")
    ]  # fmt: skip
    assert "did you mean PlayerJoined" in answer.body["errors"][0]["detail"]
    assert await recorded(log) == []


async def test_a_batch_with_a_taken_id_tells_which_and_records_the_rest_once(caller: Caller, log: Log) -> None:
    await caller.publish(joined("e1"))
    batch = [joined("e0"), joined("e1", entity="oto"), joined("e2")]
    answers = [await caller.publish(batch) for _ in range(2)]

    assert [answer.status for answer in answers] == [409, 409]
    assert [one.get("status") for one in answers[0].body["results"]] == [201, 409, 201]
    assert [one.get("status") for one in answers[1].body["results"]] == [200, 409, 200]
    assert [event.id for event in await recorded(log)] == ["e1", "e0", "e2"]


async def test_an_atomic_batch_is_recorded_whole_or_not_at_all(caller: Caller, log: Log) -> None:
    path = "/v1/events?atomic=true"
    first = await caller.publish([joined("e1"), joined("e2")], path=path)
    again = await caller.publish([joined("e1"), joined("e2")], path=path)
    partly = await caller.publish([joined("e2"), joined("e3")], path=path)

    assert [one["position"] for one in first.body["results"]] == [1, 2]
    assert (again.status, again.body["results"][1]["position"]) == (200, 2)
    assert (partly.status, partly.code, partly.body["missing"]) == (409, "GROUP_PARTLY_RECORDED", ["e3"])
    assert [event.id for event in await recorded(log)] == ["e1", "e2"]


@pytest.mark.parametrize(
    ("token", "document", "code"),
    [
        (OTHER, joined("e1", world="main"), "WORLD_NOT_ALLOWED"),
        (MUTE, joined("e1", world="main"), "SUBSYSTEM_NOT_ALLOWED"),
        ("wbt_one", joined("e1", source="/worldbus/weather"), "SUBSYSTEM_NOT_ALLOWED"),
        ("wbt_one", joined("e1", source="/worldbus/payments-provider"), "SUBSYSTEM_NOT_ALLOWED"),
    ],
)
async def test_a_token_speaks_only_where_and_as_whom_it_may(caller: Caller, log: Log, token: str, document: Any, code: str) -> None:
    answer = await caller.publish(document, token=token)

    assert (answer.status, answer.code) == (403, code)
    assert await recorded(log) == []


@pytest.mark.parametrize("token", [None, "wbt_nobody", "", "wbt_one x"])
async def test_without_a_valid_token_nothing_happens(caller: Caller, log: Log, token: str | None) -> None:
    answer = await caller.publish(joined("e1"), token=" " if token == "" else token)

    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert "nobody" not in json.dumps(answer.body)
    assert await recorded(log) == []


async def test_a_token_that_is_struck_out_is_no_good_any_more(caller: Caller, tmp_path: Any) -> None:
    assert (await caller.publish(joined("e1"))).status == 201
    path = tmp_path / "tokens.toml"
    path.write_text(path.read_text().replace("[wbt-one]", "[wbt-one-old]\n#"))  # wrong TOML: changes nothing
    assert (await caller.publish(joined("e2"))).status == 201
    path.write_text(path.read_text().partition("[wbt-one-old]")[0] + "[wbt-other]" + path.read_text().partition("[wbt-other]")[2])
    while (await caller.publish(joined("e3"))).status != 401:
        await asyncio.sleep(0.1)


async def test_more_events_than_granted_have_to_wait(caller: Caller, log: Log) -> None:
    answers = [await caller.publish(joined(f"e{number}"), token=SLOW) for number in range(4)]

    assert [answer.status for answer in answers] == [201, 201, 429, 429]
    assert 1 <= int(answers[2].headers["Retry-After"]) <= 50
    assert len(await recorded(log)) == 2


@pytest.mark.parametrize(
    ("document", "status", "code"),
    [
        ("", 400, "BAD_PAYLOAD"),
        ("nonsense", 400, "BAD_PAYLOAD"),
        ("[" * 200, 400, "TOO_DEEP"),
        ('{"type": "PlayerJoined", "type": "PlayerLeft"}', 400, "DUPLICATE_KEY"),
        ('{"a": NaN}', 400, "NOT_FINITE"),
        ("{}", 422, "UNKNOWN_TYPE"),
        ("[]", 422, "BAD_PAYLOAD"),
        (json.dumps(joined("e1", lane="0:1:0:1")), 422, "RESERVED_ATTRIBUTE"),
        (json.dumps(joined("e 1")), 422, "BAD_HEADER"),
        (json.dumps(joined("e1", subject="*")), 422, "BAD_SUBJECT"),
        (json.dumps(joined("e1", specversion="0.3")), 422, "UNSUPPORTED_VERSION"),
        (json.dumps(joined("e1", data={"nosuch": 1})), 422, "UNKNOWN_FIELD"),
        (json.dumps(joined("e1", natsmsgid="x")), 422, "RESERVED_HEADER"),
        (json.dumps(joined("e1", data={"display_name": "a\0b"})), 400, "BAD_TEXT"),
        (json.dumps(joined("e1", data={"display_name": "x" * 300_000})), 413, "TOO_LARGE"),
        (json.dumps(joined("e1", data={"display_name": "x" * 600_000})), 413, "TOO_LARGE"),
    ],
)
async def test_what_is_no_event_is_refused_with_its_reason(caller: Caller, log: Log, document: str, status: int, code: str) -> None:
    answer = await caller.ask("POST", "/v1/events", document.encode(), Content_Type="application/cloudevents+json")

    assert (answer.status, answer.code) == (status, code)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert {"type", "title", "status", "detail", "code"} <= answer.body.keys()
    assert await recorded(log) == []


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Content_Type": "text/plain"}, 415, "UNSUPPORTED_FORMAT"),
        ({}, 415, "UNSUPPORTED_FORMAT"),
        ({"Content_Type": "application/json", "Content_Encoding": "gzip"}, 415, "UNSUPPORTED_ENCODING"),
        ({"Content_Type": "application/json; charset=latin-1"}, 415, "UNSUPPORTED_CHARSET"),
        ({"Content_Type": "application/cloudevents-batch+json"}, 400, "BAD_PAYLOAD"),
        ({"Content_Type": "application/cloudevents+protobuf"}, 422, "BAD_PAYLOAD"),
        ({"Content_Type": "application/cloudevents-batch+protobuf"}, 400, "BAD_PAYLOAD"),
    ],
)
async def test_what_is_no_known_format_is_refused(caller: Caller, log: Log, headers: dict[str, str], status: int, code: str) -> None:
    answer = await caller.ask("POST", "/v1/events", b'{"a": 1}', **headers)

    assert (answer.status, answer.code) == (status, code)
    assert await recorded(log) == []


async def test_batches_and_bodies_have_their_limits(caller: Caller, log: Log) -> None:
    assert (await caller.publish([])).code == "EMPTY_BATCH"
    assert (await caller.publish([joined() for _ in range(51)])).code == "BATCH_TOO_LARGE"
    assert (await caller.publish([joined(data={"display_name": "x" * 1000})] * 3, token=SLOW)).status == 413
    assert await recorded(log) == []


async def test_an_event_can_be_looked_at_by_those_who_may(caller: Caller) -> None:
    await caller.publish(joined("e1"))
    found = await caller.ask("GET", "/v1/events/1")

    assert (found.body["id"], found.body["position"], found.body["data"]["zone"]) == ("e1", 1, "quay")
    assert (await caller.ask("GET", "/v1/events/1", token=OTHER)).status == 404
    assert (await caller.ask("GET", "/v1/events/1", token=DEAF)).status == 403
    assert (await caller.ask("GET", "/v1/events/2")).status == 404
    assert (await caller.ask("GET", "/v1/events/0")).status == 404


async def test_paths_and_methods_that_are_not_there(caller: Caller) -> None:
    assert (await caller.ask("GET", "/")).status == 404
    assert (await caller.ask("GET", "/v1/events/x")).status == 404
    wrong = await caller.ask("DELETE", "/v1/events")
    assert (wrong.status, wrong.headers["Allow"]) == (405, "POST")
    assert (await caller.ask("POST", "/healthz")).headers["Allow"] == "GET, HEAD"
    assert (await caller.ask("HEAD", "/v1/subscribe")).headers["Allow"] == "GET"


async def test_head_is_get_without_the_body(caller: Caller) -> None:
    await caller.publish(joined("e1"))
    for path in ("/healthz", "/readyz", "/openapi.json", "/v1/events/1"):
        whole, head = (
            await caller.ask("GET", path),
            await caller.session.head(caller.base + path, headers={"Authorization": f"Bearer {TOKEN}"}),
        )
        assert (head.status, head.headers["Content-Type"], await head.read()) == (200, whole.headers["Content-Type"], b"")
        assert head.headers["Content-Length"] == whole.headers["Content-Length"]


async def test_a_whole_address_is_a_path_as_well(caller: Caller) -> None:
    async with caller.session.get(caller.base + "/healthz", proxy=caller.base) as answer:  # so a proxy is asked
        assert (answer.status, await answer.json()) == (200, {"status": "ok"})


async def test_it_says_how_it_is(caller: Caller) -> None:
    await caller.publish(joined("e1"))
    ready = await caller.ask("GET", "/readyz", token=None)
    text = (await caller.ask("GET", "/metrics", token=None)).body.decode()

    assert ready.body == {"status": "ready", "checks": {"nats": True, "log": True, "archive": False}}
    assert (await caller.ask("GET", "/healthz", token=None)).body == {"status": "ok"}
    assert 'worldbus_gateway_events_total{outcome="recorded"} 1.0' in text
    assert 'worldbus_gateway_requests_total{route="/v1/events",status="201"} 1.0' in text
    assert "wbt_one" not in text


async def _events(caller: Caller) -> dict[str, float]:
    """`worldbus_gateway_events_total` by outcome, as Prometheus reads it."""
    text = (await caller.ask("GET", "/metrics", token=None)).body.decode()
    assert faults(text, "worldbus_gateway_") == []
    families = {family.name: family for family in text_string_to_metric_families(text)}
    return {one.labels["outcome"]: one.value for one in families["worldbus_gateway_events"].samples if one.value}


async def test_every_event_of_a_request_is_counted_once_whoever_refuses_it(caller: Caller, log: Log) -> None:
    await caller.publish(joined("e1"))
    await caller.publish(joined("e1"))
    refused = [
        (await caller.ask("POST", "/v1/events", "{}", Content_Type="text/plain"), 415, 1),
        (await caller.ask("POST", "/v1/events", "{", Content_Type="application/json"), 400, 1),
        (await caller.ask("POST", "/v1/events", "x" * 3000, token=SLOW, Content_Type="application/json"), 413, 1),
        (await caller.publish({**joined("e2"), "subject": "a.b"}), 422, 1),
        (await caller.publish(joined("e1", entity="other")), 409, 1),
        (await caller.publish(joined("e3"), path="/v1/events?nosuch=1"), 400, 1),
        (await caller.publish(joined("e3"), token=None), 401, 1),
        (await caller.publish(joined("e3"), token=OTHER), 422, 1),
        (await caller.publish([joined("e4"), joined("e5", world="elsewhere")]), 403, 2),
        (await caller.publish([joined("e6"), joined("e7"), {**joined("e8"), "type": "NoSuch"}]), 422, 3),
        (await caller.publish([joined(f"b{number}") for number in range(51)]), 413, 51),
        (await caller.publish([joined("e9"), joined("e9")], path="/v1/events?atomic=true"), 422, 2),
        (await caller.publish([joined("f1"), joined("e1", entity="other")]), 409, 1),
    ]

    assert [answer.status for answer, _, _ in refused] == [status for _, status, _ in refused]
    counted = await _events(caller)
    assert counted == {"recorded": 2, "replayed": 1, "refused": sum(events for _, _, events in refused)}
    assert [event.id for event in await recorded(log)] == ["e1", "f1"]
