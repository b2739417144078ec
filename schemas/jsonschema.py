"""JSON Schema of an event's `data` as we write it: protobuf's JSON form, with the names of the .proto files.

For documents, and for tools that check JSON before they publish it. Reading forgives more: names in camelCase, null, numbers as text.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from schemas import registry

Schema = dict[str, Any]
Named = Callable[[Any], str]
"""From a message's descriptor to the name of its schema."""

DOCS: Final = "docs.json"  # beside generated code
REF: Final = "#/components/schemas/"

_F: Final = FieldDescriptor
_INT32: Final = {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1}
_UINT32: Final = {"type": "integer", "minimum": 0, "maximum": 2**32 - 1}
_INT64: Final = {"type": ["string", "integer"], "format": "int64", "pattern": r"^-?[0-9]+$"}
_UINT64: Final = {"type": ["string", "integer"], "format": "uint64", "pattern": "^[0-9]+$"}
_SCALARS: Final[dict[int, Schema]] = {
    **dict.fromkeys((_F.TYPE_INT32, _F.TYPE_SINT32, _F.TYPE_SFIXED32), _INT32),
    **dict.fromkeys((_F.TYPE_UINT32, _F.TYPE_FIXED32), _UINT32),
    **dict.fromkeys((_F.TYPE_INT64, _F.TYPE_SINT64, _F.TYPE_SFIXED64), _INT64),
    **dict.fromkeys((_F.TYPE_UINT64, _F.TYPE_FIXED64), _UINT64),
    _F.TYPE_DOUBLE: {"type": "number"},
    _F.TYPE_FLOAT: {"type": "number"},
    _F.TYPE_BOOL: {"type": "boolean"},
    _F.TYPE_STRING: {"type": "string"},
    _F.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
}
_WELL_KNOWN: Final[dict[str, Schema]] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$"},
    "google.protobuf.Struct": {"type": "object", "additionalProperties": True},
    "google.protobuf.Value": {},
    "google.protobuf.ListValue": {"type": "array", "items": {}},
    "google.protobuf.Any": {
        "type": "object",
        "required": ["@type"],
        "properties": {"@type": {"type": "string"}},
        "additionalProperties": True,
    },
}


@cache
def comments() -> dict[str, str]:
    """The comment of every message, field and enum value in the .proto sources, by full name. Code that came without any has none."""
    read: dict[str, str] = {}
    for folder in registry.folders():
        if (folder / DOCS).is_file():
            read |= json.loads((folder / DOCS).read_text(encoding="utf-8"))
    return read


registry.made_of_it(comments.cache_clear)


def schemas(cls: type[Message], named: Named = lambda it: it.full_name) -> dict[str, Schema]:
    """The schema of a message and of every message it holds, by the name that `named` gives it, its full name if nothing else is said; they
    refer to each other below `#/components/schemas/`.
    """
    found: dict[str, Schema] = {}
    waiting: list[Any] = [cls.DESCRIPTOR]
    while waiting:
        descriptor = waiting.pop()
        if named(descriptor) not in found:
            found[named(descriptor)] = _message(descriptor, named)
            waiting += [inner for field in descriptor.fields if (inner := _own(field)) is not None]
    return dict(sorted(found.items()))


def _is_map(field: Any) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def _own(field: Any) -> Any:
    """The descriptor of the message type that a field holds, unless protobuf-JSON has a form of its own for it."""
    inner = field.message_type.fields_by_name["value"].message_type if _is_map(field) else field.message_type
    return None if inner is None or inner.file.package == "google.protobuf" else inner


def _message(descriptor: Any, named: Named) -> Schema:
    schema: Schema = {"type": "object"}
    if text := comments().get(descriptor.full_name):
        schema["description"] = text
    schema["properties"] = {field.name: _property(field, named) for field in descriptor.fields}
    return schema


def _property(field: Any, named: Named) -> Schema:
    schema = dict(_value(field, named))
    if text := comments().get(field.full_name):
        schema["description"] = text
    oneof = field.containing_oneof
    if oneof is not None and len(oneof.fields) > 1:
        schema["x-oneof"] = oneof.name
    return schema


def _value(field: Any, named: Named) -> Schema:
    if _is_map(field):
        return {"type": "object", "additionalProperties": _one(field.message_type.fields_by_name["value"], named)}
    return {"type": "array", "items": _one(field, named)} if field.is_repeated else _one(field, named)


def _one(field: Any, named: Named) -> Schema:
    if field.enum_type is not None:
        return {"type": "string", "enum": [value.name for value in field.enum_type.values]}
    if field.message_type is None:
        return _SCALARS[field.type]
    if field.message_type.file.name == "google/protobuf/wrappers.proto":
        return _one(field.message_type.fields_by_name["value"], named)
    return _WELL_KNOWN.get(field.message_type.full_name, {"$ref": REF + named(field.message_type)})
