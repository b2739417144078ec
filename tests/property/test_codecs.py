"""Both codecs say the same bytes, JSON comes back as it went, and damaged bytes are refused in one way only."""

from __future__ import annotations

import keyword
from collections.abc import Iterator
from datetime import UTC
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.registry import all_messages
from tests.laws import examples
from worldbus.testing.drawing import messages
from worldbus_client.received import class_of

TYPES = [cls for cls in all_messages() if cls.DESCRIPTOR.containing_type is None]
every_type = pytest.mark.parametrize("cls", TYPES, ids=lambda cls: cls.DESCRIPTOR.full_name)
brief = settings(max_examples=examples(30), deadline=None)  # per type: there are hundreds of them


def differences(ours: Any, theirs: Any, path: str = "") -> Iterator[str]:
    """The fields in which a protobuf value and its betterproto2 twin disagree."""
    if not isinstance(ours, Message):
        if ours != theirs:
            yield f"{path}: protobuf {ours!r}, betterproto2 {theirs!r}"
        return
    name = ours.DESCRIPTOR.full_name
    if name == "google.protobuf.Timestamp":
        yield from differences(ours.ToDatetime(tzinfo=UTC), theirs, path)
    elif name == "google.protobuf.Duration":
        yield from differences(ours.ToTimedelta(), theirs, path)
    elif ours.DESCRIPTOR.file.name == "google/protobuf/wrappers.proto":
        yield from differences(ours.value, theirs, path)
    else:
        for field in ours.DESCRIPTOR.fields:
            twin = getattr(theirs, f"{field.name}_" if keyword.iskeyword(field.name) else field.name)
            yield from _field_differences(ours, field, twin, f"{path}.{field.name}")


def _field_differences(ours: Any, field: Any, twin: Any, path: str) -> Iterator[str]:
    value = getattr(ours, field.name)
    if field.is_repeated and field.message_type is not None and field.message_type.GetOptions().map_entry:
        yield from differences(sorted(value), sorted(twin), f"{path} keys")
        for key in value:
            yield from differences(value[key], twin[key], f"{path}[{key!r}]")
    elif field.is_repeated:
        yield from differences(len(value), len(twin), f"{path} length")
        for index, (left, right) in enumerate(zip(value, twin, strict=False)):
            yield from differences(left, right, f"{path}[{index}]")
    elif field.has_presence and not ours.HasField(field.name):
        yield from differences(None, twin, path)
    else:
        yield from differences(value, twin, path)


@every_type
@brief
@given(data=st.data())
def test_both_codecs_read_the_same_fields_and_write_the_same_bytes(cls: type[Message], data: st.DataObject) -> None:
    message = data.draw(messages(cls, portable=True))
    raw = message.SerializeToString(deterministic=True)

    twin = class_of(cls.DESCRIPTOR.full_name).parse(raw)

    assert list(differences(message, twin)) == []
    assert bytes(twin) == raw


@every_type
@brief
@given(data=st.data())
def test_bytes_come_back_as_the_same_message(cls: type[Message], data: st.DataObject) -> None:
    message = data.draw(messages(cls))
    raw = message.SerializeToString(deterministic=True)

    again = cls.FromString(raw)

    assert again == message
    assert again.SerializeToString(deterministic=True) == raw


@every_type
@brief
@given(data=st.data())
def test_json_comes_back_as_the_same_message(cls: type[Message], data: st.DataObject) -> None:
    message = data.draw(messages(cls))

    text = json_format.MessageToJson(message)

    assert json_format.Parse(text, cls()) == message


@every_type
@brief
@given(raw=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_with_decode_error(cls: type[Message], raw: bytes) -> None:
    _read_or_refuse(cls, raw)


@every_type
@brief
@given(data=st.data())
def test_damaged_messages_are_read_or_refused_with_decode_error(cls: type[Message], data: st.DataObject) -> None:
    """Real bytes, cut short or with one byte changed, come much deeper into the decoder than random ones."""
    raw = bytearray(data.draw(messages(cls)).SerializeToString())
    if raw and data.draw(st.booleans(), "cut"):
        raw = raw[: data.draw(st.integers(0, len(raw) - 1), "length")]
    elif raw:
        raw[data.draw(st.integers(0, len(raw) - 1), "place")] = data.draw(st.integers(0, 255), "byte")
    _read_or_refuse(cls, bytes(raw))


def _read_or_refuse(cls: type[Message], raw: bytes) -> None:
    """Check that what is read can be written, and reads as itself again: nothing half-valid gets in."""
    try:
        message = cls.FromString(raw)
    except DecodeError:
        return
    again = cls.FromString(message.SerializeToString(deterministic=True))
    assert again.SerializeToString(deterministic=True) == message.SerializeToString(deterministic=True)
