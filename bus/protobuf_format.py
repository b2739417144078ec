"""Events as CloudEvents protobuf bytes that somebody else made: an engine's client, a bridge, a file.

What comes in is held to the same rules as a draft of our own. Bytes that parse are not enough: an empty body parses as an empty message,
and one type's bytes often parse as another's.
"""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from bus.attributes import CORE, LOGGED, OURS, SOURCE, TEXTS, TIMES, Value, check_further, check_name, check_origin
from bus.check import check_attributes, check_payload, check_time, check_type
from bus.draft import EDGE, Draft
from bus.envelope import MAX_EVENT, NANOS, SPEC_VERSION, decode
from bus.errors import BadEvent, TooLarge
from bus.moments import format_time
from bus.payload import PROTOBUF, media, payload_from_bytes
from bus.subjects import check_token
from schemas.gen.io.cloudevents.v1.cloudevents_pb2 import CloudEvent

_TEXT_KINDS = frozenset({"ce_string", "ce_uri", "ce_uri_ref"})


def from_protobuf(raw: bytes, *, subsystem: str = EDGE) -> Draft:
    """The draft that an encoded CloudEvent describes; `subsystem` says it, unless its source is ours.

    The data may be a message (`proto_data`), or bytes or text under a `datacontenttype` of protobuf or JSON. Raises `BadEvent`,
    `UnknownType`, `TooLarge` or `BadSubject`.
    """
    if len(raw) > MAX_EVENT:
        raise TooLarge(f"event of {len(raw)} bytes, wanted at most {MAX_EVENT}: send a reference instead", limit=MAX_EVENT, found=len(raw))
    event = decode(raw, any_data=True)
    if len(UnknownFieldSet(event)):
        raise BadEvent(f"event {event.id} has fields that no CloudEvent has: is it another message?", code="UNKNOWN_FIELD")
    if event.spec_version != SPEC_VERSION:
        raise BadEvent(f"specversion must be {SPEC_VERSION}, found {event.spec_version!r}", code="UNSUPPORTED_VERSION")
    speaker, origin = _source(event.source, subsystem)
    name = check_type(event.type)
    if name != event.type:
        raise BadEvent(f"type must be the full name {name}, found {event.type}", code="BAD_ATTRIBUTE", field="type")
    fields: dict[str, Any] = {"time_ns": 0, "origin": origin} | _fields(event)
    data, payload = _data(event, name)
    draft = Draft(
        data=data,
        world=check_token(fields.pop("world", ""), "world"),
        entity=check_token(fields.pop("subject", ""), "subject"),
        subsystem=speaker,
        id=event.id,
        **fields,
    )
    check_attributes(draft)
    check_further(draft.tracestate, draft.origin, draft.extensions)
    check_payload(draft.data, payload)
    return draft


def given_of(event: CloudEvent) -> dict[str, Any]:
    """The attributes of an envelope as JSON says them. Raises `BadEvent` for an impossible moment."""
    said = {"id": event.id, "source": event.source, "type": event.type, "specversion": event.spec_version}
    given: dict[str, Any] = {name: value for name, value in said.items() if value}
    for name, value in event.attributes.items():
        given[name] = json_value(name, value)
    return given


def json_value(name: str, attribute: Any) -> Value:
    """An attribute's value as JSON says it. Raises `BadEvent` for one that it cannot say."""
    kind = attribute.WhichOneof("attr")
    match kind:
        case "ce_timestamp":
            return format_time(check_time(_moment(name, attribute.ce_timestamp), name))
        case "ce_bytes":
            return b64encode(attribute.ce_bytes).decode()
        case None:
            raise BadEvent(f"attribute {name} says nothing: leave it out", code="BAD_ATTRIBUTE", field=name)
        case _:
            value: Value = getattr(attribute, kind)
            return value


def _source(source: str, subsystem: str) -> tuple[str, str]:
    """(who says it, its source as it was written if that is not ours)."""
    if not source:
        raise BadEvent("source is missing: a CloudEvent needs one", code="MISSING_ATTRIBUTE", field="source")
    if not source.startswith(SOURCE):
        return check_token(subsystem, "subsystem"), check_origin(source, "source")
    head, slash, _ = source.removeprefix(SOURCE).partition("/")
    return check_token(head, "source"), check_origin(source, "source") if slash else ""


def _fields(event: CloudEvent) -> dict[str, Any]:
    """Fields of a draft, and `world` and `subject`."""
    found: dict[str, Any] = {}
    extensions: list[tuple[str, Value]] = []
    for name, value in event.attributes.items():
        kind = value.WhichOneof("attr")
        if name in TIMES:
            _wants(name, kind, "ce_timestamp")
            found[TIMES[name]] = _moment(name, value.ce_timestamp)
        elif name == "depth":
            _wants(name, kind, "ce_integer")
            found[name] = value.ce_integer
        elif name in OURS:
            if kind not in _TEXT_KINDS:
                _wants(name, kind, "ce_string")
            found[TEXTS.get(name, name)] = getattr(value, str(kind))
        elif name not in LOGGED and name != "datacontenttype":
            if check_name(name) in CORE:
                raise BadEvent(f"attribute {name} has a field of its own in an envelope", code="BAD_ATTRIBUTE", field=name)
            extensions.append((name, json_value(name, value)))
    if extensions:
        found["extensions"] = tuple(sorted(extensions))
    return found


def _wants(name: str, kind: str | None, wanted: str) -> None:
    if kind != wanted:
        raise BadEvent(f"attribute {name} must be a {wanted}, found {kind or 'nothing'}", code="BAD_ATTRIBUTE", field=name)


def _moment(name: str, stamp: Any) -> int:
    if not 0 <= stamp.nanos < NANOS:
        raise BadEvent(f"{name} has {stamp.nanos} nanoseconds in its second", code="OUT_OF_RANGE", field=name)
    moment: int = stamp.seconds * NANOS + stamp.nanos
    return moment


def _data(event: CloudEvent, name: str) -> tuple[Message, bytes]:
    """The payload, and its bytes."""
    kind = event.WhichOneof("data")
    if kind == "proto_data":
        return payload_from_bytes(name, event.proto_data.value, PROTOBUF), event.proto_data.value
    content_type = event.attributes["datacontenttype"].ce_string if "datacontenttype" in event.attributes else ""
    body = event.binary_data if kind == "binary_data" else event.text_data.encode()
    message = payload_from_bytes(name, body, media(content_type))
    return message, message.SerializeToString()
