"""The rules of publishing, checked before a byte goes out: every refusal is a typed error with a stable code, what was wanted and what was
found.

A bad message must never reach the server: some of them close the connection for good, others are stored and stop a reader later.
"""

from __future__ import annotations

import re
from functools import lru_cache
from math import isfinite
from typing import Any, NoReturn

from google.protobuf import descriptor_pool
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from bus.draft import Draft, Now
from bus.envelope import NANOS
from bus.errors import BadEvent, BadSubject, UnknownType
from bus.subjects import ROOT, Subject
from schemas.errors import UnknownMessage
from schemas.registry import by_name, made_of_it

MAX_ID = 255  # bytes
MAX_DEPTH = 32  # messages inside messages
FIRST_SECOND, LAST_SECOND = -62_135_596_800, 253_402_300_799  # the years 1 to 9999, as protobuf's Timestamp has them
_FIRST_NS, _END_NS = FIRST_SECOND * NANOS, (LAST_SECOND + 1) * NANOS
_ID = re.compile(r"[\x21-\x7e]{1,255}")
_LINE = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{0,255}")
_LANE = re.compile(r"\d{1,9}(:\d{1,18}){3}", re.ASCII)
LONGEST_S = 315_576_000_000  # of a Duration either way: 10,000 years
_FLOATS = frozenset({5, 6})  # cpp_type of double and float
_TEXT, _MESSAGE = 9, 10
_WELL_KNOWN = "google.protobuf."


def check_id(value: str, field: str = "id") -> str:
    """Return an event id that may stand in a header: 1 to 255 visible ASCII characters."""
    if not value:
        raise BadEvent(f"{field} is empty: an event needs one", code="MISSING_ATTRIBUTE", field=field)
    if _ID.fullmatch(value) is None:
        raise BadEvent(
            f"{field} must be 1-{MAX_ID} visible ASCII characters without spaces, found {ascii(value)[:80]}: it travels as a header",
            code="BAD_HEADER",
            field=field,
        )
    return value


def check_line(value: str, field: str) -> str:
    """Return a short text attribute: at most 255 characters, without control characters."""
    if value and _LINE.fullmatch(value) is None:
        raise BadEvent(
            f"{field} must be at most {MAX_ID} characters without control characters, found {ascii(value)[:80]}",
            code="BAD_TEXT" if len(value) <= MAX_ID else "TOO_LARGE",
            field=field,
        )
    return value


def check_time(ns: int, field: str = "time") -> int:
    """Return a moment between the years 1 and 9999, in nanoseconds since 1970."""
    if not _FIRST_NS <= ns < _END_NS:
        raise BadEvent(f"{field} must lie in the years 1 to 9999, found {ns} ns since 1970", code="OUT_OF_RANGE", field=field)
    return ns


@lru_cache(maxsize=4096)
def check_type(name: str) -> str:
    """Return the full name of an event type; raises `UnknownType` with the nearest names (`UNSUPPORTED_VERSION` if only the version is
    unknown).
    """
    try:
        full = by_name(name)
    except UnknownMessage as error:
        simple = name.rpartition(".")[2]
        try:
            known = by_name(simple)
        except UnknownMessage:
            raise UnknownType(str(error), type=name) from error
        if re.sub(r"\.v\d+\.", ".", name) == re.sub(r"\.v\d+\.", ".", known):
            raise UnknownType(
                f"unsupported version: {name}, this release knows {known}; update worldbus", code="UNSUPPORTED_VERSION", type=name
            ) from error
        raise UnknownType(f"unknown event type {name!r} (did you mean {known}?)", type=name) from error
    return full


made_of_it(check_type.cache_clear)


def check_stored(subject: str) -> str:
    """The published form of a subject that is given as published or as stored; raises `BadSubject`."""
    tokens = subject.split(".")
    if len(tokens) == 6 and tokens[0] == ROOT and tokens[1].isdigit():
        del tokens[1]
    if len(tokens) != 5 or tokens[0] != ROOT:
        raise BadSubject(f"wanted {ROOT}.<world>.<subsystem>.<entity>.<Event>, found {ascii(subject)[:80]}", subject=subject)
    return Subject(*tokens[1:]).published()


def check_attributes(draft: Draft) -> None:
    """Hold everything but the payload to the rules; without that, encoding may fail in ways of its own. Attributes that few events have
    are looked at where they are encoded (`Draft.encode`)."""
    check_id(draft.id)
    if type(draft.time_ns) is not Now:
        check_time(draft.time_ns)
    if draft.cause:
        check_id(draft.cause, "causationid")
    if draft.correlation:
        check_id(draft.correlation, "correlationid")
    if draft.traceparent:
        check_line(draft.traceparent, "traceparent")
    if draft.producer_version:
        check_line(draft.producer_version, "producerversion")
    if draft.lane and _LANE.fullmatch(draft.lane) is None:
        raise BadEvent(f"lane must be partition:position:step:steps, found {ascii(draft.lane)[:80]}", code="BAD_ATTRIBUTE", field="lane")
    if draft.deadline_ns:
        check_time(draft.deadline_ns, "deadline")
    if not 0 <= draft.depth < 1 << 31:
        raise BadEvent(f"depth must be 0 to {(1 << 31) - 1}, found {draft.depth}", code="OUT_OF_RANGE", field="depth")


