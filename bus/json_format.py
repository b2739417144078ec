"""Events as JSON: `application/cloudevents+json` with the payload in protobuf's JSON mapping.

Accepted on the way in (and stored as protobuf by every gate), written on the way out for people and tools. JSON forgives much that an event
log must not, so reading is strict. Each refusal is a `BadEvent` with a stable code and the path of the offender.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode
from typing import TYPE_CHECKING, Any, Final

from google.protobuf import json_format
from google.protobuf.message import Message

from bus.attributes import CORE, LOGGED, OURS, SOURCE, TEXTS, TIMES, Extensions, check_further, check_name, check_origin
from bus.check import check_attributes, check_id, check_payload, check_type
from bus.draft import EDGE, Draft
from bus.errors import BadEvent
from bus.json_payload import payload_from_json
from bus.json_text import MAX_JSON, SHOWN, bad, parse
from bus.moments import format_time, parse_time
from bus.payload import media, payload_from_bytes
from bus.subjects import check_token

if TYPE_CHECKING:
    from bus.event import Event

__all__ = [
    "MAX_JSON",
    "format_time",
    "from_document",
    "from_json",
    "from_parts",
    "parse",
    "parse_time",
    "payload_from_json",
    "to_dict",
    "to_json",
]

BASE64: Final = "data_base64"
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_KNOWN: Final = OURS | CORE | LOGGED | {BASE64}


def from_json(raw: bytes | str) -> Draft:
    """The draft that a CloudEvents JSON document describes. `id` and `time` may be left out: they are then new and now.

    Raises `BadEvent`, `UnknownType`, `TooLarge` or `BadSubject`.
    """
    return from_document(parse(raw))


def from_document(document: Any, *, subsystem: str = EDGE) -> Draft:
    """Make a draft like `from_json`, of a parsed document, one of a batch for instance. `subsystem` emits it, unless its source is ours."""
    if isinstance(document, list):
        bad(
            "BAD_PAYLOAD",
            "$",
            "wanted one CloudEvent, found an array: a batch is taken by the gateway alone, publish its events one by one",
        )
    if not isinstance(document, dict):
        bad("BAD_PAYLOAD", "$", f"wanted a JSON object, found {type(document).__name__}")
    return from_parts(without_nulls(document), subsystem=subsystem)


def from_parts(given: dict[str, Any], body: bytes | None = None, *, subsystem: str = EDGE) -> Draft:
    """The draft that attributes as JSON says them describe; `body` is its data under the `datacontenttype`, unless that is among them."""
    _check_version(given)
    name = check_type(_text(given, "type", required=True))
    data = data_of(given, name) if body is None else payload_from_bytes(name, body, media(_text(given, "datacontenttype")))
    draft = draft_of(given, data, subsystem)
    check_payload(draft.data, draft.data.SerializeToString())
    return draft


def without_nulls(document: dict[str, Any]) -> dict[str, Any]:
    """The members that say something: null is the format's other way of leaving one out. Raises `BadEvent` for a bad name."""
    for name in document:
        if name not in _KNOWN:
            check_name(name)
    return {name: value for name, value in document.items() if value is not None} if None in document.values() else document


def draft_of(given: dict[str, Any], data: Message, subsystem: str) -> Draft:
    """The draft around a payload, from attributes as JSON says them. Raises `BadEvent` or `BadSubject`."""
    extensions = _extensions(given)
    speaker, origin = _source(given, subsystem)
    fields: dict[str, Any] = {field: _text(given, name) for name, field in TEXTS.items() if name in given}
    if "id" in given:
        fields["id"] = check_id(_text(given, "id"))
    if "depth" in given:
        fields["depth"] = _whole(given, "depth")
    if "time" in given:
        fields["time_ns"] = parse_time(_text(given, "time"), "time")
    if "deadline" in given:
        fields["deadline_ns"] = parse_time(_text(given, "deadline"), "deadline")
    draft = Draft(
        data=data,
        world=check_token(_text(given, "world", required=True), "world"),
        entity=check_token(_text(given, "subject", required=True), "subject"),
        subsystem=speaker,
        **({"origin": origin, "extensions": extensions} | fields if origin or extensions else fields),
    )
    check_attributes(draft)
    check_further(draft.tracestate, draft.origin, draft.extensions)
    return draft


