"""An event as the log holds it, in whichever format its publisher wrote it."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any, NamedTuple

from google.protobuf.message import DecodeError, Message

from bus import binary_mode, foreign
from bus.attributes import NAME, SOURCE, TAKEN, Value
from bus.check import FIRST_SECOND, LAST_SECOND, check_type
from bus.draft import EDGE, Draft, new_id, output_id
from bus.envelope import NANOS, decode
from bus.errors import BadEvent, UnknownType
from bus.moments import format_time
from bus.subjects import Subject, place
from schemas.registry import message_class
from schemas.upcast import read_as, upcast

if TYPE_CHECKING:
    from schemas.gen.io.cloudevents.v1.cloudevents_pb2 import CloudEvent

__all__ = ["EDGE", "Draft", "Event", "LaneMark", "new_id", "output_id"]


class LaneMark(NamedTuple):
    """The input that an output answers, by partition and position; the output is number `step` of `steps` (from 0)."""

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


class Event:
    """One event in the log. Immutable; the envelope and the payload are parsed when first looked at.

    Its bytes may be a protobuf CloudEvent (what worldbus writes), a JSON one, or the data of one in binary mode; all are read as the same
    event. Looking at a damaged envelope or payload raises `BadEvent`, each time the same one; `subject`, `partition`, `position`,
    `recorded_ns`, `raw` and `header` always work.
    """

    __slots__ = ("_block", "_data", "_envelope", "_problem", "partition", "position", "raw", "recorded_ns", "subject")

    def __init__(
        self,
        *,
        raw: bytes,
        subject: Subject,
        partition: int,
        position: int,
        recorded_ns: int = 0,
        data: Message | None = None,
        header: bytes | None = None,
    ) -> None:
        """`header` is the block of header lines that came with it, or those of the archive."""
        self.raw = raw
        self.subject = subject
        self.partition = partition
        self.position = position
        self.recorded_ns = recorded_ns
        self._block = header
        self._data = data
        self._envelope: CloudEvent | None = None
        self._problem: BadEvent | None = None

    @classmethod
    def stored(cls, raw: bytes, subject: str, position: int, recorded_ns: int = 0, header: bytes | None = None) -> Event:
        """From what the stream holds: the stored subject carries the partition."""
        partition, tokens = place(subject.encode())
        return cls(raw=raw, subject=tokens, partition=partition, position=position, recorded_ns=recorded_ns, header=header)

    def __repr__(self) -> str:
        return f"<Event {self.position} {'.'.join(self.subject)}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Event) and (
            (self.position, self.subject, self.raw, self.header) == (other.position, other.subject, other.raw, other.header)
        )

    def __hash__(self) -> int:
        return hash((self.position, self.raw))

    @property
    def size(self) -> int:
        """Bytes that it holds in memory: its own, and the headers it came with until it has been read."""
        return len(self.raw) + (0 if self._block is None else len(self._block))

    @property
    def header(self) -> bytes | None:
        """The header lines that are part of the event, as they came: those of a CloudEvent that is not wholly in `raw`; else None."""
        return None if self._block is None else binary_mode.kept(self._block, self.raw)

    @property
    def envelope(self) -> CloudEvent:
        """The CloudEvent in protobuf's form, whatever form it came in. What a JSON event leaves out is filled in."""
        if self._envelope is not None:
            return self._envelope
        if self._problem is not None:
            raise self._problem.with_traceback(None)
        raw = self.raw
        try:
            # `{` is never the first byte of a protobuf CloudEvent: its fields are 1 to 8, and this would begin a group in field 15.
            if raw[:1] == b"{":
                return self._foreign(None)
            try:
                envelope = decode(raw)
            except BadEvent as error:
                return self._foreign(error)
            if envelope.type.rpartition(".")[2] != self.subject.name:
                raise foreign.mismatch(self.subject, envelope.type)
        except BadEvent as error:
            self._problem = error
            raise
        self._block = None  # whatever headers came with it: it is whole without them
        self._envelope = envelope
        return envelope

    def _foreign(self, error: BadEvent | None) -> CloudEvent:
        envelope, message = foreign.read(self.raw, self._block, self.subject, self.position, self.recorded_ns, error)
        self._data = upcast(envelope.type, message)
        self._envelope = envelope
        return envelope

    @property
    def data(self) -> Message:
        """The payload, upcast to today's version of its type. Do not change it: it is shared."""
        if self._data is None:
            envelope = self.envelope
            if self._data is None:
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
        """The time of the happening, by its publisher (0 if not given, or no moment). Data, never an order: order is `position`."""
        return self._moment("time")

    @property
    def deadline_ns(self) -> int:
        """The moment from which on an answer is of no use (0: never)."""
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
        return 0 if value is None else max(value.ce_integer, 0)

    @property
    def traceparent(self) -> str:
        return self._text("traceparent")

    @property
    def producer_version(self) -> str:
        """The release that decided this, `<handler>/<version>+<rules>`; nothing for what came from outside."""
        return self._text("producerversion")

    @property
    def tracestate(self) -> str:
        return self._text("tracestate")

    @property
    def origin(self) -> str:
        """The `source` as its producer wrote it, where that is not /worldbus/<subsystem>; else an empty string."""
        source = self.envelope.source
        return self._text("origin") if source == SOURCE + self.subsystem else source

    @property
    def extensions(self) -> dict[str, Value]:
        """Attributes that worldbus does not know, by name, as JSON says them."""
        attributes = self.envelope.attributes
        names = sorted(name for name in attributes if name not in TAKEN and NAME.fullmatch(name) is not None)
        return {name: _value(attributes[name]) for name in names}

    @property
    def lane(self) -> LaneMark | None:
        """The input that this output answers; None for events that came from outside."""
        text = self._text("lane")
        return LaneMark.parse(text) if text else None

    def moment(self, name: str) -> int | None:
        """`time` or `deadline` in nanoseconds since 1970; None if it is not said. Raises `BadEvent` for what is no moment."""
        value = self.envelope.attributes.get(name)
        if value is None:
            return None
        stamp = value.ce_timestamp
        if not (FIRST_SECOND <= stamp.seconds <= LAST_SECOND and 0 <= stamp.nanos < NANOS):
            raise BadEvent(f"{name} is no moment of the years 1 to 9999: {stamp.seconds} s and {stamp.nanos} ns", code="OUT_OF_RANGE")
        return stamp.seconds * NANOS + stamp.nanos

    def text(self, name: str) -> str:
        """One of worldbus's own attributes of text; empty if it is not said."""
        return self.origin if name == "origin" else self._text(name)

    def _text(self, name: str) -> str:
        value = self.envelope.attributes.get(name)
        return "" if value is None else value.ce_string

    def _moment(self, name: str) -> int:
        value = self.envelope.attributes.get(name)
        if value is None:
            return 0
        stamp = value.ce_timestamp
        seconds, nanos = stamp.seconds, stamp.nanos
        # What is no moment would go on from event to event, and stop whoever makes a date of it.
        return seconds * NANOS + nanos if FIRST_SECOND <= seconds <= LAST_SECOND and 0 <= nanos < NANOS else 0


def _value(attribute: Any) -> Value:
    kind = attribute.WhichOneof("attr")
    if kind == "ce_timestamp":
        stamp = attribute.ce_timestamp
        return format_time(stamp.seconds * NANOS + stamp.nanos) if FIRST_SECOND <= stamp.seconds <= LAST_SECOND else "unreadable"
    if kind == "ce_bytes":
        return b64encode(attribute.ce_bytes).decode()
    value: Value = "" if kind is None else getattr(attribute, kind)
    return value


def _payload(type_name: str, raw: bytes) -> Message:
    try:
        message = message_class(type_name).FromString(raw)
    except KeyError as error:
        raise _unknown(type_name, error) from error
    except DecodeError as error:
        raise BadEvent(f"not a valid {type_name}: {error}", type=type_name) from error
    return upcast(type_name, message)


def _unknown(type_name: str, error: KeyError) -> UnknownType:
    """The error that says whether only the version is unknown."""
    try:
        check_type(type_name)
    except UnknownType as unknown:
        return unknown
    return UnknownType(str(error.args[0] if error.args else error), type=type_name)
