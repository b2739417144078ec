"""The archive's hash chain and its rows: what is kept of every event, readable or not."""

from __future__ import annotations

from hashlib import sha256
from struct import Struct
from typing import Any

from bus.errors import BadEvent
from bus.event import Event
from bus.subjects import ROOT, Subject
from projections.columns import FIRST_NS, LAST_NS, clean

START = bytes(32)
COLUMNS = (
    *("position", "recorded_at", "time", "partition", "depth", "world", "subsystem", "entity", "name"),
    *("type", "event_id", "cause", "correlation", "odd_subject", "raw", "chain"),
)
_head = Struct(">QI").pack
INT4 = 2**31


def stored_subject(partition: int, subject: Subject) -> str:
    """The subject under which the stream holds an event."""
    return f"{ROOT}.{partition}.{subject.world}.{subject.subsystem}.{subject.entity}.{subject.name}"


def link(chain: bytes, position: int, subject: bytes, raw: bytes) -> bytes:
    """The chain at `position`, given the one before it. Lengths take part, so no byte can move from one field to the next unnoticed."""
    return sha256(b"".join((chain, _head(position, len(subject)), subject, raw))).digest()


def link_event(chain: bytes, event: Event) -> bytes:
    """`link` for one event of the log."""
    return link(chain, event.position, stored_subject(event.partition, event.subject).encode(), event.raw)


def record(event: Event, chain: bytes) -> tuple[tuple[Any, ...], BadEvent | None]:
    """The archive's row of an event, in the order of COLUMNS, and why its envelope could not be read, if so.

    Times are microseconds since 1970.
    """
    subject = event.subject
    readable = clean("\n".join(subject)).split("\n") if "\0" in "".join(subject) else subject
    odd = None if readable is subject else stored_subject(event.partition, subject).encode()
    problem: BadEvent | None = None
    meta: tuple[Any, ...]
    try:
        depth = event.depth
        meta = (_micros(event.time_ns), event.partition, depth if 0 <= depth < INT4 else 0, *readable,
                clean(event.type), clean(event.id), clean(event.cause) or None, clean(event.correlation))  # fmt: skip
    except BadEvent as error:
        meta = (None, event.partition, None, *readable, None, None, None, None)
        problem = error
    return (event.position, event.recorded_ns // 1000, *meta, odd, event.raw, chain), problem


def _micros(ns: int) -> int | None:
    return ns // 1000 if ns and FIRST_NS <= ns < LAST_NS else None
