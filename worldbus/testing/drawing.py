"""Messages as Hypothesis draws them: any content that a type's descriptor allows."""

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
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
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


def timestamps(*, portable: bool = False) -> SearchStrategy[dict[str, int]]:
    """Fields of a Timestamp between the years 1 and 9999."""
    step = 1000 if portable else 1
    return st.builds(
        lambda seconds, nanos: {"seconds": seconds, "nanos": nanos - nanos % step},
        st.integers(YEAR_1, YEAR_10000 - 1),
        st.integers(0, NANOS - 1),
    )


def durations(*, portable: bool = False) -> SearchStrategy[dict[str, int]]:
    """Fields of a Duration of at most 10 000 years either way; seconds and nanos have the same sign."""
    step = 1000 if portable else 1
    return st.builds(
        lambda seconds, nanos, sign: {"seconds": sign * seconds, "nanos": sign * (nanos - nanos % step)},
        st.integers(0, LONGEST - 1),
        st.integers(0, NANOS - 1),
        st.just(1) if portable else st.sampled_from((1, -1)),
    )


def _json_values(*, portable: bool) -> SearchStrategy[Any]:
    finite = _SCALARS[_F.TYPE_DOUBLE].map(_unsigned_zero) if portable else _SCALARS[_F.TYPE_DOUBLE]
    return st.recursive(
        st.none() | st.booleans() | finite | _TEXT,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
        max_leaves=5,
    )


def _well_known(descriptor: Descriptor, portable: bool) -> SearchStrategy[Message] | None:
    cls: Any = GetMessageClass(descriptor)
    match descriptor.full_name:
        case "google.protobuf.Timestamp":
            return timestamps(portable=portable).map(lambda fields: cls(**fields))
        case "google.protobuf.Duration":
            return durations(portable=portable).map(lambda fields: cls(**fields))
        case "google.protobuf.Struct":
            return st.dictionaries(_TEXT, _json_values(portable=portable), max_size=3).map(lambda content: _struct(cls, content))
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


def _one(field: FieldDescriptor, depth: int, portable: bool) -> SearchStrategy[Any]:
    if field.enum_type is not None:
        return st.sampled_from([value.number for value in field.enum_type.values])
    if field.type == _F.TYPE_MESSAGE:
        return _message(field.message_type, depth - 1, portable)
    scalar = _SCALARS[field.type]
    return scalar.map(_unsigned_zero) if portable else scalar


def _unsigned_zero(value: Any) -> Any:
    return 0.0 if isinstance(value, float) and value == 0 else value


def _value(field: FieldDescriptor, depth: int, portable: bool) -> SearchStrategy[Any]:
    """Draw a value that the constructor takes for a field that is set."""
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        key, value = field.message_type.fields
        return st.dictionaries(_one(key, depth, portable), _one(value, depth, portable), max_size=3)
    one = _one(field, depth, portable)
    return st.lists(one, max_size=3) if field.is_repeated else one


@cache
def _message(descriptor: Descriptor, depth: int, portable: bool) -> SearchStrategy[Message]:
    if (known := _well_known(descriptor, portable)) is not None:
        return known
    cls = GetMessageClass(descriptor)
    loose = [field for field in descriptor.fields if field.containing_oneof is None and (depth > 0 or field.message_type is None)]
    plain = {field.name: _value(field, depth, portable) for field in loose}
    fields = st.fixed_dictionaries({}, optional=plain)
    for oneof in descriptor.oneofs:
        cases = [field for field in oneof.fields if depth > 0 or field.message_type is None]
        choice = st.one_of(st.just({}), *(st.fixed_dictionaries({field.name: _value(field, depth, portable)}) for field in cases))
        fields = st.builds(lambda left, right: {**left, **right}, fields, choice)
    return fields.map(lambda values: cls(**values))


def messages(cls: type[M], *, portable: bool = False) -> SearchStrategy[M]:
    """Any message of `cls`, built from its descriptor: finite floats, valid text, every field set or not.

    `portable` keeps to what betterproto2 says like protobuf: microseconds, no negative durations, no negative zero.
    """
    return _message(cls.DESCRIPTOR, DEPTH, portable)  # type: ignore[return-value]


def any_event(*, portable: bool = False) -> SearchStrategy[Message]:
    """A message of any event type."""
    return st.sampled_from(all_events()).flatmap(lambda cls: messages(cls, portable=portable))
