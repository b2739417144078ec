"""House rules for .proto sources: what both codecs carry, what stays readable, and what keeps simple names unique.

Those of a game keep the same rules, in packages of its own; they may import worldbus's, and need not comment everything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from keyword import iskeyword
from typing import Final

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

from schemas.comments import comments

PACKAGE: Final = re.compile(r"worldbus\.([a-z][a-z0-9_]*)\.v[1-9][0-9]*")
GAMES: Final = re.compile(r"(?!(?:worldbus|google|io\.cloudevents)\.)(?:[a-z][a-z0-9_]*\.)+[a-z][a-z0-9_]*\.v[1-9][0-9]*")
WELL_KNOWN: Final = frozenset({"timestamp", "duration", "wrappers", "struct", "any"})


def _imports(file: FileDescriptorProto, game: bool) -> Iterator[str]:
    for name in file.dependency:
        folder, _, base = name.rpartition("/")
        same = folder == file.name.rpartition("/")[0] or (game and folder.startswith("worldbus/"))
        if not same and not (folder == "google/protobuf" and base.removesuffix(".proto") in WELL_KNOWN):
            allowed = f"{'worldbus/**, ' if game else ''}google/protobuf/{{{','.join(sorted(WELL_KNOWN))}}}.proto"
            yield f"{file.name}: imports {name}; a package imports only itself and {allowed}"


def _place(file: FileDescriptorProto, game: bool) -> Iterator[str]:
    if file.syntax != "proto3":
        yield f"{file.name}: wanted syntax proto3, found {file.syntax or 'proto2'}"
    if not (GAMES if game else PACKAGE).fullmatch(file.package):
        wanted = "<game>.<subsystem>.v<n> of your own, in a-z 0-9 _" if game else "worldbus.<subsystem>.v<n>"
        yield f"{file.name}: wanted a package {wanted}, found {file.package!r}"
    elif reserved := [token for token in file.package.split(".") if iskeyword(token)]:
        yield f"{file.name}: {reserved[0]} in {file.package} is a word of Python: name the package otherwise"
    elif file.name.rpartition("/")[0] != file.package.replace(".", "/"):
        yield f"{file.name}: package {file.package} belongs into the folder {file.package.replace('.', '/')}/"


def _message(message: DescriptorProto, name: str) -> Iterator[str]:
    numbers = [field.number for field in message.field]
    if numbers != sorted(numbers):
        yield f"{name}: declare the fields in the order of their numbers; then both codecs write the same bytes"
    for field in message.field:
        if field.type == FieldDescriptorProto.TYPE_GROUP:
            yield f"{name}.{field.name}: groups are not proto3; use a message"
    for nested in message.nested_type:
        yield from _message(nested, f"{name}.{nested.name}")
    for enum in message.enum_type:
        yield from _enum(enum, f"{name}.{enum.name}")


def _enum(enum: EnumDescriptorProto, name: str) -> Iterator[str]:
    if enum.options.allow_alias:
        yield f"{name}: aliases make protobuf-JSON ambiguous; give each value its own number"
    if not enum.value[0].name.endswith("_UNSPECIFIED"):
        yield f"{name}: the zero value says 'not set' and ends in _UNSPECIFIED, found {enum.value[0].name}"


def _undocumented(described: FileDescriptorSet) -> Iterator[str]:
    for name, text in comments(described).items():
        if name.startswith("worldbus.") and not text:
            yield f"{name}: wanted a comment (meaning, unit, range), found none"


def _doubled(described: FileDescriptorSet) -> Iterator[str]:
    """An event is addressed by its simple name, so that has to be unique among the current versions of all packages."""
    seen: dict[str, str] = {}
    for file in described.file:
        for message in file.message_type if file.package.startswith("worldbus.") else ():
            yield from _second(seen, file, message)


def _doubled_in_a_game(described: FileDescriptorSet, taken: Mapping[str, str]) -> Iterator[str]:
    """The events of a game that are called like one of worldbus's; parts of events may be."""
    seen = dict(taken)
    for file in described.file:
        for message in file.message_type if not file.name.endswith("/types.proto") else ():
            if not message.name.endswith("State"):
                yield from _second(seen, file, message)


def _second(seen: dict[str, str], file: FileDescriptorProto, message: DescriptorProto) -> Iterator[str]:
    full, other = f"{file.package}.{message.name}", seen.setdefault(message.name, file.package)
    if other != file.package and other.rpartition(".")[0] != file.package.rpartition(".")[0]:
        yield f"{full}: the simple name is taken by {other}.{message.name}; simple names are unique over all packages"


def problems(described: FileDescriptorSet, taken: Mapping[str, str] | None = None) -> list[str]:
    """Every broken rule, in the order of the sources; an empty list when all is well.

    `taken` are simple names and their packages, beside which those of a game have to stand; None: the sources are worldbus's own.
    """
    game = taken is not None
    found: list[str] = []
    for file in described.file:
        if not game and file.package in {"google.protobuf", "io.cloudevents.v1"}:
            continue
        found += [*_place(file, game), *_imports(file, game)]
        for message in file.message_type:
            found += _message(message, f"{file.package}.{message.name}")
        for enum in file.enum_type:
            found += _enum(enum, f"{file.package}.{enum.name}")
    return [
        *found,
        *(_undocumented(described) if taken is None else ()),
        *(_doubled(described) if taken is None else _doubled_in_a_game(described, taken)),
    ]
