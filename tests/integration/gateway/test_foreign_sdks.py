"""CloudEvents as their own project's SDK and specification write them, over HTTP and over NATS; and what a token may not say."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import nats
import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event, to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent as SdkEvent

from bus.event import Draft
from bus.json_format import to_dict
from bus.log import Log
from schemas.gen.io.cloudevents.v1.cloudevents_pb2 import CloudEvent
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerJoined
from schemas.gen.worldbus.runtime.v1.runtime_pb2 import EventParked
from tests.integration.gateway.conftest import Caller, joined, recorded
from worldbus.embedded import NatsServer

FIELDS = {"display_name": "Mira", "zone": "quay"}
PAYLOAD = PlayerJoined(display_name="Mira", zone="quay")


def sdk_event(id: str, **more: Any) -> SdkEvent:
    attributes = {
        "id": id,
        "source": "https://game.example/eu-1",
        "type": "worldbus.player.v1.PlayerJoined",
        "specversion": "1.0",
        "subject": "mira",
        "time": datetime(2026, 11, 22, 12, 0, 0, 250_000, tzinfo=UTC),
        "partitionkey": "über 100 %",
        **more,
    }
    return SdkEvent(attributes=attributes, data=FIELDS)


WRITTEN = [
    pytest.param(lambda: to_structured_event(sdk_event("e1")), id="structured"),
    pytest.param(lambda: to_binary_event(sdk_event("e1")), id="binary without a content type"),
    pytest.param(lambda: to_binary_event(sdk_event("e1", datacontenttype="application/json")), id="binary"),
    pytest.param(lambda: to_binary_event(sdk_event("e1", datacontenttype="application/vnd.game+json")), id="binary of a kind of JSON"),
]


@pytest.mark.parametrize("write", WRITTEN)
async def test_the_python_sdk_is_understood_over_http_and_nats_and_reads_us(
    caller: Caller, log: Log, nats_server: NatsServer, write: Any
) -> None:
    message: HTTPMessage = write()
    url = f"{caller.base}/v1/events"
    sent = {**message.headers, "Authorization": f"Bearer {caller.token}"}
    async with caller.session.post(url, data=message.body, headers=sent, skip_auto_headers=["Content-Type"]) as response:
        assert response.status == 201, await response.text()
    client = await nats.connect(nats_server.url)
    await client.jetstream().publish("evt.main.game.mira.PlayerJoined", message.body, headers=dict(message.headers))
    await client.close()
    by_http, by_nats = [{**to_dict(event), "position": 0, "recorded": ""} for event in await recorded(log)]

    assert by_http == by_nats
    assert (by_http["id"], by_http["origin"], by_http["partitionkey"]) == ("e1", "https://game.example/eu-1", "über 100 %")
    assert (by_http["time"], by_http["data"]) == ("2026-11-22T12:00:00.25Z", FIELDS)
    answer = await caller.ask("GET", "/v1/events/1")
    read = from_http_event(HTTPMessage(headers={"content-type": "application/cloudevents+json"}, body=json.dumps(answer.body).encode()))
    assert (read.get_id(), read.get_subject(), read.get_extension("partitionkey")) == ("e1", "mira", "über 100 %")


def example(**changes: Any) -> CloudEvent:
    """The specification's own example 6.2, with an event of ours."""
    event = CloudEvent(id="e1", spec_version="1.0", type="worldbus.player.v1.PlayerJoined", source="producer-2")
    event.proto_data.Pack(PAYLOAD)
    event.attributes["dataschema"].ce_uri = event.proto_data.type_url
    event.attributes["datacontenttype"].ce_string = "application/protobuf"
    event.attributes["subject"].ce_string = "mira"
    for name, value in changes.items():
        setattr(event, name, value)
    return event


async def test_the_specifications_own_protobuf_example_is_taken(caller: Caller, log: Log) -> None:
    written = [example(), example(id="e2", binary_data=PAYLOAD.SerializeToString()), example(id="e3", text_data=json.dumps(FIELDS))]
    written[2].attributes["datacontenttype"].ce_string = "application/json"
    for event in written:
        answer = await caller.ask("POST", "/v1/events", event.SerializeToString(), Content_Type="application/cloudevents+protobuf")
        assert answer.status == 201, answer.body

    assert [event.data for event in await recorded(log)] == [PAYLOAD] * 3
    assert {event.origin for event in await recorded(log)} == {"producer-2"}
    assert {to_dict(event)["dataschema"] for event in await recorded(log)} == {"type.googleapis.com/worldbus.player.v1.PlayerJoined"}
    unknown = example(binary_data=b"<zone/>")
    unknown.attributes["datacontenttype"].ce_string = "text/xml"
    answer = await caller.ask("POST", "/v1/events", unknown.SerializeToString(), Content_Type="application/cloudevents+protobuf")
    assert (answer.status, "text/xml" in answer.body["detail"]) == (422, True)


async def test_what_a_token_did_not_name_as_its_source_it_says_as_itself(caller: Caller, log: Log) -> None:
    for number, source in enumerate(["https://x.example/", "urn:a:b", "/worldbus/game/eu-1", "/worldbus/tools", "/worldbus/tools/x", ""]):
        assert (await caller.publish(joined(f"e{number}", source=source))).status == 201
    refused = [await caller.publish(joined("f", source=source)) for source in ("/worldbus/npc", "/worldbus/npc/x", "not a uri")]

    assert [(event.subsystem, event.origin) for event in await recorded(log)] == [
        ("game", "https://x.example/"),
        ("game", "urn:a:b"),
        ("game", "/worldbus/game/eu-1"),
        ("tools", ""),
        ("tools", "/worldbus/tools/x"),
        ("game", ""),
    ]
    assert [(one.status, one.code) for one in refused] == [
        (403, "SUBSYSTEM_NOT_ALLOWED"),
        (403, "SUBSYSTEM_NOT_ALLOWED"),
        (422, "BAD_ATTRIBUTE"),
    ]


