"""Events as JSON: `application/cloudevents+json` with the payload in protobuf's JSON mapping.

Accepted on the way in (and stored as protobuf), written on the way out for people and tools. JSON forgives much that an event log must not,
so reading is strict: one value per key, no NaN or infinity, nothing nested beyond 32, no attribute or field that is unknown, every text
valid Unicode without NUL. Each refusal is a `BadEvent` with a stable code and the path of the offender.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from functools import lru_cache
from itertools import accumulate
from math import isfinite
from typing import Any, NoReturn

from google.protobuf import json_format
from google.protobuf.message import Message

from bus.check import MAX_DEPTH, check_attributes, check_id, check_payload, check_time, check_type
from bus.envelope import MAX_EVENT, NANOS
from bus.errors import BadEvent, TooLarge
from bus.event import EDGE, Draft, Event, new_id
from bus.subjects import check_token
from schemas.registry import message_class

MAX_JSON = 2 * MAX_EVENT  # bytes: text takes more room than protobuf
SOURCE = "/worldbus/"
_MARKS = re.compile(r'"(?:[^"\\]|\\.)*"?|[\[{]|[\]}]', re.DOTALL)
_STRINGS = re.compile(r'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_NO_MARKS = bytes(set(range(256)) - set(b'[]{}"'))
_STEPS = {91: 1, 123: 1, 93: -1, 125: -1}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_ATTRIBUTE = re.compile(r"[a-z0-9]{1,20}", re.ASCII)
_TEXTS = ("causationid", "correlationid", "traceparent", "producerversion", "lane")
_KNOWN = frozenset(
    {
        "specversion",
        "id",
        "source",
        "type",
        "subject",
        "world",
        "time",
        "datacontenttype",
        "dataschema",
        "depth",
        "deadline",
        "data",
        "position",
        "partition",
        "recorded",
        *_TEXTS,
    }
)
"""`position`, `partition` and `recorded` are what the log once said about an event; publishing it again gives it new ones."""
_BYTES = 12  # type of a field
_MAX_FLOAT = 3.4028234663852886e38  # of 32 bits
_SHOWN = 80  # characters of what was found


def _bad(code: str, path: str, message: str) -> NoReturn:
    raise BadEvent(f"{path}: {message}", code=code, path=path)


def parse(raw: bytes | str, limit: int = MAX_JSON) -> Any:
    """A JSON document of at most `limit` bytes under the strict rules above; raises `BadEvent`."""
    if len(raw) > limit:
        raise TooLarge(f"JSON of {len(raw)} bytes, wanted at most {limit}: send a reference instead", limit=limit, found=len(raw))
    if not raw.strip():
        raise BadEvent("wanted a CloudEvent, found an empty body: an event needs at least id, type and data")
    text = _decode(raw)
    if _depth(text) > MAX_DEPTH:
        _check_depth(text)
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_constant, parse_float=_float, parse_int=_int)
    except json.JSONDecodeError as error:
        raise BadEvent(f"not valid JSON: {error.msg} at line {error.lineno} column {error.colno}", path="$") from error
    if "\\u" in text or isinstance(raw, str):  # nothing else brings NUL or half a surrogate pair past the parser
        _check_texts(value, "$")
    return value


def _decode(raw: bytes | str) -> str:
    if isinstance(raw, str):
        return raw
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadEvent(f"JSON must be UTF-8, found byte 0x{raw[error.start]:02x} at {error.start}", code="BAD_UTF8", path="$") from error


def _depth(text: str) -> int:
    """How deep it nests, at most: before json.loads, which recurses once per level."""
    if text.count("{") + text.count("[") <= MAX_DEPTH:
        return 0
    if "\\" in text:
        text = _STRINGS.sub("", text)
    marks = text.encode(errors="replace").translate(None, _NO_MARKS)
    outside = b"".join(marks.split(b'"')[::2])  # every other piece lies between quotes
    return max(accumulate(map(_STEPS.__getitem__, outside)), default=0)


def _check_depth(text: str) -> None:
    """Say where it is too deep."""
    depth = 0
    for mark in _MARKS.finditer(text):
        first = mark.group()[0]
        if first in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                _bad("TOO_DEEP", "$", f"nests deeper than {MAX_DEPTH} levels, at character {mark.start()}")
        elif first in "]}":
            depth -= 1


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                _bad("DUPLICATE_KEY", key[:_SHOWN], "is given twice in one object; which one counts?")
            seen.add(key)
    return found


def _constant(word: str) -> NoReturn:
    _bad("NOT_FINITE", "$", f"{word} is no JSON number; leave the field out")


def _float(word: str) -> float:
    value = float(word)
    if not isfinite(value):
        _bad("NOT_FINITE", "$", f"{word[:_SHOWN]} is beyond the range of a double")
    return value


def _int(word: str) -> int:
    if len(word) > 20:  # the longest 64-bit number, sign included
        _bad("OUT_OF_RANGE", "$", f"{word[:24]}… with {len(word)} digits is beyond 64 bits")
    return int(word)


def _check_texts(value: Any, path: str) -> None:
    if isinstance(value, str):
        _check_text(value, path)
    elif isinstance(value, dict):
        for key, inner in value.items():
            _check_text(key, path)
            _check_texts(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _check_texts(inner, f"{path}[{index}]")


def _check_text(text: str, path: str) -> None:
    if "\0" in text:
        _bad("BAD_TEXT", path, "must not contain NUL: Postgres cannot hold it")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise BadEvent(f"{path}: lone surrogate U+{ord(text[error.start]):04X} is no character", code="BAD_UTF8", path=path) from error


def from_json(raw: bytes | str) -> Draft:
    """The draft that a CloudEvents JSON document describes. `id` and `time` may be left out: they are then new and now.

    Raises `BadEvent`, `UnknownType`, `TooLarge` or `BadSubject`.
    """
    return from_document(parse(raw))


def from_document(document: Any) -> Draft:
    """As `from_json`, of a document that `parse` has read: one of many in a batch, say."""
    if not isinstance(document, dict):
        _bad("BAD_PAYLOAD", "$", f"wanted a JSON object, found {type(document).__name__}")
    _check_names(document)
    if None in document.values():  # the format's other way of leaving something out
        document = {name: value for name, value in document.items() if value is not None}
    _check_formats(document)
    name = check_type(_text(document, "type", required=True))
    fields: dict[str, Any] = {
        "data": payload_from_json(name, document.get("data", {})),
        "world": check_token(_text(document, "world", required=True), "world"),
        "entity": check_token(_text(document, "subject", required=True), "subject"),
        "subsystem": _subsystem(document),
        "id": check_id(_text(document, "id")) if "id" in document else new_id(),
        "cause": _text(document, "causationid"),
        "correlation": _text(document, "correlationid"),
        "lane": _text(document, "lane"),
        "traceparent": _text(document, "traceparent"),
        "producer_version": _text(document, "producerversion"),
        "depth": _whole(document, "depth"),
        "deadline_ns": parse_time(_text(document, "deadline"), "deadline") if "deadline" in document else 0,
    }
    if "time" in document:
        fields["time_ns"] = parse_time(_text(document, "time"), "time")
    draft = Draft(**fields)
    check_attributes(draft)
    check_payload(draft.data, draft.data.SerializeToString())
    return draft


def _check_names(document: dict[str, Any]) -> None:
    for name in document:
        if name in _KNOWN:
            continue
        if name.lower().startswith("nats"):
            _bad("RESERVED_HEADER", name[:_SHOWN], "is a header of NATS itself; events do not set those")
        if name == "data_base64":
            _bad("BAD_PAYLOAD", name, "is for bytes: send data as a JSON object, or the event in protobuf format")
        if _ATTRIBUTE.fullmatch(name) is None:
            _bad("BAD_HEADER", ascii(name)[:_SHOWN], "is no attribute name: wanted 1-20 of a-z 0-9")
        _bad("UNKNOWN_ATTRIBUTE", name, f"is not known; the attributes are {', '.join(sorted(_KNOWN))}")


def _check_formats(document: dict[str, Any]) -> None:
    version = document.get("specversion", "1.0")
    if version != "1.0":
        _bad("UNSUPPORTED_VERSION", "specversion", f"must be '1.0', found {ascii(version)[:_SHOWN]}")
    content = document.get("datacontenttype", "application/json")
    if not isinstance(content, str) or content.partition(";")[0].strip().lower() not in ("application/json", "application/protobuf"):
        _bad("BAD_PAYLOAD", "datacontenttype", f"must be application/json, found {ascii(content)[:_SHOWN]}")


def _text(document: dict[str, Any], name: str, *, required: bool = False) -> str:
    value = document.get(name, "")
    if value == "" and not required:
        return ""
    if not isinstance(value, str):
        _bad("BAD_PAYLOAD", name, f"must be a string, found {type(value).__name__}")
    if required and not value:
        _bad("UNKNOWN_TYPE" if name == "type" else "MISSING_ATTRIBUTE", name, "is missing")
    if _CONTROL.search(value) is not None:
        _bad("BAD_HEADER", name, f"must not contain control characters, found {ascii(value)[:_SHOWN]}")
    return value


def _whole(document: dict[str, Any], name: str) -> int:
    if name not in document:
        return 0
    value = document[name]
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 31:
        _bad("OUT_OF_RANGE", name, f"must be a whole number from 0 to {(1 << 31) - 1}, found {ascii(value)[:_SHOWN]}")
    return value


def _subsystem(document: dict[str, Any]) -> str:
    source = _text(document, "source") or SOURCE + EDGE
    if not source.startswith(SOURCE):
        _bad("BAD_PAYLOAD", "source", f"must be {SOURCE}<subsystem>, found {ascii(source)[:_SHOWN]}")
    return check_token(source.removeprefix(SOURCE), "source")


def payload_from_json(name: str, value: Any) -> Message:
    """A message of the full type `name` from protobuf's JSON mapping; raises `BadEvent` with the path of what is wrong."""
    if not isinstance(value, dict):
        _bad("BAD_PAYLOAD", "data", f"must be an object with the fields of {name}, found {type(value).__name__}")
    plain = _plain(name, value)
    if plain is not None:
        return plain
    message = message_class(name)()
    try:
        json_format.ParseDict(value, message, ignore_unknown_fields=False, max_recursion_depth=MAX_DEPTH)
    except json_format.ParseError as error:
        text = str(error)
        raise BadEvent(f"data: not a valid {name}: {text[:300]}", code=_code(text), type=name, path="data") from error
    except (OverflowError, RecursionError, TypeError, ValueError) as error:  # what protobuf's mapping lets through from its own parts
        raise BadEvent(f"data: not a valid {name}: {str(error)[:300]}", type=name, path="data") from error
    return message


