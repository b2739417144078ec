"""Events as CloudEvents protobuf bytes that somebody else made: an engine's client, a bridge, a file.

What comes in is held to the same rules as a draft of our own. Bytes that parse are not enough: an empty body parses as an empty message,
and one type's bytes often parse as another's.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from bus.check import check_attributes, check_payload, check_type
from bus.envelope import MAX_EVENT, NANOS, SPEC_VERSION, decode
from bus.errors import BadEvent, TooLarge
from bus.event import Draft
from bus.subjects import check_token
from schemas.registry import message_class

SOURCE = "/worldbus/"
_TEXTS = {
    "causationid": "cause",
    "correlationid": "correlation",
    "lane": "lane",
    "traceparent": "traceparent",
    "producerversion": "producer_version",
}
_TIMES = {"time": "time_ns", "deadline": "deadline_ns"}
_KNOWN = frozenset({"subject", "world", "depth", *_TEXTS, *_TIMES})


def from_protobuf(raw: bytes) -> Draft:
    """The draft that an encoded CloudEvent describes. Raises `BadEvent`, `UnknownType`, `TooLarge` or `BadSubject`."""
    if len(raw) > MAX_EVENT:
        raise TooLarge(f"event of {len(raw)} bytes, wanted at most {MAX_EVENT}: send a reference instead", limit=MAX_EVENT, found=len(raw))
    event = decode(raw)
    if len(UnknownFieldSet(event)):
        raise BadEvent(f"event {event.id} has fields that no CloudEvent has: is it another message?", code="UNKNOWN_FIELD")
    if event.spec_version != SPEC_VERSION:
        raise BadEvent(f"specversion must be {SPEC_VERSION}, found {event.spec_version!r}", code="UNSUPPORTED_VERSION")
    if not event.source.startswith(SOURCE):
        raise BadEvent(f"source must be {SOURCE}<subsystem>, found {ascii(event.source)[:80]}", code="BAD_ATTRIBUTE", field="source")
    name = check_type(event.type)
    if name != event.type:
        raise BadEvent(f"type must be the full name {name}, found {event.type}", code="BAD_ATTRIBUTE", field="type")
    attributes = _attributes(event)
    draft = Draft(
        data=_payload(name, event.proto_data.value),
        world=check_token(attributes.pop("world", ""), "world"),
        entity=check_token(attributes.pop("subject", ""), "subject"),
        subsystem=check_token(event.source.removeprefix(SOURCE), "source"),
        id=event.id,
        **{"time_ns": 0} | attributes,
    )
    check_attributes(draft)
    check_payload(draft.data, event.proto_data.value)
    return draft


def _attributes(event: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in event.attributes.items():
        if name not in _KNOWN:
            reserved = name.lower().startswith("nats")
            raise BadEvent(
                f"attribute {ascii(name)[:80]} is not known; the attributes are {', '.join(sorted(_KNOWN))}",
                code="RESERVED_HEADER" if reserved else "UNKNOWN_ATTRIBUTE",
                field=name,
            )
        kind = value.WhichOneof("attr")
        wanted = "ce_timestamp" if name in _TIMES else "ce_integer" if name == "depth" else "ce_string"
        if kind != wanted:
            raise BadEvent(f"attribute {name} must be a {wanted}, found {kind or 'nothing'}", code="BAD_ATTRIBUTE", field=name)
        if name in _TIMES:
            stamp = value.ce_timestamp
            if not 0 <= stamp.nanos < NANOS:
                raise BadEvent(f"{name} has {stamp.nanos} nanoseconds in its second", code="OUT_OF_RANGE", field=name)
            found[_TIMES[name]] = stamp.seconds * NANOS + stamp.nanos
        else:
            found[_TEXTS.get(name, name)] = getattr(value, wanted)
    return found


def _payload(name: str, raw: bytes) -> Message:
    try:
        message = message_class(name).FromString(raw)
    except DecodeError as error:
        raise BadEvent(f"not a valid {name}: {error}", code="BAD_UTF8" if "UTF-8" in str(error) else None, type=name) from error
    if len(UnknownFieldSet(message)):
        raise BadEvent(
            f"the payload has fields that {name} does not have: it is another type, or a newer version than this release knows",
            code="TYPE_MISMATCH",
            type=name,
        )
    return message
