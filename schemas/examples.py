"""Made-up messages, every field set, the same on every run: for the corpus and for the documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

_F: Final = FieldDescriptor
_NUMBERS: Final = frozenset(
    {
        *(_F.TYPE_INT32, _F.TYPE_INT64, _F.TYPE_UINT32, _F.TYPE_UINT64, _F.TYPE_SINT32),
        *(_F.TYPE_SINT64, _F.TYPE_FIXED32, _F.TYPE_FIXED64, _F.TYPE_SFIXED32, _F.TYPE_SFIXED64),
    }
)
NOON: Final = 1_767_268_800  # 2026-01-01T12:00:00Z
DEPTH: Final = 3  # levels of nested messages; below, a message stays empty, which ends recursive types

_WELL_KNOWN: Final[dict[str, Callable[[Any], object]]] = {
    "google.protobuf.Timestamp": lambda message: message.FromSeconds(NOON),
    "google.protobuf.Duration": lambda message: message.FromMilliseconds(1500),
    "google.protobuf.Struct": lambda message: message.update({"key": "value", "list": [1.0, True, None]}),
    "google.protobuf.Any": lambda message: message.Pack(Timestamp(seconds=NOON)),
}


def example(cls: type[Message], *, prefer: Collection[str] = ()) -> Message:
    """A message of `cls` with every field set; of each oneof the first case, or the one that `prefer` names."""
    message = cls()
    _fill(message, DEPTH, prefer)
    return message


def _fill(message: Message, depth: int, prefer: Collection[str] = ()) -> None:
    if (known := _WELL_KNOWN.get(message.DESCRIPTOR.full_name)) is not None:
        known(message)
        return
    chosen = {_case(oneof.fields, prefer) for oneof in message.DESCRIPTOR.oneofs}
    for field in message.DESCRIPTOR.fields:
        if field.containing_oneof is None or field.name in chosen:
            _set(message, field, depth)


def _case(cases: Any, prefer: Collection[str]) -> str:
    names: list[str] = [field.name for field in cases]
    return next((name for name in names if name in prefer), names[0])


def _set(message: Any, field: Any, depth: int) -> None:
    held = getattr(message, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        _set_map(held, field.message_type.fields, depth)
    elif field.message_type is not None:
        inner = held.add() if field.is_repeated else held
        inner.SetInParent()
        if depth:
            _fill(inner, depth - 1)
    elif field.is_repeated:
        held.extend([_scalar(field), _scalar(field)])
    else:
        setattr(message, field.name, _scalar(field))


def _set_map(held: Any, entry: Any, depth: int) -> None:
    key, value = entry
    if value.message_type is None:
        held[_scalar(key)] = _scalar(value)
    elif depth:
        _fill(held[_scalar(key)], depth - 1)


def _scalar(field: Any) -> Any:
    """A value that is not the default, and tells fields apart."""
    if field.type in _NUMBERS:
        return field.number
    match field.type:
        case _F.TYPE_ENUM:
            return field.enum_type.values[-1].number
        case _F.TYPE_BOOL:
            return True
        case _F.TYPE_STRING:
            return field.name
        case _F.TYPE_BYTES:
            return field.name.encode()
        case _:
            return field.number + 0.5
