"""Events in the log that others wrote: JSON, binary mode, and protobuf around other data, read as the same event."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest

from bus.errors import BadEvent, UnknownType
from bus.event import Draft, Event
from bus.json_format import to_dict
from schemas.gen.io.cloudevents.v1.cloudevents_pb2 import CloudEvent
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerJoined

SUBJECT = "evt.3.duskmarket.game.mira.PlayerJoined"
TYPE = "worldbus.player.v1.PlayerJoined"
RECORDED = 1_795_348_800_250_000_123
PAYLOAD = PlayerJoined(display_name="Mira", zone="quay")
DOCUMENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "day-1",
    "source": "/worldbus/game",
    "type": TYPE,
    "time": "2026-11-22T12:00:00.25Z",
    "traceparent": "00-ab-cd-01",
    "data": {"display_name": "Mira", "zone": "quay"},
}


def stored(raw: bytes | str | dict[str, Any], header: bytes | None = None, subject: str = SUBJECT) -> Event:
    body = json.dumps(raw).encode() if isinstance(raw, dict) else raw.encode() if isinstance(raw, str) else raw
    return Event.stored(body, subject, 7, RECORDED, header)


def headers(**changes: str | None) -> bytes:
    """A header block in binary mode; None leaves a header out, underscores stand for dashes."""
    wanted: dict[str, str | None] = {f"ce-{name}": str(value) for name, value in DOCUMENT.items() if name != "data"}
    wanted |= {"content-type": "application/json"} | {name.replace("_", "-"): value for name, value in changes.items()}
    lines = [f"{name}: {value}" for name, value in wanted.items() if value is not None]
    return "\r\n".join(["NATS/1.0", *lines, "", ""]).encode()


OURS = Draft(
    data=PAYLOAD,
    world="duskmarket",
    entity="mira",
    id="day-1",
    time_ns=1_795_348_800_250_000_000,
    traceparent="00-ab-cd-01",
)
BODY = json.dumps(DOCUMENT["data"]).encode()
SAME = {
    "protobuf": stored(OURS.encode()),
    "JSON": stored(DOCUMENT),
    "JSON behind white space": stored(" \t\r\n" + json.dumps(DOCUMENT)),
    "JSON behind a line feed": stored("\n" + json.dumps(DOCUMENT)),
    "JSON behind a byte order mark": stored("\ufeff" + json.dumps(DOCUMENT)),
    "JSON by another key style": stored(DOCUMENT | {"data": {"displayName": "Mira", "zone": "quay"}}),
    "JSON with its content type": stored(DOCUMENT, b"NATS/1.0\r\ncontent-type: application/cloudevents+json\r\n\r\n"),
    "JSON that repeats itself in headers": stored(DOCUMENT, headers(content_type="application/cloudevents+json; charset=UTF-8")),
    "JSON around base64": stored(
        {name: value for name, value in DOCUMENT.items() if name != "data"}
        | {"datacontenttype": "application/protobuf", "data_base64": b64encode(PAYLOAD.SerializeToString()).decode()}
    ),
    "JSON with what the subject says": stored(DOCUMENT | {"subject": "mira", "world": "duskmarket", "datacontenttype": "text/json"}),
    "binary mode": stored(BODY, headers()),
    "binary mode as others spell it": stored(BODY, headers().replace(b"ce-", b"Ce-").replace(b"content-type", b"Content-Type")),
    "binary mode with the attribute's own header": stored(BODY, headers(content_type=None, ce_datacontenttype="application/json")),
    "binary mode without a content type": stored(BODY, headers(content_type=None)),
    "binary mode with protobuf": stored(PAYLOAD.SerializeToString(), headers(content_type="application/protobuf")),
    "binary mode with protobuf and no content type": stored(PAYLOAD.SerializeToString(), headers(content_type=None)),
    "binary mode behind the server's headers": stored(BODY, headers(Nats_Msg_Id="x", Nats_Pin_Id="y", Nats_Sequence="7")),
    "binary mode, quoted and percent-encoded": stored(BODY, headers(ce_id='"day\\-1"', ce_type="worldbus%2eplayer.v1.PlayerJoined")),
}


@pytest.mark.parametrize("form", SAME)
def test_every_form_is_the_same_event(form: str) -> None:
    ours, event = SAME["protobuf"], SAME[form]

    assert to_dict(event) == to_dict(ours)
    assert event.envelope == ours.envelope
    assert (event.id, event.type, event.time_ns, event.cause, event.correlation) == (ours.id, ours.type, ours.time_ns, "", ours.id)
    assert event.raw == ours.raw if form == "protobuf" else event.raw != ours.raw


@pytest.mark.parametrize("form", SAME)
def test_headers_are_kept_of_binary_mode_alone_and_the_same_whichever_way_they_come(form: str) -> None:
    event = SAME[form]
    again = Event.stored(event.raw, SUBJECT, 7, RECORDED, event.header)

    assert (event.header is not None) == form.startswith("binary mode")
    assert b"Nats-" not in (event.header or b"")
    assert (again.header, to_dict(again)) == (event.header, to_dict(event))


def test_what_is_left_out_comes_from_subject_position_and_the_logs_time() -> None:
    event = stored({"data": {"zone": "quay"}})

    assert (event.id, event.type, event.world, event.entity, event.subsystem) == ("position-7", TYPE, "duskmarket", "mira", "game")
    assert event.time_ns == RECORDED // 1000 * 1000, "to the microsecond, for the archive knows it no better"
    assert (event.cause, event.correlation, event.depth, event.deadline_ns, event.lane) == ("", "position-7", 0, 0, None)
    assert event.data == PlayerJoined(zone="quay")


def test_a_restored_log_knows_when_the_old_one_took_it() -> None:
    line = b"NATS/1.0\r\nce-recorded: 2026-11-22T12:00:00.250000Z\r\nNats-Batch-Id: b\r\n\r\n"
    before, after = stored({"data": {}}), Event.stored(b'{"data": {}}', SUBJECT, 7, RECORDED + 10**15, line)

    assert to_dict(after)["time"] == to_dict(before)["time"] == "2026-11-22T12:00:00.25Z"
    assert after.header == b"ce-recorded: 2026-11-22T12:00:00.250000Z\r\n"
    assert Event.stored(OURS.encode(), SUBJECT, 7, RECORDED, line).header is None


def test_a_foreign_source_is_kept_as_origin_and_says_nothing_about_the_subsystem() -> None:
    for source in ("https://game.example/eu-1", "urn:x:1", "/worldbus/npc", "/worldbus/game/eu-1", "mira"):
        event = stored(DOCUMENT | {"source": source})
        ours = CloudEvent.FromString(OURS.encode())
        ours.source = source
        raw = stored(ours.SerializeToString())

        assert (event.subsystem, event.origin, to_dict(event)["source"]) == ("game", source, "/worldbus/game")
        assert to_dict(raw) == to_dict(event)


def test_extensions_and_tracestate_are_given_back() -> None:
    more = {"tracestate": "a=1,b=2", "partitionkey": "k", "sequence": "001", "sampledrate": 30, "known": True, "dataref": "https://x/y?z=1"}
    event = stored(DOCUMENT | more)
    binary = stored(BODY, headers(**{f"ce_{name}": str(value) for name, value in more.items() if name not in ("sampledrate", "known")}))
    protobuf = stored(Draft(**{field: getattr(OURS, field) for field in OURS.__struct_fields__} | {
        "tracestate": "a=1,b=2",
        "extensions": tuple(sorted((name, value) for name, value in more.items() if name != "tracestate")),
    }).encode())  # fmt: skip

    assert more.items() <= to_dict(event).items()
    assert to_dict(event) == to_dict(protobuf)
    assert event.envelope == protobuf.envelope
    assert {name: more[name] for name in ("tracestate", "partitionkey", "sequence", "dataref")}.items() <= to_dict(binary).items()
    assert event.tracestate == "a=1,b=2"


def test_data_that_an_sdk_without_our_types_writes_is_read() -> None:
    for kind, fields in {
        "binary protobuf": {"binary_data": PAYLOAD.SerializeToString()},
        "binary JSON": {"binary_data": BODY},
        "text JSON": {"text_data": BODY.decode()},
    }.items():
        envelope = CloudEvent.FromString(OURS.encode())
        for name, value in fields.items():
            setattr(envelope, name, value)
        for content_type in ("application/protobuf",) if "protobuf" in kind else ("application/json", "application/json; charset=utf-8"):
            envelope.attributes["datacontenttype"].ce_string = content_type
            assert to_dict(stored(envelope.SerializeToString())) == to_dict(SAME["protobuf"]), kind
        del envelope.attributes["datacontenttype"]
        assert to_dict(stored(envelope.SerializeToString())) == to_dict(SAME["protobuf"]), kind


def test_a_simple_name_is_the_first_version_of_its_type() -> None:
    assert stored(DOCUMENT | {"type": "PlayerJoined"}).type == TYPE


def refused(raw: bytes | str | dict[str, Any], header: bytes | None = None, subject: str = SUBJECT) -> str:
    event = stored(raw, header, subject)
    with pytest.raises(BadEvent) as first:
        event.envelope  # noqa: B018
    with pytest.raises(BadEvent) as second:
        event.data  # noqa: B018
    assert first.value is second.value, "an event is not read twice to find out that it cannot be"
    return first.value.code


REFUSED: dict[str, tuple[tuple[Any, ...], str]] = {
    "another type than its subject": ((DOCUMENT | {"type": "PlayerLeft"},), "TYPE_MISMATCH"),
    "a type of others": ((DOCUMENT | {"type": "com.example.PlayerJoined"},), "UNKNOWN_TYPE"),
    "a later version": ((DOCUMENT | {"type": "worldbus.player.v2.PlayerJoined"},), "UNSUPPORTED_VERSION"),
    "no text as its type": ((DOCUMENT | {"type": 5},), "BAD_PAYLOAD"),
    "another specversion": ((DOCUMENT | {"specversion": "0.3"},), "UNSUPPORTED_VERSION"),
    "a field that is not there": ((DOCUMENT | {"data": {"zonne": "quay"}},), "UNKNOWN_FIELD"),
    "a field under two names": ((DOCUMENT | {"data": {"display_name": "a", "displayName": "b"}},), "DUPLICATE_KEY"),
    "a batch": ((json.dumps([DOCUMENT]),), "BAD_PAYLOAD"),
    "a time that is none": ((DOCUMENT | {"time": "10000-01-01T00:00:00Z"},), "BAD_TIME"),
    "an extension that is no text": ((DOCUMENT | {"sequence": {"a": 1}},), "BAD_PAYLOAD"),
    "too many extensions": ((DOCUMENT | {f"x{n}": "y" for n in range(33)},), "TOO_LARGE"),
    "half a document": ((json.dumps(DOCUMENT)[:-3],), "BAD_PAYLOAD"),
    "a header twice": ((BODY, headers() + b"ce-id: other\r\n"), "DUPLICATE_KEY"),
    "a header that is no UTF-8": ((BODY, headers(ce_producerversion="%C0%A0")), "BAD_UTF8"),
    "an id that is no id": ((BODY, headers(ce_id="day%201")), "BAD_HEADER"),
    "binary mode with XML": ((b"<zone/>", headers(content_type="text/xml")), "BAD_PAYLOAD"),
    "binary mode with half a message": ((b"\x0a\x05ab", headers(content_type="application/protobuf")), "BAD_PAYLOAD"),
    "the log's answer to a publisher": (({"stream": "LOG", "seq": 7},), "BAD_PAYLOAD"),
    "its answer to a publisher who came again": (({"stream": "LOG", "domain": "hub", "seq": 7, "duplicate": True},), "BAD_PAYLOAD"),
    "its answer to a group": (({"stream": "LOG", "seq": 7, "batch": "b", "count": 3},), "BAD_PAYLOAD"),
    "a subject that names nobody": ((DOCUMENT, None, "evt.x.PlayerJoined"), "TYPE_MISMATCH"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_event_says_why(what: str) -> None:
    arguments, code = REFUSED[what]

    assert refused(*arguments) == code


def test_an_unknown_type_is_of_its_own_class() -> None:
    with pytest.raises(UnknownType):
        stored(DOCUMENT | {"type": "worldbus.player.v2.PlayerJoined"}).data  # noqa: B018


def test_maps_and_oneofs_are_held_to_one_name_each() -> None:
    subject = "evt.3.duskmarket.game.mira.StateChangeRequested"

    assert refused({"data": {"set": {"gold": {"text": "a", "integer": "5"}}}}, None, subject) == "DUPLICATE_KEY"
    assert stored({"data": {"set": {"gold": {"text": None, "integer": "5"}}}}, None, subject).data.set["gold"].integer == 5  # type: ignore[attr-defined]
