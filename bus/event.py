"""An event as the log holds it (`Event`), and as somebody wants to say it (`Draft`)."""

from __future__ import annotations

import os
import time
from hashlib import blake2b
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from google.protobuf.message import DecodeError, EncodeError, Message

from bus.envelope import NANOS, decode, encode
from bus.errors import BadEvent, UnknownType
from bus.subjects import Subject, place
from schemas.registry import message_class
from schemas.upcast import read_as, upcast

if TYPE_CHECKING:
    from schemas.gen.io.cloudevents.v1.cloudevents_pb2 import CloudEvent

EDGE = "game"
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


class LaneMark(NamedTuple):
    """Which input an output answers: its partition and position, and that this is output `step` of `steps` (from 0)."""

    partition: int
    position: int
    step: int
    steps: int

    @classmethod
    def parse(cls, text: str) -> LaneMark:
        """Read the `lane` attribute; raises `BadEvent`."""
        try:
            mark = cls(*map(int, text.split(":")))
        except (TypeError, ValueError) as error:
            raise BadEvent(f"lane attribute must be partition:position:step:steps, found {text!r}", code="BAD_ATTRIBUTE") from error
        if min(mark) < 0 or mark.step >= mark.steps:
            raise BadEvent(f"lane attribute out of range: {text!r}", code="BAD_ATTRIBUTE")
        return mark

    def __str__(self) -> str:
        return f"{self.partition}:{self.position}:{self.step}:{self.steps}"


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


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """An event to be published. `time_ns` is nanoseconds since 1970; `subsystem` is who says it.

    Publishing the same `id` twice records it once; without an id of your own a retry after a crash is a new event.
    """

    data: Message
    world: str
    entity: str
    subsystem: str = EDGE
    id: str = msgspec.field(default_factory=new_id)
    time_ns: int = msgspec.field(default_factory=time.time_ns)
    cause: str = ""
    correlation: str = ""
    lane: str = ""
    depth: int = 0
    deadline_ns: int = 0
    traceparent: str = ""
    producer_version: str = ""

    @property
    def subject(self) -> Subject:
        """Where it will be published."""
        return Subject(self.world, self.subsystem, self.entity, self.data.DESCRIPTOR.name)

    def encode(self) -> bytes:
        """The envelope bytes; raises `BadEvent` when the payload cannot be encoded."""
        try:
            data = self.data.SerializeToString(deterministic=True)
        except (EncodeError, UnicodeEncodeError) as error:
            raise BadEvent(f"{self.data.DESCRIPTOR.full_name} cannot be encoded: {error}", code="BAD_UTF8") from error
        return encode(
            id=self.id,
            source=f"/worldbus/{self.subsystem}",
            type_name=self.data.DESCRIPTOR.full_name,
            world=self.world,
            entity=self.entity,
            time_ns=self.time_ns,
            data=data,
            cause=self.cause,
            correlation=self.correlation,
            lane=self.lane,
            depth=self.depth,
            deadline_ns=self.deadline_ns,
            traceparent=self.traceparent,
            producer_version=self.producer_version,
        )


class Event:
    """One event in the log. Immutable; the envelope and the payload are parsed when first looked at.

    Looking at a damaged envelope or payload raises `BadEvent`; `subject`, `partition`, `position`, `recorded_ns` and `raw` always work.
    """

    __slots__ = ("_data", "_envelope", "partition", "position", "raw", "recorded_ns", "subject")

    def __init__(
        self, *, raw: bytes, subject: Subject, partition: int, position: int, recorded_ns: int = 0, data: Message | None = None
    ) -> None:
        self.raw = raw
        self.subject = subject
        self.partition = partition
        self.position = position
        self.recorded_ns = recorded_ns
        self._data = data
        self._envelope: CloudEvent | None = None

    @classmethod
    def stored(cls, raw: bytes, subject: str, position: int, recorded_ns: int = 0) -> Event:
        """From what the stream holds: the stored subject carries the partition."""
        partition, tokens = place(subject.encode())
        return cls(raw=raw, subject=tokens, partition=partition, position=position, recorded_ns=recorded_ns)

    def __repr__(self) -> str:
        return f"<Event {self.position} {'.'.join(self.subject)}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Event) and (self.position, self.subject, self.raw) == (other.position, other.subject, other.raw)

    def __hash__(self) -> int:
        return hash((self.position, self.raw))

    @property
    def envelope(self) -> CloudEvent:
        """The parsed CloudEvent."""
        if self._envelope is None:
            envelope = decode(self.raw)
            if envelope.type.rpartition(".")[2] != self.subject.name:
                raise BadEvent(f"subject says {self.subject.name}, envelope says {envelope.type}: they must agree", code="TYPE_MISMATCH")
            self._envelope = envelope
        return self._envelope

    @property
    def data(self) -> Message:
        """The payload, upcast to today's version of its type. Do not change it: it is shared."""
        if self._data is None:
            envelope = self.envelope
            self._data = _payload(envelope.type, envelope.proto_data.value)
        return self._data

    @property
    def id(self) -> str:
        return self.envelope.id

    @property
    def type(self) -> str:
        return self.envelope.type

    @property
    def world(self) -> str:
        return self.subject.world

    @property
    def subsystem(self) -> str:
        return self.subject.subsystem

    @property
    def entity(self) -> str:
        return self.subject.entity

    @property
    def name(self) -> str:
        return self.subject.name

    @property
    def kind(self) -> str:
        """The simple name of the type that it is read as: `name`, unless the type was renamed since it was recorded."""
        return read_as(self.subject.name)

    @property
    def time_ns(self) -> int:
        """When it happened, by its publisher (0 if not said). Data, never an order: order is `position`."""
        return self._moment("time")

    @property
    def deadline_ns(self) -> int:
        """When an answer stops being useful (0: never)."""
        return self._moment("deadline")

    @property
    def cause(self) -> str:
        """The id of the event that led to this one, or an empty string."""
        return self._text("causationid")

    @property
    def correlation(self) -> str:
        """The id of the root event of the chain; a root's own id."""
        return self._text("correlationid") or self.id

    @property
    def depth(self) -> int:
        """Hops from the root event."""
        value = self.envelope.attributes.get("depth")
        return 0 if value is None else value.ce_integer

    @property
    def traceparent(self) -> str:
        return self._text("traceparent")

    @property
    def producer_version(self) -> str:
        """The release that decided this, `<handler>/<version>+<rules>`; nothing for what came from outside."""
        return self._text("producerversion")

    @property
    def lane(self) -> LaneMark | None:
        """Which input this output answers; None for events that came from outside."""
        text = self._text("lane")
        return LaneMark.parse(text) if text else None

    def _text(self, name: str) -> str:
        value = self.envelope.attributes.get(name)
        return "" if value is None else value.ce_string

    def _moment(self, name: str) -> int:
        value = self.envelope.attributes.get(name)
        if value is None:
            return 0
        stamp = value.ce_timestamp
        return stamp.seconds * NANOS + stamp.nanos


def _payload(type_name: str, raw: bytes) -> Message:
    try:
        message = message_class(type_name).FromString(raw)
    except KeyError as error:
        raise UnknownType(str(error.args[0] if error.args else error), type=type_name) from error
    except DecodeError as error:
        raise BadEvent(f"not a valid {type_name}: {error}", type=type_name) from error
    return upcast(type_name, message)
