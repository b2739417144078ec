"""A payload as bytes under a content type: protobuf's own form, or JSON."""

from __future__ import annotations

from typing import Final

from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from bus.errors import BadEvent
from bus.json_payload import payload_from_json
from bus.json_text import BLANK, BOM, parse
from schemas.registry import message_class

JSON: Final = "json"
PROTOBUF: Final = "protobuf"
_PROTOBUF: Final = frozenset({"application/protobuf", "application/x-protobuf", "application/vnd.google.protobuf"})
_JSON: Final = frozenset({"application/json", "text/json"})


def media(content_type: str, field: str = "datacontenttype") -> str:
    """`JSON`, `PROTOBUF`, or nothing where no content type is given. Raises `BadEvent` for any other."""
    kind, _, parameters = content_type.partition(";")
    kind = kind.strip().lower()
    if kind in _JSON or kind.endswith("+json"):
        return JSON
    if kind in _PROTOBUF:
        return PROTOBUF
    if kind == "" and not parameters:
        return ""
    raise BadEvent(
        f"{field}: must be application/json or application/protobuf, found {ascii(content_type)[:80]}", code="BAD_PAYLOAD", path=field
    )


def looks_like_json(body: bytes) -> bool:
    """Return whether bytes without a content type are a JSON object rather than a protobuf message.

    A message begins with the tag of a field, and no message of ours can begin with `{`: that is a group, which proto3 does not have. White
    space before it settles nothing where it begins with a line feed, the tag of a text in field 1: then `{` is its length.
    """
    return body[:1] != b"\n" and body.removeprefix(BOM).lstrip(BLANK)[:1] == b"{"


def payload_from_bytes(name: str, body: bytes, kind: str, *, strict: bool = True) -> Message:
    """The message of the full type `name` that `body` holds; `kind` is what `media` says. Raises `BadEvent`.

    `strict` refuses fields that the type does not have. What is in the log already is read without: its publisher may know more fields.
    """
    if kind == JSON or (not kind and looks_like_json(body)):
        return payload_from_json(name, parse(body) if body.strip() else {})
    try:
        message = message_class(name).FromString(body)
    except DecodeError as error:
        raise BadEvent(f"not a valid {name}: {error}", code="BAD_UTF8" if "UTF-8" in str(error) else None, type=name) from error
    if strict and len(UnknownFieldSet(message)):
        raise BadEvent(
            f"the payload has fields that {name} does not have: it is another type, or a newer version than this release knows",
            code="TYPE_MISMATCH",
            type=name,
        )
    return message