_TYPES: dict[int, tuple[type, ...]] = {
    **dict.fromkeys((1, 2, 3, 4), (int,)),  # cpp_type of whole numbers; which of them fit, the field itself says
    5: (float, int),  # double
    6: (float, int),  # float
    7: (bool,),
    9: (str,),
}


@lru_cache(maxsize=4096)
def _plain_fields(name: str) -> dict[str, tuple[type, ...]]:
    """The single fields of a type that JSON says as what they are, with what they may be."""
    fields = message_class(name).DESCRIPTOR.fields
    return {
        field.name: _TYPES[field.cpp_type]
        for field in fields
        if field.cpp_type in _TYPES and field.type != _BYTES and not field.is_repeated and field.containing_oneof is None
    }


def _plain(name: str, value: dict[str, Any]) -> Message | None:
    """The usual message: a few plain fields under their own names. Far faster than the mapping, which decides whatever is not plain."""
    message = message_class(name)()
    fields = _plain_fields(name)
    try:
        for key, one in value.items():
            if type(one) not in fields[key] or (type(one) is not str and not -_MAX_FLOAT <= one <= _MAX_FLOAT):
                return None
            setattr(message, key, one)
    except (KeyError, ValueError, OverflowError, TypeError):
        return None
    return message


def _code(text: str) -> str:
    if "has no field named" in text:
        return "UNKNOWN_FIELD"
    if "out of range" in text or "too large" in text.lower() or "too small" in text.lower():
        return "OUT_OF_RANGE"
    if "too deep" in text:
        return "TOO_DEEP"
    return "BAD_PAYLOAD"


