"""Every kind of change that would make recorded events unreadable is refused; additions pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.compat import breaks, corpus_breaks, main
from schemas.generate import descriptors
from schemas.record import CORPUS
from schemas.released import RELEASED, corpus_promises, parse, promises, render
from tests.laws import examples

# The shape that every test below breaks: one of each thing that a release promises.
SOURCE = FileDescriptorSet(
    file=[
        FileDescriptorProto(
            name="worldbus/test/v1/test.proto",
            package="worldbus.test.v1",
            syntax="proto3",
            message_type=[
                DescriptorProto(
                    name="Moved",
                    field=[
                        FieldDescriptorProto(name="zone", json_name="zone", number=1, type="TYPE_STRING", label="LABEL_OPTIONAL"),
                        FieldDescriptorProto(name="steps", json_name="steps", number=2, type="TYPE_INT32", label="LABEL_REPEATED"),
                        FieldDescriptorProto(
                            name="gait",
                            json_name="gait",
                            number=3,
                            type="TYPE_ENUM",
                            type_name=".worldbus.test.v1.Gait",
                            label="LABEL_OPTIONAL",
                            oneof_index=0,
                        ),
                    ],
                    oneof_decl=[{"name": "how"}],
                    reserved_range=[{"start": 7, "end": 10}],
                    reserved_name=["speed"],
                ),
                DescriptorProto(name="Stopped"),
            ],
            enum_type=[
                EnumDescriptorProto(
                    name="Gait",
                    value=[{"name": "GAIT_UNSPECIFIED", "number": 0}, {"name": "GAIT_RUN", "number": 1}],
                    reserved_range=[{"start": 5, "end": 5}],
                )
            ],
        )
    ]
)

Edit = Callable[[FileDescriptorProto], object]

BREAKING: dict[str, tuple[Edit, str]] = {
    "a message is removed": (lambda f: f.message_type.pop(1), "worldbus.test.v1.Stopped: removed"),
    "a message is renamed": (lambda f: setattr(f.message_type[1], "name", "Halted"), "worldbus.test.v1.Stopped: removed"),
    "a field is removed": (lambda f: f.message_type[0].field.pop(0), "worldbus.test.v1.Moved.zone (number 1): removed"),
    "a field's number changes": (lambda f: setattr(f.message_type[0].field[0], "number", 12), "zone (number 1): the number changed to 12"),
    "a field's type changes": (lambda f: setattr(f.message_type[0].field[0], "type", 12), "the type changed from string to bytes"),
    "a field is renamed": (lambda f: setattr(f.message_type[0].field[0], "name", "area"), "the name changed from zone to area"),
    "a JSON name changes": (lambda f: setattr(f.message_type[0].field[0], "json_name", "z"), "the JSON name changed from zone to z"),
    "a field becomes repeated": (lambda f: setattr(f.message_type[0].field[0], "label", 3), "the label changed from singular to repeated"),
    "a list becomes one value": (lambda f: setattr(f.message_type[0].field[1], "label", 1), "the label changed from repeated to singular"),
    "a field becomes optional": (
        lambda f: setattr(f.message_type[0].field[0], "proto3_optional", True),
        "the label changed from singular to optional",
    ),
    "a field leaves its oneof": (lambda f: f.message_type[0].field[2].ClearField("oneof_index"), "the oneof changed from how to none"),
    "a field enters a oneof": (lambda f: setattr(f.message_type[0].field[0], "oneof_index", 0), "the oneof changed from none to how"),
    "the packing changes": (
        lambda f: setattr(f.message_type[0].field[1].options, "packed", False),
        "the packing changed from none to false",
    ),
    "a field holds another enum": (
        lambda f: setattr(f.message_type[0].field[2], "type_name", ".worldbus.test.v1.Pace"),
        "the type changed from worldbus.test.v1.Gait to worldbus.test.v1.Pace",
    ),
    "a reserved number is freed": (lambda f: f.message_type[0].ClearField("reserved_range"), "numbers 7 to 9 are no longer all reserved"),
    "part of a reserved range is freed": (
        lambda f: setattr(f.message_type[0].reserved_range[0], "start", 8),
        "numbers 7 to 9 are no longer all reserved",
    ),
    "a reserved name is freed": (lambda f: f.message_type[0].ClearField("reserved_name"), "name speed is no longer reserved"),
    "a reserved number is used again": (
        lambda f: f.message_type[0].field.add(name="speed", json_name="speed", number=8, type=5, label=1),
        "speed uses the reserved number 8 again",
    ),
    "an enum is removed": (lambda f: f.enum_type.pop(0), "worldbus.test.v1.Gait: removed"),
    "an enum value is removed": (lambda f: f.enum_type[0].value.pop(1), "worldbus.test.v1.Gait.GAIT_RUN (number 1): removed"),
    "an enum value's number changes": (
        lambda f: setattr(f.enum_type[0].value[1], "number", 2),
        "GAIT_RUN (number 1): the number changed to 2",
    ),
    "an enum value is renamed": (
        lambda f: setattr(f.enum_type[0].value[1], "name", "GAIT_DASH"),
        "the name changed from GAIT_RUN to GAIT_DASH",
    ),
    "an enum's reserved number is used again": (
        lambda f: f.enum_type[0].value.add(name="GAIT_CRAWL", number=5),
        "GAIT_CRAWL uses the reserved number 5 again",
    ),
    "the package moves": (lambda f: setattr(f, "package", "worldbus.test.v2"), "worldbus.test.v1.Moved: removed; worldbus.test.v2.Moved"),
}

ADDITIONS: dict[str, Edit] = {
    "a message": lambda f: f.message_type.add(name="Arrived"),
    "a field": lambda f: f.message_type[0].field.add(name="depth", json_name="depth", number=4, type=5, label=1),
    "a case of a oneof": lambda f: f.message_type[0].field.add(name="by", json_name="by", number=5, type=9, label=1, oneof_index=0),
    "an enum": lambda f: f.enum_type.add(name="Pace"),
    "an enum value": lambda f: f.enum_type[0].value.add(name="GAIT_WALK", number=2),
    "a wider reservation": lambda f: setattr(f.message_type[0].reserved_range[0], "end", 20),
    "a reservation in two parts": lambda f: (
        setattr(f.message_type[0].reserved_range[0], "end", 9),
        f.message_type[0].reserved_range.add(start=9, end=12),
    ),
}


def edited(edit: Edit) -> FileDescriptorSet:
    copy = FileDescriptorSet.FromString(SOURCE.SerializeToString())
    edit(copy.file[0])
    assert copy != SOURCE, "the edit changed nothing"
    return copy


@pytest.mark.parametrize("name", BREAKING)
def test_a_breaking_change_is_named(name: str) -> None:
    edit, line = BREAKING[name]

    found = breaks(promises(SOURCE), promises(edited(edit)))

    assert any(line in one for one in found), found


@pytest.mark.parametrize("name", ADDITIONS)
def test_an_addition_passes(name: str) -> None:
    assert breaks(promises(SOURCE), promises(edited(ADDITIONS[name]))) == []


def test_text_of_a_release_reads_back_as_it_was() -> None:
    assert parse(render(promises(SOURCE))) == promises(SOURCE)


@pytest.fixture(scope="module")
def real() -> FileDescriptorSet:
    described = descriptors()
    for file in described.file:
        file.ClearField("source_code_info")
    return described


def _messages(holder: FileDescriptorProto | DescriptorProto) -> Iterator[DescriptorProto]:
    for message in holder.message_type if isinstance(holder, FileDescriptorProto) else holder.nested_type:
        yield message
        yield from _messages(message)


FIELD_EDITS: dict[str, Callable[[FieldDescriptorProto], object]] = {
    "number": lambda field: setattr(field, "number", field.number + 1000),
    "name": lambda field: setattr(field, "name", f"{field.name}_x"),
    "json": lambda field: setattr(field, "json_name", f"{field.json_name}X"),
    "type": lambda field: (field.ClearField("type_name"), setattr(field, "type", 9 if field.type != 9 else 12)),
    "label": lambda field: setattr(field, "label", 4 - field.label),
}


@settings(max_examples=examples(100), deadline=None)
@given(data=st.data())
def test_any_change_to_any_field_of_our_schemas_is_caught(real: FileDescriptorSet, data: st.DataObject) -> None:
    """The message that a field belongs to is named; nothing of another message is blamed."""
    copy = FileDescriptorSet.FromString(real.SerializeToString())
    ours = [file for file in copy.file if not file.package.startswith("google.")]
    file = data.draw(st.sampled_from(ours))
    message = data.draw(st.sampled_from([one for one in _messages(file) if one.field]))
    index = data.draw(st.integers(0, len(message.field) - 1))
    if data.draw(st.booleans(), "remove"):
        del message.field[index]
    else:
        FIELD_EDITS[data.draw(st.sampled_from(sorted(FIELD_EDITS)))](message.field[index])

    found = breaks(promises(real), promises(copy))

    assert found
    assert all(f".{message.name}." in line for line in found)


def test_our_schemas_keep_what_was_released(capsys: pytest.CaptureFixture[str]) -> None:
    """Next step when this fails: read what it says; additions need `python -m schemas.compat --accept`."""
    assert main([]) == 0, capsys.readouterr().err


def test_every_event_type_is_promised() -> None:
    """A type that is not in schemas/released.txt is not protected. Next step: `python -m schemas.compat --accept`."""
    released = parse(RELEASED.read_text())

    assert sorted(key for key in promises(descriptors()) if key not in released) == []


def test_a_changed_line_of_the_corpus_is_found(tmp_path: Path) -> None:
    source = min(CORPUS.glob("*.jsonl"))
    copy = tmp_path / source.name
    copy.write_text(source.read_text())
    promised = corpus_promises(tmp_path)
    lines = source.read_text().splitlines(keepends=True)
    assert corpus_breaks(promised, tmp_path) == []

    copy.write_text("".join([*lines, lines[0]]))
    assert corpus_breaks(promised, tmp_path) == [], "a line at the end is an addition"

    copy.write_text("".join(lines[1:]))
    assert corpus_breaks(promised, tmp_path) == [
        f"corpus/{source.name}: the first {len(lines)} lines changed; lines are only ever added at the end"
    ]


def test_a_recorded_event_that_reads_otherwise_is_found(tmp_path: Path) -> None:
    (tmp_path / "worldbus.runtime.v1.jsonl").write_text(
        '{"bytes": "CgFh", "json": {"handler": "b"}, "type": "worldbus.runtime.v1.LaneInputRetried"}\n'
    )

    (line,) = corpus_breaks({}, tmp_path)

    assert line.startswith(
        "a recorded worldbus.runtime.v1.LaneInputRetried changed its meaning: wanted {'handler': 'b'}, found {'handler': 'a'}"
    )