async def test_what_binary_mode_cannot_be_says_what_it_can_be(caller: Caller) -> None:
    answer = await caller.ask("POST", "/v1/events", "<zone/>", Content_Type="text/xml", ce_type="PlayerJoined", ce_subject="mira")
    plain = await caller.ask("POST", "/v1/events", "x", Content_Type="text/plain")
    headers = [("Authorization", f"Bearer {caller.token}"), ("ce-type", "PlayerJoined"), ("ce-subject", "a"), ("ce-subject", "b")]
    async with caller.session.post(f"{caller.base}/v1/events", data="{}", headers=headers) as response:
        twice = await response.json()

    assert (answer.status, answer.code, answer.body["formats"]) == (415, "UNSUPPORTED_FORMAT", ["application/json", "application/protobuf"])
    assert "beside the ce- headers, found 'text/xml'" in answer.body["detail"]
    assert all(kind in plain.body["detail"] for kind in plain.body["formats"])
    assert (twice["status"], twice["code"]) == (422, "DUPLICATE_KEY")


async def test_a_game_cannot_say_what_is_not_a_games_to_say(caller: Caller, log: Log) -> None:
    """P14, and its kind: the runtime's records, facts of handlers, facts of other edges; whichever way they come."""
    parked = EventParked(handler="player", position=1, code="X", reason="forged").SerializeToString()
    headers = {"Content_Type": "application/protobuf", "ce_subject": "mira", "ce_specversion": "1.0"}
    answers = [await caller.ask("POST", "/v1/events", parked, ce_type="worldbus.runtime.v1.EventParked", **headers)]
    for name in ("EventDeferred", "LaneRetryRequested", "LaneInputDropped", "WeatherChanged", "BargainStruck", "InferenceCompleted"):
        answers += [await caller.publish({"type": name, "subject": "mira"}), await caller.publish([{"type": name, "subject": "mira"}])]
    drafts = Draft(data=EventParked(handler="player", position=1), world="main", entity="mira").encode()
    answers.append(await caller.ask("POST", "/v1/events", drafts, Content_Type="application/cloudevents+protobuf"))

    assert {(answer.status, answer.code) for answer in answers} == {(403, "TYPE_NOT_ALLOWED")}
    assert await recorded(log) == []


async def test_what_cannot_be_shown_is_refused_with_its_path(caller: Caller, log: Log) -> None:
    """P2: an impossible time is refused, wherever it is, in each format."""
    parked = EventParked(handler="player", position=1)
    parked.last_failed_at.seconds = 1_796_001_898_136
    raw = CloudEvent.FromString(Draft(data=parked, world="main", entity="mira", subsystem="tools").encode())
    answers = [await caller.ask("POST", "/v1/events", raw.SerializeToString(), Content_Type="application/cloudevents+protobuf")]
    for seconds, nanos in ((1_796_001_898_136, 0), (-(1 << 63), 0), (0, -1), (0, 1_000_000_000), (253_402_300_800, 0)):
        event = example()
        event.attributes["time"].ce_timestamp.seconds, event.attributes["time"].ce_timestamp.nanos = seconds, nanos
        answers.append(await caller.ask("POST", "/v1/events", event.SerializeToString(), Content_Type="application/cloudevents+protobuf"))
        event.attributes["deadline"].ce_timestamp.CopyFrom(event.attributes["time"].ce_timestamp)
        del event.attributes["time"]
        answers.append(await caller.ask("POST", "/v1/events", event.SerializeToString(), Content_Type="application/cloudevents+protobuf"))
    document = {"type": "EventParked", "subject": "mira", "source": "/worldbus/tools", "data": {"first_failed_at": "10000-01-01T00:00:00Z"}}
    answers += [await caller.publish(document), await caller.publish(joined(time="0000-01-01T00:00:00Z"))]

    assert {answer.status for answer in answers} == {422}
    assert {answer.code for answer in answers} <= {"OUT_OF_RANGE", "BAD_TIME", "BAD_PAYLOAD"}
    assert "EventParked.last_failed_at must be a moment" in answers[0].body["detail"]
    assert await recorded(log) == []


async def test_two_names_of_a_field_and_whole_numbers_of_a_double(caller: Caller, log: Log) -> None:
    """P11 and P12."""
    doubled = await caller.publish(joined("e1", data={"displayName": "A", "display_name": "B"}))
    whole = await caller.publish({"id": "e2", "type": "PlayerMoved", "subject": "m", "data": {"x": 10**20, "y": -(10**300), "z": 5}})
    beyond = await caller.publish({"type": "PlayerMoved", "subject": "m", "data": {"x": 10**400}})
    counted = await caller.publish({"type": "StateChangeRequested", "subject": "m", "data": {"set": {"gold": {"integer": 10**20}}}})

    assert (doubled.status, doubled.code, "displayName" in doubled.body["detail"]) == (422, "DUPLICATE_KEY", True)
    assert whole.status == 201
    (event,) = await recorded(log)
    moved: Any = event.data
    assert (moved.x, moved.y, moved.z) == (1e20, -1e300, 5.0)
    assert (beyond.status, beyond.code) in ((400, "OUT_OF_RANGE"), (422, "OUT_OF_RANGE"))
    assert (counted.status, counted.code) == (422, "OUT_OF_RANGE")
