"""The envelope: one CloudEvents 1.0 protobuf message per event, written and read without headers.

The bytes are an `io.cloudevents.v1.CloudEvent`: CloudEvents' protobuf format in structured mode. Encoding writes the fields by hand in a
fixed order: an event built twice has the same bytes, and protobuf's own map encoding would cost ten times as much. A test holds
the result equal to what protobuf itself parses.
"""

from __future__ import annotations

from functools import lru_cache

from google.protobuf.message import DecodeError

from bus.attributes import URIS, Extensions, Value
from bus.errors import BadEvent, TooLarge
from schemas.gen.io.cloudevents.v1.cloudevents_pb2 import CloudEvent

SPEC_VERSION = "1.0"
TYPE_URL = "type.googleapis.com/"
MAX_EVENT = 262_144  # bytes, envelope included
NANOS = 1_000_000_000


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append((value & 0x7F) | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


_SHORT = [bytes((length,)) for length in range(128)]


def _length(size: int) -> bytes:
    return _SHORT[size] if size < 128 else _varint(size)


def _field(tag: bytes, value: bytes) -> bytes:
    return tag + _length(len(value)) + value


def _entry(name: str, value: bytes) -> bytes:
    """One entry of the attribute map: field 5, {key = 1, value = 2}."""
    body = _field(b"\x0a", name.encode()) + _field(b"\x12", value)
    return b"\x2a" + _length(len(body)) + body


def _prefix(name: str) -> bytes:
    return _field(b"\x0a", name.encode()) + b"\x12"


_TEXT = {name: _prefix(name) for name in ("subject", "world", "causationid", "correlationid", "lane", "traceparent", "producerversion")}
_TIME = {name: _prefix(name) for name in ("time", "deadline")}


def _text(name: str, value: str) -> bytes:
    raw = value.encode()
    size = len(raw)
    if size < 100:  # every length fits one byte: key (at most 17) + value + 4
        prefix = _TEXT[name]
        inner = size + 2
        return b"\x2a" + _SHORT[len(prefix) + 1 + inner] + prefix + _SHORT[inner] + b"\x1a" + _SHORT[size] + raw
    return _entry(name, _field(b"\x1a", raw))


@lru_cache(maxsize=4096)
def _stamp_head(name: str, seconds: int, size: int) -> bytes:
    """Encode a timestamp entry up to its `size` bytes of nanoseconds; many events share a second."""
    stamp = (b"\x08" + _varint(seconds & 0xFFFFFFFFFFFFFFFF) if seconds else b"") + (b"\x10" if size else b"")
    value = b"\x3a" + _SHORT[len(stamp) + size] + stamp
    prefix = _TIME[name]
    return b"\x2a" + _SHORT[len(prefix) + 1 + len(value) + size] + prefix + _SHORT[len(value) + size] + value


def _timestamp(name: str, ns: int) -> bytes:
    seconds, nanos = divmod(ns, NANOS)
    if nanos >= 1 << 28:  # three in four
        return _stamp_head(name, seconds, 5) + bytes(
            (nanos & 127 | 128, nanos >> 7 & 127 | 128, nanos >> 14 & 127 | 128, nanos >> 21 & 127 | 128, nanos >> 28)
        )
    tail = _varint(nanos) if nanos else b""
    return _stamp_head(name, seconds, len(tail)) + tail


@lru_cache(maxsize=4096)
def _head(source: str, type_name: str) -> bytes:
    return _field(b"\x12", source.encode()) + _field(b"\x1a", SPEC_VERSION.encode()) + _field(b"\x22", type_name.encode())


@lru_cache(maxsize=4096)
def _any_url(type_name: str) -> bytes:
    return _field(b"\x0a", (TYPE_URL + type_name).encode())


@lru_cache(maxsize=16384)
def _place(world: str, entity: str) -> bytes:
    return _text("subject", entity) + _text("world", world)


def encode(
    *,
    id: str,
    source: str,
    type_name: str,
    world: str,
    entity: str,
    time_ns: int,
    data: bytes,
    cause: str = "",
    correlation: str = "",
    lane: str = "",
    depth: int = 0,
    deadline_ns: int = 0,
    traceparent: str = "",
    producer_version: str = "",
    more: bytes = b"",
) -> bytes:
    """The bytes of one event. Equal arguments give equal bytes. `more` is what `further` gives."""
    parts = [_field(b"\x0a", id.encode()), _head(source, type_name), _place(world, entity), _timestamp("time", time_ns)]
    if cause:
        parts.append(_text("causationid", cause))
    if correlation:
        parts.append(_text("correlationid", correlation))
    if lane:
        parts.append(_text("lane", lane))
    if depth:
        parts.append(_entry("depth", b"\x10" + _varint(depth)))
    if deadline_ns:
        parts.append(_timestamp("deadline", deadline_ns))
    if traceparent:
        parts.append(_text("traceparent", traceparent))
    if producer_version:
        parts.append(_text("producerversion", producer_version))
    if more:
        parts.append(more)
    body = _any_url(type_name) + (_field(b"\x12", data) if data else b"")
    parts.append(b"\x42" + _length(len(body)) + body)
    whole = b"".join(parts)
    if len(whole) > MAX_EVENT:
        raise TooLarge(
            f"event {type_name} of {len(whole)} bytes, wanted at most {MAX_EVENT}: send a reference instead",
            limit=MAX_EVENT,
            found=len(whole),
        )
    return whole


def further(tracestate: str, origin: str, extensions: Extensions) -> bytes:
    """The attributes that few events have."""
    parts = [_entry(name, _field(b"\x1a", value.encode())) for name, value in (("tracestate", tracestate), ("origin", origin)) if value]
    parts += [_entry(name, _extension(name, value)) for name, value in extensions]
    return b"".join(parts)


def _extension(name: str, value: Value) -> bytes:
    if isinstance(value, bool):
        return b"\x08\x01" if value else b"\x08\x00"
    if isinstance(value, int):
        return b"\x10" + _varint(value & 0xFFFFFFFFFFFFFFFF)
    return _field(b"\x2a" if name in URIS else b"\x1a", value.encode())


def decode(raw: bytes, *, any_data: bool = False) -> CloudEvent:
    """Parse the envelope and hold it to the rules that protobuf itself does not check.

    Raises `BadEvent` for bytes that are no CloudEvent, an empty body, a missing id or type, or a type that differs from the payload's own.
    With `any_data` the payload may be bytes or text instead of a message.
    """
    if not raw:
        raise BadEvent("wanted a CloudEvent, found an empty body: an event needs at least id, type and data")
    try:
        event = CloudEvent.FromString(raw)
    except DecodeError as error:
        raise BadEvent(
            f"wanted a CloudEvent in protobuf format, found {len(raw)} bytes that are none ({error})",
            code="BAD_UTF8" if "UTF-8" in str(error) else None,
        ) from error
    type_name = event.type
    if not type_name or not event.id:
        raise BadEvent(f"a CloudEvent needs id and type, found id={event.id!r} type={type_name!r}", code="MISSING_ATTRIBUTE")
    kind = event.WhichOneof("data")
    if kind != "proto_data":
        if any_data and kind is not None:
            return event
        raise BadEvent(f"event {event.id} carries no protobuf payload: wanted proto_data with a {type_name}", code="MISSING_DATA")
    url = event.proto_data.type_url
    if url.rpartition("/")[2] != type_name:
        raise BadEvent(f"envelope says {type_name}, payload says {url}: they must agree", code="TYPE_MISMATCH")
    return event