def data_of(given: dict[str, Any], name: str, *, strict: bool = True) -> Message:
    """The payload: `data` as an object, or `data_base64` as bytes of the `datacontenttype`."""
    content_type = given.get("datacontenttype", "")
    if not isinstance(content_type, str):
        bad("BAD_PAYLOAD", "datacontenttype", f"must be a media type, found {type(content_type).__name__}")
    kind = media(content_type)
    encoded = given.get(BASE64)
    if encoded is None:
        return payload_from_json(name, given.get("data", {}))
    if "data" in given:
        raise BadEvent("wanted data or data_base64, found both: which one counts?", code="BAD_PAYLOAD", field=BASE64)
    try:
        body = b64decode(encoded, validate=True)
    except (ValueError, TypeError) as error:
        raise BadEvent(f"data_base64 is no base64: {error}", code="BAD_PAYLOAD", field=BASE64) from error
    return payload_from_bytes(name, body, kind, strict=strict)


def _extensions(given: dict[str, Any]) -> Extensions:
    found = [name for name in given if name not in _KNOWN]
    if not found:
        return ()
    if "unreadable" in found:
        bad("BAD_ATTRIBUTE", "unreadable", "is what a reader says of an event that cannot be shown: it cannot be published again")
    return tuple((name, given[name]) for name in sorted(found))


def _check_version(document: dict[str, Any]) -> None:
    version = document.get("specversion", "1.0")
    if version != "1.0":
        bad("UNSUPPORTED_VERSION", "specversion", f"must be '1.0', found {ascii(version)[:SHOWN]}")


def _text(document: dict[str, Any], name: str, *, required: bool = False) -> str:
    value = document.get(name, "")
    if value == "" and not required:
        return ""
    if not isinstance(value, str):
        bad("BAD_PAYLOAD", name, f"must be a string, found {type(value).__name__}")
    if required and not value:
        bad("UNKNOWN_TYPE" if name == "type" else "MISSING_ATTRIBUTE", name, "is missing")
    if _CONTROL.search(value) is not None:
        bad("BAD_HEADER", name, f"must not contain control characters, found {ascii(value)[:SHOWN]}")
    return value


def _whole(document: dict[str, Any], name: str) -> int:
    value = document[name]
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 31:
        bad("OUT_OF_RANGE", name, f"must be a whole number from 0 to {(1 << 31) - 1}, found {ascii(value)[:SHOWN]}")
    return value


def _source(document: dict[str, Any], subsystem: str) -> tuple[str, str]:
    """(who says it, its source as it was written if that is not ours): `/worldbus/<subsystem>` names a subsystem, nothing else does."""
    source = _text(document, "source")
    if not source:
        return check_token(subsystem, "subsystem"), ""
    head, slash, rest = source.removeprefix(SOURCE).partition("/")
    if not source.startswith(SOURCE):
        return check_token(subsystem, "subsystem"), check_origin(source, "source")
    return check_token(head, "source"), check_origin(source, "source") if slash or rest else ""


def to_dict(event: Event) -> dict[str, Any]:
    """One event as a CloudEvents document, `data` in protobuf's JSON mapping, in today's version of its type (proto field names).

    The log's own facts are extension attributes: `position`, `partition`, `recorded`. Raises `BadEvent` for a damaged event, and whatever
    protobuf raises for a payload that JSON cannot say: `bus.showing` shows any event.
    """
    data = event.data
    document: dict[str, Any] = attributes_of(event, data.DESCRIPTOR.full_name)
    document["datacontenttype"] = "application/json"
    document["data"] = json_format.MessageToDict(data, preserving_proto_field_name=True)
    return document


def attributes_of(event: Event, type_name: str) -> dict[str, Any]:
    """The members of the document, without the payload."""
    document: dict[str, Any] = {
        "specversion": "1.0",
        "id": event.id,
        "source": SOURCE + event.subsystem,
        "type": type_name,
        "subject": event.entity,
        "world": event.world,
    }
    for name in TIMES:
        moment = event.moment(name)
        if moment is not None:
            document[name] = format_time(moment)
    document |= {name: text for name in TEXTS if (text := event.text(name))}
    if event.depth:
        document["depth"] = event.depth
    document |= event.extensions
    document |= {"position": event.position, "partition": event.partition, "recorded": format_time(event.recorded_ns)}
    return document


def to_json(event: Event, *, indent: int | None = None) -> str:
    """`to_dict` as text, one line unless `indent` is given."""
    return json.dumps(to_dict(event), ensure_ascii=False, indent=indent)
