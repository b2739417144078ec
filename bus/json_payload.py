"""Payloads in protobuf's JSON mapping, read strictly: no unknown field, and each field under one of its two names only."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from google.protobuf import json_format
from google.protobuf.message import Message

from bus.check import MAX_DEPTH
from bus.errors import BadEvent
from bus.json_text import SHOWN, bad
from schemas.registry import message_class

_BYTES: Final = 12  # type of a field
_MAX_FLOAT: Final = 3.4028234663852886e38  # of 32 bits
_WHOLE: Final = frozenset({1, 2, 3, 4})  # cpp_type of whole numbers
_TYPES: Final[dict[int, tuple[type, ...]]] = {
    **dict.fromkeys(_WHOLE, (int,)),  # which of them fit, the field itself says
    5: (float, int),  # double
    6: (float, int),  # float
    7: (bool,),
    9: (str,),
}
_MAPPED: Final = "google.protobuf."  # types of this package are JSON of a shape of their own


def payload_from_json(name: str, value: Any) -> Message:
    """A message of the full type `name` from protobuf's JSON mapping; raises `BadEvent` with the path of what is wrong."""
    if not isinstance(value, dict):
        bad("BAD_PAYLOAD", "data", f"must be an object with the fields of {name}, found {type(value).__name__}")
    plain = _plain(name, value)
    if plain is not None:
        return plain
    message = message_class(name)()
    _check_names(message.DESCRIPTOR, value, "data", 1)
    try:
        json_format.ParseDict(value, message, ignore_unknown_fields=False, max_recursion_depth=MAX_DEPTH)
    except json_format.ParseError as error:
        text = str(error)
        raise BadEvent(f"data: not a valid {name}: {text[:300]}", code=_code(text), type=name, path="data") from error
    except (OverflowError, RecursionError, TypeError, ValueError, KeyError, AttributeError) as error:  # lets through of its own parts
        code = "OUT_OF_RANGE" if isinstance(error, OverflowError) else None
        raise BadEvent(f"data: not a valid {name}: {str(error)[:300]}", code=code, type=name, path="data") from error
    return message


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


@lru_cache(maxsize=4096)
def _fields(descriptor: Any) -> dict[str, Any]:
    """Every field under both of its names."""
    return {field.json_name: field for field in descriptor.fields} | {field.name: field for field in descriptor.fields}


def _check_names(descriptor: Any, value: Any, path: str, depth: int) -> None:
    """Refuse a field under two names, two fields of a oneof, two spellings of a map's key: which one counts?

    What is wrong in any other way is left to the mapping, whose words are better.
    """
    if not isinstance(value, dict) or depth > MAX_DEPTH:
        return
    if descriptor.full_name == "google.protobuf.Any":
        _check_any(value, path, depth)
    if descriptor.full_name.startswith(_MAPPED):
        return
    fields, seen = _fields(descriptor), dict[str, str]()
    for name, one in value.items():
        field = fields.get(name)
        if field is None:
            continue
        _note(seen, field.name, name, path)
        if field.containing_oneof is not None and one is not None:
            _note(seen, f"oneof {field.containing_oneof.name}", name, path)
        _check_field(field, one, f"{path}.{name[:SHOWN]}", depth)


def _note(seen: dict[str, str], what: str, name: str, path: str) -> None:
    before = seen.setdefault(what, name)
    if before != name:
        bad("DUPLICATE_KEY", f"{path}.{name[:SHOWN]}", f"is given beside {before[:SHOWN]}, and only one of them can count: leave one out")


def _check_field(field: Any, value: Any, path: str, depth: int) -> None:
    inner = field.message_type
    if inner is not None and inner.GetOptions().map_entry:
        _check_map(inner, value, path, depth)
    elif field.is_repeated and isinstance(value, list):
        if inner is not None:
            for index, one in enumerate(value):
                _check_names(inner, one, f"{path}[{index}]", depth + 1)
    elif inner is not None:
        _check_names(inner, value, path, depth + 1)


def _check_map(entry: Any, value: Any, path: str, depth: int) -> None:
    if not isinstance(value, dict):
        return
    key_field, value_field = entry.fields_by_name["key"], entry.fields_by_name["value"]
    seen: dict[str, str] = {}
    for key, one in value.items():
        if key_field.cpp_type in _WHOLE:
            try:
                _note(seen, str(int(key)), key, path)
            except ValueError:
                continue
        if value_field.message_type is not None:
            _check_names(value_field.message_type, one, f"{path}[{key[:SHOWN]!r}]", depth + 1)


def _check_any(value: dict[str, Any], path: str, depth: int) -> None:
    name = value.get("@type")
    try:
        inner = message_class(str(name).rpartition("/")[2]).DESCRIPTOR
    except KeyError:
        return
    _check_names(inner, {key: one for key, one in value.items() if key != "@type"}, path, depth + 1)


def _code(text: str) -> str:
    if "has no field named" in text:
        return "UNKNOWN_FIELD"
    lowered = text.lower()
    if any(words in lowered for words in ("out of range", "too large", "too small", "is not in range", "must be in range", "overflow")):
        return "OUT_OF_RANGE"
    if "too deep" in text:
        return "TOO_DEEP"
    return "BAD_PAYLOAD"
