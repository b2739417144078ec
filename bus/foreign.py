"""Events in the log that are no plain protobuf CloudEvents: JSON, binary mode, and protobuf envelopes around other data.

Any NATS client may write them. Each is read as the protobuf event that a gate would have made of it, in the same way by every reader and
for ever: what it leaves out comes from its subject, its position and the time at which the log took it, and nothing else.
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf.message import DecodeError, Message

from bus import binary_mode
from bus.attributes import SOURCE
from bus.check import LAST_SECOND, check_payload, check_type
from bus.envelope import NANOS
from bus.errors import BadEvent, Rejected
from bus.json_format import data_of, draft_of, without_nulls
from bus.json_text import MAX_JSON, first, parse
from bus.moments import format_time, parse_time
from bus.payload import PROTOBUF, looks_like_json, media, payload_from_bytes
from bus.protobuf_format import given_of
from bus.subjects import Subject
from schemas.gen.io.cloudevents.v1.cloudevents_pb2 import CloudEvent
from schemas.registry import first_version

POSITION_ID: Final = "position-"
"""Begins the id of an event without one; its position follows."""

ACKNOWLEDGEMENT: Final = frozenset({"stream", "seq"})
TELLING: Final = frozenset({"specversion", "type"})
"""The server sends its answers wherever a publisher wants them, at subjects too that the publisher has no right to."""


def read(
    raw: bytes, block: bytes | None, subject: Subject, position: int, recorded_ns: int, error: BadEvent | None
) -> tuple[CloudEvent, Message]:
    """The event as a protobuf CloudEvent, and its payload.

    `block` is its header block, `error` what a reader of protobuf said of it. Raises `BadEvent`: that error, where it is of no other format
    either.
    """
    try:
        given, body = _parts(raw, block, error)
        name = _type(given, subject)
        message = data_of(given, name, strict=False) if body is None else payload_from_bytes(name, body, _kind(given), strict=False)
        _fill(given, block, subject, position, recorded_ns)
        draft = draft_of(given, message, subject.subsystem)
        data = body if body is not None and _kind(given, body) == PROTOBUF else message.SerializeToString(deterministic=True)
        check_payload(message, data)
        return CloudEvent.FromString(draft.encode(data)), message
    except BadEvent:
        raise
    except (Rejected, DecodeError) as other:  # a subject that names no entity, say
        raise BadEvent(str(other), code=getattr(other, "code", None)) from other


def mismatch(subject: Subject, type_name: str) -> BadEvent:
    """The error for an event whose subject names another type."""
    return BadEvent(f"subject says {subject.name}, envelope says {type_name}: they must agree", code="TYPE_MISMATCH")


def _parts(raw: bytes, block: bytes | None, error: BadEvent | None) -> tuple[dict[str, Any], bytes | None]:
    """Attributes as JSON says them, and the payload's bytes; None if it is among them."""
    headers = binary_mode.headers(block)
    if headers is not None:
        return binary_mode.attributes(headers), raw
    start = first(raw)
    if start == b"{":
        document = parse(raw, MAX_JSON)
        if not isinstance(document, dict):
            raise BadEvent(f"wanted a JSON object, found {type(document).__name__}", path="$")
        if document.keys() >= ACKNOWLEDGEMENT and not TELLING & document.keys():
            raise BadEvent(
                "wanted a CloudEvent, found the log's own answer to a publisher: whoever published asked for it at a subject of events"
            )
        return dict(without_nulls(document)), None
    if start == b"[":
        raise BadEvent("wanted one CloudEvent, found a JSON array: NATS has no batches, publish each event by itself") from error
    envelope = _envelope(raw)
    if envelope is not None and (kind := envelope.WhichOneof("data")) in ("binary_data", "text_data"):
        return given_of(envelope), envelope.binary_data if kind == "binary_data" else envelope.text_data.encode()
    if error is None:
        raise BadEvent(f"wanted a CloudEvent, found {len(raw)} bytes that are none")
    raise error


def _envelope(raw: bytes) -> CloudEvent | None:
    try:
        return CloudEvent.FromString(raw)
    except DecodeError:
        return None


def _kind(given: dict[str, Any], body: bytes | None = None) -> str:
    kind = media(str(given.get("datacontenttype", "")))
    return kind if kind or body is None or looks_like_json(body) else PROTOBUF


def _type(given: dict[str, Any], subject: Subject) -> str:
    """The full name of its type. A simple name, or none, is the first version of the type: that stays the same when others are added."""
    said = given.get("type", "") or subject.name
    if not isinstance(said, str):
        raise BadEvent(f"type: must be a string, found {type(said).__name__}", path="type")
    version = given.get("specversion", "1.0")
    if version != "1.0":
        raise BadEvent(f"specversion: must be '1.0', found {ascii(version)[:80]}", code="UNSUPPORTED_VERSION", path="specversion")
    name = check_type(said) if "." in said else first_version(said) or check_type(said)
    if name.rpartition(".")[2] != subject.name:
        raise mismatch(subject, name)
    return name


def _fill(given: dict[str, Any], block: bytes | None, subject: Subject, position: int, recorded_ns: int) -> None:
    """Say what it leaves out, and what its place in the log says anyway."""
    ours = SOURCE + subject.subsystem
    source = given.get("source", "")
    if source and source != ours:
        given["origin"] = source
    given |= {"source": ours, "world": subject.world, "subject": subject.entity}
    given.setdefault("id", f"{POSITION_ID}{position}")
    if "time" not in given:
        given["time"] = format_time(_recorded(block, recorded_ns))


def _recorded(block: bytes | None, recorded_ns: int) -> int:
    """The time at which the log first took it, to the microsecond: the archive knows it no better, and a restored log only from there."""
    written = binary_mode.recorded(block)
    moment = parse_time(written, binary_mode.RECORDED) if written else recorded_ns
    return moment // 1000 * 1000 if 0 <= moment <= LAST_SECOND * NANOS else 0
