"""The promises of a schema to all that is recorded, as lines of text: one per message, field, enum and enum value.

`released.txt` holds the promises of the last release. Text, because a change to it is read in review; each line is a full name
(with the number of a field or enum value behind a `#`) and its facts, `key=value`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Final

from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet

from schemas.errors import BrokenPromise
from schemas.layout import OURS

RELEASED: Final = OURS.released

Facts = dict[str, str]
Promises = dict[str, Facts]

_F: Final = FieldDescriptorProto


def promises(described: FileDescriptorSet) -> Promises:
    """The names that recorded bytes, recorded JSON or code may rely on, with their facts. Google's own files are left out."""
    found: Promises = {}
    for file in described.file:
        if file.package.startswith("google."):
            continue
        for message in file.message_type:
            found |= dict(_message(message, f"{file.package}.{message.name}"))
        for enum in file.enum_type:
            found |= dict(_enum(enum, f"{file.package}.{enum.name}"))
    return found


def _message(message: DescriptorProto, name: str) -> Iterator[tuple[str, Facts]]:
    ranges = [(one.start, one.end - 1) for one in message.reserved_range]
    yield name, {"kind": "message", **_reserved(ranges, message.reserved_name)}
    oneofs = [oneof.name for oneof in message.oneof_decl]
    for field in message.field:
        yield f"{name}#{field.number}", _field(field, oneofs)
    for nested in message.nested_type:
        yield from _message(nested, f"{name}.{nested.name}")
    for enum in message.enum_type:
        yield from _enum(enum, f"{name}.{enum.name}")


def _field(field: FieldDescriptorProto, oneofs: list[str]) -> Facts:
    facts = {
        "name": field.name,
        "json": field.json_name,
        "type": field.type_name.lstrip(".") or _F.Type.Name(field.type).removeprefix("TYPE_").lower(),
        "label": _F.Label.Name(field.label).removeprefix("LABEL_").lower() if field.label == _F.LABEL_REPEATED else "singular",
    }
    if field.proto3_optional:
        facts["label"] = "optional"
    elif field.HasField("oneof_index"):
        facts["oneof"] = oneofs[field.oneof_index]
    if field.options.HasField("packed"):
        facts["packed"] = str(field.options.packed).lower()
    return facts


def _enum(enum: EnumDescriptorProto, name: str) -> Iterator[tuple[str, Facts]]:
    ranges = [(one.start, one.end) for one in enum.reserved_range]
    yield name, {"kind": "enum", **_reserved(ranges, enum.reserved_name)}
    for value in enum.value:
        yield f"{name}#{value.number}", {"name": value.name}


def _reserved(ranges: Iterable[tuple[int, int]], names: Iterable[str]) -> Facts:
    numbers = ",".join(f"{first}..{last}" for first, last in sorted(ranges))
    return {key: value for key, value in (("reserved", numbers), ("reserved_names", ",".join(sorted(names)))) if value}


def corpus_promises(folder: Path = OURS.corpus) -> Promises:
    """The number of events in each corpus file, and their hash: lines are only ever added."""
    return {
        f"corpus/{path.name}": {"lines": str(len(lines)), "sha256": digest(lines)}
        for path in sorted(folder.glob("*.jsonl"))
        if (lines := path.read_text().splitlines())
    }


def digest(lines: Iterable[str]) -> str:
    """A hash of corpus lines."""
    return sha256("\n".join(lines).encode()).hexdigest()


def render(found: Promises) -> str:
    """The text of `released.txt`: sorted, fields by number."""

    def order(key: str) -> tuple[str, int]:
        name, _, number = key.partition("#")
        return name, int(number or -(2**32))

    return "".join(" ".join((key, *(f"{fact}={value}" for fact, value in found[key].items()))) + "\n" for key in sorted(found, key=order))


def parse(text: str) -> Promises:
    """The inverse of `render`. Raises `BrokenPromise` for a line that is none."""
    found: Promises = {}
    for number, line in enumerate(text.splitlines(), 1):
        key, *facts = line.split() or [""]
        if not key or not all("=" in fact for fact in facts):
            raise BrokenPromise(f"released.txt:{number}: wanted a name and its facts as key=value, found {line[:60]!r}: put it back")
        found[key] = dict(fact.split("=", 1) for fact in facts)
    return found