def parse_time(text: str, path: str = "time") -> int:
    """Nanoseconds since 1970 of an RFC 3339 time; raises `BadEvent`.

    >>> parse_time("2026-11-22T13:00:00.25+01:00")
    1795348800250000000
    """
    found = _TIME.fullmatch(text)
    if found is None:
        _bad("BAD_TIME", path, f"must be RFC 3339 with a time zone, like 2026-11-22T12:00:00Z, found {ascii(text)[:_SHOWN]}")
    zone = found[8].upper().replace("Z", "+00:00")
    try:
        moment = datetime.fromisoformat(text[:19] + zone)
    except ValueError as error:
        raise BadEvent(f"{path}: {error}, found {ascii(text)[:_SHOWN]}", code="BAD_TIME", path=path) from error
    seconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // _SECOND
    return check_time(seconds * NANOS + int((found[7] or "").ljust(9, "0")), path)


_SECOND = datetime(1970, 1, 1, 0, 0, 1) - datetime(1970, 1, 1)  # noqa: DTZ001 - a difference


def format_time(ns: int) -> str:
    """RFC 3339 in UTC, with as many decimals as there are.

    >>> format_time(1795348800250000000)
    '2026-11-22T12:00:00.25Z'
    """
    seconds, nanos = divmod(ns, NANOS)
    whole = (datetime(1970, 1, 1, tzinfo=UTC) + seconds * _SECOND).strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
    return whole + (f".{nanos:09d}".rstrip("0") if nanos else "") + "Z"


def to_dict(event: Event) -> dict[str, Any]:
    """One event as a CloudEvents document, `data` in protobuf's JSON mapping, in today's version of its type (proto field names).

    The log's own facts are extension attributes: `position`, `partition`, `recorded`. Raises `BadEvent` for a damaged event.
    """
    data = event.data
    document: dict[str, Any] = {
        "specversion": "1.0",
        "id": event.id,
        "source": event.envelope.source,
        "type": data.DESCRIPTOR.full_name,
        "subject": event.entity,
        "world": event.world,
    }
    attributes = event.envelope.attributes
    if "time" in attributes:
        document["time"] = format_time(event.time_ns)
    document |= {name: attributes[name].ce_string for name in _TEXTS if name in attributes}
    if event.depth:
        document["depth"] = event.depth
    if event.deadline_ns:
        document["deadline"] = format_time(event.deadline_ns)
    document |= {"position": event.position, "partition": event.partition, "recorded": format_time(event.recorded_ns)}
    document["datacontenttype"] = "application/json"
    document["data"] = json_format.MessageToDict(data, preserving_proto_field_name=True)
    return document


def to_json(event: Event, *, indent: int | None = None) -> str:
    """`to_dict` as text, one line unless `indent` is given."""
    return json.dumps(to_dict(event), ensure_ascii=False, indent=indent)
