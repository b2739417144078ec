"""The CloudEvent around a payload, written and read by hand: the library's classes for it cost a game several times the payload's own.

What is written here is byte for byte what the library writes. What is read here is what the bus's publishers write; of anything else `read`
says that it does not know it, and the library reads that.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

ID, SOURCE, SPEC_VERSION, TYPE, ATTRIBUTE, PROTO_DATA = b"\x0a", b"\x12", b"\x1a", b"\x22", b"\x2a", b"\x42"
KEY, VALUE = b"\x0a", b"\x12"  # of an entry of the attributes; of an Any: its address and what it holds
STRING, TIMESTAMP = b"\x1a", b"\x3a"  # kinds of attributes
SECONDS, NANOS = b"\x08", b"\x10"
LAST_SECOND: Final = 253_402_300_799  # of the year 9999
URL: Final = "type.googleapis.com/"
TAGS: Final = {tag[0] for tag in (ID, SOURCE, SPEC_VERSION, TYPE, PROTO_DATA)}


class Envelope(NamedTuple):
    """The parts of an envelope that a reader of the bus asks for."""

    id: str
    type: str
    cause: str
    payload: bytes | None
    """None for an envelope that holds something else."""


def varint(number: int) -> bytes:
    """A number of 0 or more."""
    if number < 0x80:
        return bytes((number,))
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(tag: bytes, value: bytes) -> bytes:
    """One field of text, bytes or a message."""
    return tag + varint(len(value)) + value


def text_attribute(name: str, value: str) -> bytes:
    """One attribute with a text."""
    return field(ATTRIBUTE, field(KEY, name.encode()) + field(VALUE, field(STRING, value.encode())))


@lru_cache(maxsize=1024)
def _head(subsystem: str, full_name: str) -> bytes:
    return field(SOURCE, f"/worldbus/{subsystem}".encode()) + field(SPEC_VERSION, b"1.0") + field(TYPE, full_name.encode())


@lru_cache(maxsize=4096)
def _about(entity: str, world: str) -> bytes:
    return text_attribute("subject", entity) + text_attribute("world", world)


@lru_cache(maxsize=1024)
def _url(full_name: str) -> bytes:
    return field(KEY, (URL + full_name).encode())


def write(
    *, id: str, subsystem: str, full_name: str, world: str, entity: str, time_us: int, cause: str, correlation: str, payload: bytes
) -> bytes:
    """The envelope. `time_us`: microseconds since 1970, up to the year 9999; an empty `cause` or `correlation` is left out."""
    seconds, micros = divmod(time_us, 1_000_000)
    moment = (SECONDS + varint(seconds) if seconds else b"") + (NANOS + varint(micros * 1000) if micros else b"")
    parts = [
        field(ID, id.encode()),
        _head(subsystem, full_name),
        _about(entity, world),
        field(ATTRIBUTE, b"\x0a\x04time" + field(VALUE, field(TIMESTAMP, moment))),
    ]
    if cause:
        parts.append(text_attribute("causationid", cause))
    if correlation:
        parts.append(text_attribute("correlationid", correlation))
    held = _url(full_name) + field(VALUE, payload) if payload else _url(full_name)
    parts.append(field(PROTO_DATA, held))
    return b"".join(parts)


def read(raw: bytes) -> Envelope | None:
    """Read an envelope; None for bytes of another make than `write`'s, whole or not: let the library read them."""
    known: dict[int, bytes] = {}
    cause = b""
    for tag, value in _fields(raw):
        if tag == ATTRIBUTE[0]:
            entry = _fields(value)
            if [part for part, _ in entry] != [KEY[0], VALUE[0]]:
                return None
            if entry[0][1] == b"causationid":
                kinds = _fields(entry[1][1])
                if cause or len(kinds) != 1 or kinds[0][0] != STRING[0]:
                    return None
                cause = kinds[0][1]
        elif tag in known:
            return None
        else:
            known[tag] = value
    if known.keys() != TAGS:
        return None
    held = dict(_fields(known[PROTO_DATA[0]]))
    if not held.keys() <= {KEY[0], VALUE[0]} or KEY[0] not in held:
        return None
    try:
        return Envelope(known[ID[0]].decode(), known[TYPE[0]].decode(), cause.decode(), held.get(VALUE[0], b""))
    except UnicodeDecodeError:
        return None


def _fields(raw: bytes) -> list[tuple[int, bytes]]:
    """(tag, value) of each field; tag -1 for the rest from where it is not text, bytes or a message with a number below 16."""
    found: list[tuple[int, bytes]] = []
    place, end = 0, len(raw)
    while place < end:
        tag = raw[place]
        place += 1
        length = shift = 0
        more = 0x80
        while more and place < end and shift < 28:
            more = raw[place] & 0x80
            length |= (raw[place] & 0x7F) << shift
            place += 1
            shift += 7
        if more or tag & 0x87 != 2 or place + length > end:
            return [*found, (-1, b"")]
        found.append((tag, raw[place : place + length]))
        place += length
    return found
