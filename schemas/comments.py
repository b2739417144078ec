"""Comments of .proto sources by full name, so that documents need no compiler."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet

Path = tuple[int, ...]

FILE_MESSAGES, FILE_ENUMS = 4, 5  # field numbers in descriptor.proto, which source locations are made of
MESSAGE_FIELDS, MESSAGE_MESSAGES, MESSAGE_ENUMS, ENUM_VALUES = 2, 3, 4, 2
PACKAGE = (2,)
SYNTAX = (12,)


def _enum(enum: EnumDescriptorProto, name: str, path: Path) -> Iterator[tuple[str, Path]]:
    yield name, path
    for index, value in enumerate(enum.value):
        yield f"{name}.{value.name}", (*path, ENUM_VALUES, index)


def _message(message: DescriptorProto, name: str, path: Path) -> Iterator[tuple[str, Path]]:
    if message.options.map_entry:
        return
    yield name, path
    for index, field in enumerate(message.field):
        yield f"{name}.{field.name}", (*path, MESSAGE_FIELDS, index)
    for index, nested in enumerate(message.nested_type):
        yield from _message(nested, f"{name}.{nested.name}", (*path, MESSAGE_MESSAGES, index))
    for index, enum in enumerate(message.enum_type):
        yield from _enum(enum, f"{name}.{enum.name}", (*path, MESSAGE_ENUMS, index))


def names(file: FileDescriptorProto) -> Iterator[tuple[str, Path]]:
    """Every message, field, enum and enum value of a file with its place in the file's source information; first the file itself."""
    yield file.name, SYNTAX
    for index, message in enumerate(file.message_type):
        yield from _message(message, f"{file.package}.{message.name}", (FILE_MESSAGES, index))
    for index, enum in enumerate(file.enum_type):
        yield from _enum(enum, f"{file.package}.{enum.name}", (FILE_ENUMS, index))


def _tidy(text: str) -> str:
    return "\n".join(line.strip() for line in text.strip().splitlines())


def comments(described: FileDescriptorSet) -> dict[str, str]:
    """Full name → comment, for everything in our own files; without a comment the empty string.

    A file's own comment stands above its `syntax`.
    """
    found: dict[str, str] = {}
    for file in described.file:
        if file.package.startswith("google."):
            continue
        said = {tuple(place.path): _tidy(place.leading_comments or place.trailing_comments) for place in file.source_code_info.location}
        found |= {name: said.get(path, "") for name, path in names(file)}
    return found
