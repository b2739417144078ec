"""Hypothesis strategies shared by property tests."""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from schemas.registry import all_events

M = TypeVar("M", bound=Message)

NANOS = 1_000_000_000
YEAR_1, YEAR_10000 = -62_135_596_800, 253_402_300_800  # seconds since 1970, the range of a Timestamp
LONGEST = 315_576_000_000  # seconds, the range of a Duration: about 10 000 years
DEPTH = 3  # levels of nested messages below the one asked for

_F = FieldDescriptor
_INT32 = st.integers(-(2**31), 2**31 - 1)
_INT64 = st.integers(-(2**63), 2**63 - 1)
_UINT32 = st.integers(0, 2**32 - 1)
_UINT64 = st.integers(0, 2**64 - 1)
_TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
_SCALARS: dict[int, SearchStrategy[Any]] = {
    _F.TYPE_DOUBLE: st.floats(allow_nan=False, allow_infinity=False),
    _F.TYPE_FLOAT: st.floats(allow_nan=False, allow_infinity=False, width=32),
    _F.TYPE_BOOL: st.booleans(),
    _F.TYPE_STRING: _TEXT,
    _F.TYPE_BYTES: st.binary(max_size=20),
    **dict.fromkeys((_F.TYPE_INT32, _F.TYPE_SINT32, _F.TYPE_SFIXED32), _INT32),
    **dict.fromkeys((_F.TYPE_INT64, _F.TYPE_SINT64, _F.TYPE_SFIXED64), _INT64),
    **dict.fromkeys((_F.TYPE_UINT32, _F.TYPE_FIXED32), _UINT32),
    **dict.fromkeys((_F.TYPE_UINT64, _F.TYPE_FIXED64), _UINT64),
}


def timestamps(resolution_ns: int = 1) -> SearchStrategy[dict[str, int]]:
    """Fields of a Timestamp between the years 1 and 9999, in steps of `resolution_ns`."""
    return st.builds(
        lambda seconds, nanos: {"seconds": seconds, "nanos": nanos - nanos % resolution_ns},
        st.integers(YEAR_1, YEAR_10000 - 1),
        st.integers(0, NANOS - 1),
    )


def durations(resolution_ns: int = 1) -> SearchStrategy[dict[str, int]]:
    """Fields of a Duration of at most 10 000 years either way, in steps of `resolution_ns`; seconds and nanos have the same sign."""
    return st.builds(
        lambda seconds, nanos, sign: {"seconds": sign * seconds, "nanos": sign * (nanos - nanos % resolution_ns)},
        st.integers(0, LONGEST - 1),
        st.integers(0, NANOS - 1),
        st.sampled_from((1, -1)),
    )


def _json_values() -> SearchStrategy[Any]:
    finite = st.floats(allow_nan=False, allow_infinity=False)
    return st.recursive(
        st.none() | st.booleans() | finite | _TEXT,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
        max_leaves=5,
    )


def _well_known(descriptor: Descriptor, resolution_ns: int) -> SearchStrategy[Message] | None:
    cls: Any = GetMessageClass(descriptor)
    match descriptor.full_name:
        case "google.protobuf.Timestamp":
            return timestamps(resolution_ns).map(lambda fields: cls(**fields))
        case "google.protobuf.Duration":
            return durations(resolution_ns).map(lambda fields: cls(**fields))
        case "google.protobuf.Struct":
            return st.dictionaries(_TEXT, _json_values(), max_size=3).map(lambda content: _struct(cls, content))
        case "google.protobuf.Any":
            return any_event().map(lambda event: _packed(cls, event))
    return None


def _struct(cls: Any, content: dict[str, Any]) -> Message:
    message: Message = cls()
    message.update(content)  # type: ignore[attr-defined]
    return message


def _packed(cls: Any, event: Message) -> Message:
    message: Message = cls()
    message.Pack(event)  # type: ignore[attr-defined]
    return message


def _one(field: FieldDescriptor, depth: int, resolution_ns: int) -> SearchStrategy[Any]:
    if field.type == _F.TYPE_ENUM:
        return st.sampled_from([value.number for value in field.enum_type.values])
    if field.type == _F.TYPE_MESSAGE:
        return _message(field.message_type, depth - 1, resolution_ns)
    return _SCALARS[field.type]


def _value(field: FieldDescriptor, depth: int, resolution_ns: int) -> SearchStrategy[Any]:
    """What the constructor takes for a field that is set."""
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        key, value = field.message_type.fields
        return st.dictionaries(_one(key, depth, resolution_ns), _one(value, depth, resolution_ns), max_size=3)
    one = _one(field, depth, resolution_ns)
    return st.lists(one, max_size=3) if field.is_repeated else one


@cache
def _message(descriptor: Descriptor, depth: int, resolution_ns: int) -> SearchStrategy[Message]:
    if (known := _well_known(descriptor, resolution_ns)) is not None:
        return known
    cls = GetMessageClass(descriptor)
    loose = [field for field in descriptor.fields if field.containing_oneof is None and (depth > 0 or field.message_type is None)]
    plain = {field.name: _value(field, depth, resolution_ns) for field in loose}
    fields = st.fixed_dictionaries({}, optional=plain)
    for oneof in descriptor.oneofs:
        cases = [field for field in oneof.fields if depth > 0 or field.message_type is None]
        choice = st.one_of(st.just({}), *(st.fixed_dictionaries({field.name: _value(field, depth, resolution_ns)}) for field in cases))
        fields = st.builds(lambda left, right: {**left, **right}, fields, choice)
    return fields.map(lambda values: cls(**values))


def messages(cls: type[M], *, resolution_ns: int = 1) -> SearchStrategy[M]:
    """Any message of `cls`, built from its descriptor: finite floats, valid text, moments in steps of `resolution_ns`, every field set or not."""
    return _message(cls.DESCRIPTOR, DEPTH, resolution_ns)  # type: ignore[return-value]


def any_event(*, resolution_ns: int = 1) -> SearchStrategy[Message]:
    """A message of any event type."""
    return st.sampled_from(all_events()).flatmap(lambda cls: messages(cls, resolution_ns=resolution_ns))
