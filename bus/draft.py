"""An event as somebody wants to say it (`Draft`), and its ids."""

from __future__ import annotations

import os
import time
from hashlib import blake2b
from itertools import count

import msgspec
from google.protobuf.message import EncodeError, Message

from bus.attributes import SOURCE, Extensions, check_further
from bus.envelope import encode, further
from bus.errors import BadEvent
from bus.subjects import Subject

EDGE = "game"
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]


class _Ids:
    """Fresh ids of this process. Within a millisecond they count on from a random start, so they are cheap and stay in order."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew: a forked process must not go on with its parent's."""
        self._head = (-1, "")
        self._count = count(int.from_bytes(os.urandom(2), "big"))

    def next(self, now_ns: int) -> str:
        millis = now_ns // 1_000_000
        last, head = self._head
        if millis != last:
            number = (millis << 60) | (int.from_bytes(os.urandom(8), "big") >> 4)
            head = "".join([_PAIRS[(number >> shift) & 1023] for shift in range(100, -1, -10)])
            self._head = (millis, head)
        low = next(self._count)
        return head + _PAIRS[(low >> 10) & 1023] + _PAIRS[low & 1023]


_ids = _Ids()
os.register_at_fork(after_in_child=_ids.forget)


def new_id(now_ns: int | None = None) -> str:
    """A fresh id: 10 characters of milliseconds, 12 of randomness, 4 of a count, so ids sort by time (the ULID layout, lower case)."""
    return _ids.next(time.time_ns() if now_ns is None else now_ns)


def output_id(cause: str, handler: str, entity: str, index: int) -> str:
    """The id of a handler's output: the same decision always gives the same id."""
    return blake2b(f"{cause}\n{handler}\n{entity}\n{index}".encode(), digest_size=16).hexdigest()


class Now(int):
    """A moment of our own clock, taken because nobody gave one: no part of what makes two events the same."""

    __slots__ = ()


def now() -> Now:
    """The present moment, marked as ours."""
    return Now(time.time_ns())


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """An event to be published. `time_ns` is nanoseconds since 1970; `subsystem` is who says it.

    Publishing the same `id` twice records it once; without an id of your own a retry after a crash is a new event. A `time_ns` that is left
    out is taken from our clock and is no part of the event's content: the same id again with a later clock is the same event.
    """

    data: Message
    world: str
    entity: str
    subsystem: str = EDGE
    id: str = msgspec.field(default_factory=new_id)
    time_ns: int = msgspec.field(default_factory=now)
    cause: str = ""
    correlation: str = ""
    lane: str = ""
    depth: int = 0
    deadline_ns: int = 0
    traceparent: str = ""
    tracestate: str = ""
    producer_version: str = ""
    origin: str = ""
    """The `source` as its producer wrote it, where that is not /worldbus/<subsystem>."""
    extensions: Extensions = ()
    """Attributes of other producers: (name, value), in the order of their names."""

    @property
    def subject(self) -> Subject:
        """The subject under which it will be published."""
        return Subject(self.world, self.subsystem, self.entity, self.data.DESCRIPTOR.name)

    @property
    def timeless(self) -> bool:
        """Return whether its time was taken from our clock."""
        return type(self.time_ns) is Now

    def encode(self, payload: bytes | None = None) -> bytes:
        """The envelope bytes, around a `payload` that is encoded already if there is one. Raises `BadEvent` when it cannot be encoded."""
        if payload is None:
            payload = self._payload()
        rare = self.extensions or self.origin or self.tracestate
        return encode(
            id=self.id,
            source=SOURCE + self.subsystem,
            type_name=self.data.DESCRIPTOR.full_name,
            world=self.world,
            entity=self.entity,
            time_ns=self.time_ns,
            data=payload,
            cause=self.cause,
            correlation=self.correlation,
            lane=self.lane,
            depth=self.depth,
            deadline_ns=self.deadline_ns,
            traceparent=self.traceparent,
            producer_version=self.producer_version,
            more=self._further() if rare else b"",
        )

    def _payload(self) -> bytes:
        try:
            return self.data.SerializeToString(deterministic=True)
        except (EncodeError, UnicodeEncodeError) as error:
            raise BadEvent(f"{self.data.DESCRIPTOR.full_name} cannot be encoded: {error}", code="BAD_UTF8") from error

    def _further(self) -> bytes:
        check_further(self.tracestate, self.origin, self.extensions)
        return further(self.tracestate, self.origin, self.extensions)
