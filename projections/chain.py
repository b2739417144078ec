"""The archive's hash chain and its rows: what is kept of every event, readable or not."""

from __future__ import annotations

from hashlib import sha256
from struct import Struct
from typing import Any

from bus.envelope import NANOS
from bus.errors import BadEvent
from bus.event import Event
from bus.subjects import ROOT, Subject
from projections.columns import FIRST_S, LAST_S, clean

START = bytes(32)
COLUMNS = (
    *("position", "recorded_at", "time", "partition", "depth", "world", "subsystem", "entity", "name"),
    *("type", "event_id", "cause", "correlation", "odd_subject", "raw", "chain"),
)
HEADED = (*COLUMNS, "header")
"""The columns of an event that lies partly in its headers."""
_head = Struct(">QI").pack
_size = Struct(">I").pack
_MARKED = 1 << 31  # beside the length of a subject: a header comes before raw


def stored_subject(partition: int, subject: Subject) -> str:
    """The subject under which the stream holds an event."""
    return f"{ROOT}.{partition}.{subject.world}.{subject.subsystem}.{subject.entity}.{subject.name}"


def link(chain: bytes, position: int, subject: bytes, raw: bytes, header: bytes | None = None) -> bytes:
    """The chain at `position`, given the one before it. Lengths take part, so no byte can move from one field to the next unnoticed."""
    if header is None:
        return sha256(b"".join((chain, _head(position, len(subject)), subject, raw))).digest()
    head = _head(position, len(subject) | _MARKED)
    return sha256(b"".join((chain, head, subject, _size(len(header)), header, raw))).digest()


def link_event(chain: bytes, event: Event) -> bytes:
    """`link` for one event of the log."""
    return link(chain, event.position, stored_subject(event.partition, event.subject).encode(), event.raw, event.header)


def record(event: Event, chain: bytes) -> tuple[Any, ...]:
    """The archive's row of an event, in the order of COLUMNS; of an envelope that cannot be read its columns are None.

    Times are microseconds since 1970.
    """
    subject = event.subject
    partition = event.partition
    world, subsystem, entity, name = subject
    odd = None
    if "\0" in f"{world}{subsystem}{entity}{name}":
        odd = stored_subject(partition, subject).encode()
        world, subsystem, entity, name = map(clean, subject)
    try:
        time, depth, type_name, event_id, cause, correlation = _described(event)
    except BadEvent:
        time = depth = type_name = event_id = cause = correlation = None
    return (
        *(event.position, event.recorded_ns // 1000, time, partition, depth, world, subsystem, entity, name),
        *(type_name, event_id, cause, correlation, odd, event.raw, chain),
    )


def _described(event: Event) -> tuple[Any, ...]:
    """The columns that the envelope holds: like the properties of `Event`, in one pass, because every event goes through here."""
    envelope = event.envelope
    attributes = envelope.attributes
    time = _micros(attributes["time"]) if "time" in attributes else None
    depth = attributes["depth"].ce_integer if "depth" in attributes else 0
    cause = attributes["causationid"].ce_string if "causationid" in attributes else ""
    correlation = attributes["correlationid"].ce_string if "correlationid" in attributes else ""
    said = (envelope.type, envelope.id, cause or None, correlation or envelope.id)
    if "\0" in f"{said[0]}{said[1]}{cause}{correlation}":
        said = (clean(said[0]), clean(said[1]), clean(cause) or None, clean(said[3]))
    return time, max(depth, 0), *said


def _micros(attribute: Any) -> int | None:
    """None for what is no moment, and for what Postgres has no date for. 1970 is a moment."""
    stamp = attribute.ce_timestamp
    seconds, nanos = stamp.seconds, stamp.nanos
    if not FIRST_S <= seconds < LAST_S or not 0 <= nanos < NANOS:
        return None
    return seconds * 1_000_000 + nanos // 1000 if seconds or nanos or attribute.HasField("ce_timestamp") else None
