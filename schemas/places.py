"""The places of declarations in their sources, for messages: `proto/town/beacon/v1/beacon.proto:17`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet

from schemas.layout import Layout

_MESSAGES: Final = FileDescriptorProto.MESSAGE_TYPE_FIELD_NUMBER
_ENUMS: Final = FileDescriptorProto.ENUM_TYPE_FIELD_NUMBER
_INNER: Final = DescriptorProto.NESTED_TYPE_FIELD_NUMBER
_INNER_ENUMS: Final = DescriptorProto.ENUM_TYPE_FIELD_NUMBER

Path = tuple[int, ...]


def places(described: FileDescriptorSet, layout: Layout) -> Mapping[str, str]:
    """Full name of each message and enum -> file and line; name of each package -> its first file."""
    found: dict[str, str] = {}
    for file in described.file:
        name = layout.shown(layout.proto / file.name)
        lines = {tuple(one.path): one.span[0] + 1 for one in file.source_code_info.location}
        found.setdefault(file.package, f"{name}:1")
        for full_name, path in _declared(file):
            found[full_name] = f"{name}:{lines.get(path, 1)}"
    return found


def place_of(name: str, known: Mapping[str, str]) -> str:
    """The place of a name, or of the innermost that it lies in; empty for one that lies nowhere."""
    while name and name not in known:
        name = name.rpartition(".")[0]
    return known.get(name, "")


def _declared(file: FileDescriptorProto) -> Iterator[tuple[str, Path]]:
    yield from _within(file.package, (), _MESSAGES, file.message_type)
    yield from ((f"{file.package}.{one.name}", (_ENUMS, at)) for at, one in enumerate(file.enum_type))


def _within(prefix: str, path: Path, field: int, messages: Sequence[DescriptorProto]) -> Iterator[tuple[str, Path]]:
    for at, one in enumerate(messages):
        name, here = f"{prefix}.{one.name}", (*path, field, at)
        yield name, here
        yield from _within(name, here, _INNER, one.nested_type)
        yield from ((f"{name}.{enum.name}", (*here, _INNER_ENUMS, number)) for number, enum in enumerate(one.enum_type))