def check_payload(message: Message, data: bytes) -> None:
    """Refuse what a reader could not show or a table not hold: NUL in text, numbers that are not finite, times and durations out of their
    range, an `Any` of an unknown type, nesting beyond 32, and messages that are no events.
    """
    descriptor = message.DESCRIPTOR
    name = descriptor.full_name
    if check_type(name) != name:
        raise UnknownType(f"{name} is not an event type", type=name)
    floats, texts = _flat(descriptor)
    if floats is None:
        if b"\0" in data or _needs_look(descriptor):
            _look(message, descriptor.name, 1)
        return
    for field in floats:
        if not isfinite(getattr(message, field)):
            _look(message, descriptor.name, 1)
    if b"\0" in data:
        for field in texts:
            if "\0" in getattr(message, field):
                _look(message, descriptor.name, 1)


@lru_cache(maxsize=4096)
def _flat(descriptor: Any) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """The float and text fields of a type that is one level of single fields, as most events are; None for any other."""
    if any(field.is_repeated or field.message_type is not None for field in descriptor.fields):
        return None, ()
    return (
        tuple(field.name for field in descriptor.fields if field.cpp_type in _FLOATS),
        tuple(field.name for field in descriptor.fields if field.type == _TEXT),
    )


@lru_cache(maxsize=4096)
def _needs_look(descriptor: Any) -> bool:
    """Return whether a message of this type can hold a float or a time, or nest without end; most cannot, and are not looked through."""
    seen: set[str] = set()
    todo = [descriptor]
    while todo:
        one = todo.pop()
        seen.add(one.full_name)
        if one.full_name.startswith(_WELL_KNOWN):
            return True
        for field in one.fields:
            if field.cpp_type in _FLOATS:
                return True
            if field.message_type is not None:
                if field.message_type is descriptor or (field.message_type.full_name in seen and _reaches(field.message_type, one)):
                    return True
                if field.message_type.full_name not in seen:
                    todo.append(field.message_type)
    return False


def _reaches(start: Any, goal: Any) -> bool:
    seen: set[str] = set()
    todo = [start]
    while todo:
        one = todo.pop()
        if one.full_name == goal.full_name:
            return True
        if one.full_name not in seen:
            seen.add(one.full_name)
            todo += [field.message_type for field in one.fields if field.message_type is not None]
    return False


def check_shown(message: Message, path: str) -> None:
    """Refuse a message that JSON or a table cannot hold, with the path of what is wrong; any message, an event or not."""
    _look(message, path, 1)


def _look(message: Message, path: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise BadEvent(f"{path[:200]} nests deeper than {MAX_DEPTH} messages", code="TOO_DEEP", path=path)
    if message.DESCRIPTOR.full_name.startswith(_WELL_KNOWN):
        _look_at_well_known(message, path, depth)
    field: Any
    for field, value in message.ListFields():
        kind, where = field.cpp_type, f"{path}.{field.name}"
        if kind == _MESSAGE:
            for inner_path, inner in _inner(field, value, where):
                _look(inner, inner_path, depth + 1)
            if field.message_type.GetOptions().map_entry:
                _look_at_map(field, value, where)
        elif kind in _FLOATS or field.type == _TEXT:
            for one in value if field.is_repeated else (value,):
                _check_value(one, where)


def _look_at_well_known(message: Any, path: str, depth: int) -> None:
    match message.DESCRIPTOR.name:
        case "Timestamp":
            if not FIRST_SECOND <= message.seconds <= LAST_SECOND or not 0 <= message.nanos < NANOS:
                _out_of_range(path, "a moment in the years 1 to 9999, with 0 to 999,999,999 nanoseconds", message)
        case "Duration":
            signs = {number > 0 for number in (message.seconds, message.nanos) if number}
            if not -LONGEST_S <= message.seconds <= LONGEST_S or not -NANOS < message.nanos < NANOS or len(signs) > 1:
                _out_of_range(path, f"at most {LONGEST_S} seconds either way, with nanoseconds of the same sign", message)
        case "Any":
            if message.type_url or message.value:
                _look(_unpacked(message, path), f"{path}.value", depth + 1)
        case "FieldMask":
            try:
                message.ToJsonString()
            except ValueError as error:
                raise BadEvent(f"{path} must be a field mask that JSON can say: {str(error)[:200]}", path=path) from error
        case _:
            pass


def _out_of_range(path: str, wanted: str, found: Any) -> NoReturn:
    raise BadEvent(f"{path} must be {wanted}, found {found.seconds} s and {found.nanos} ns", code="OUT_OF_RANGE", path=path)


def _unpacked(message: Any, path: str) -> Message:
    name = message.type_url.rpartition("/")[2]
    try:
        kind: type[Message] = GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(name))
    except KeyError as error:
        raise UnknownType(f"{path} holds a {ascii(name)[:200]}, a type that is not known here", type=name, path=path) from error
    try:
        return kind.FromString(message.value)
    except DecodeError as error:
        raise BadEvent(f"{path} is not a valid {name}: {error}", type=name, path=path) from error


def _inner(field: Any, value: Any, path: str) -> list[tuple[str, Message]]:
    if field.message_type.GetOptions().map_entry:
        if field.message_type.fields_by_name["value"].message_type is None:
            return []
        return [(f"{path}[{key!r}]", value[key]) for key in value]
    if field.is_repeated:
        return [(f"{path}[{index}]", one) for index, one in enumerate(value)]
    return [(path, value)]


def _look_at_map(field: Any, value: Any, path: str) -> None:
    plain = field.message_type.fields_by_name["value"].message_type is None
    for key in value:
        _check_value(key, path)
        if plain:
            _check_value(value[key], f"{path}[{key!r}]")


def _check_value(value: object, path: str) -> None:
    if isinstance(value, float) and not isfinite(value):
        raise BadEvent(f"{path} must be a finite number, found {value}", code="NOT_FINITE", path=path)
    if isinstance(value, str) and "\0" in value:
        raise BadEvent(f"{path} must not contain NUL: Postgres cannot hold it", code="BAD_TEXT", path=path)
