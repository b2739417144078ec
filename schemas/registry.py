"""Every generated message by name.

An **event** is a top-level message of a package `worldbus.<subsystem>.v<n>`, except those in a file named `types.proto` (parts that events
are made of) and those whose name ends in `State` (snapshots). Simple names are unique over all subsystems; among the versions of one
subsystem the simple name means the highest. All modules below `schemas/gen` are loaded on import, so every look-up is one dict access.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

from google.protobuf.message import Message

from schemas.errors import UnknownMessage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from google._upb._message import Descriptor as FastDescriptor
    from google.protobuf.descriptor import Descriptor, FileDescriptor

    AnyDescriptor = Descriptor | FastDescriptor  # the stubs of protobuf name both

GEN: Final = Path(__file__).parent / "gen"
_PACKAGE: Final = re.compile(r"worldbus\.(?P<subsystem>\w+)\.v(?P<version>\d+)")


def _modules() -> Iterator[ModuleType]:
    for path in sorted(GEN.rglob("*_pb2.py")):
        yield import_module("schemas.gen." + ".".join(path.relative_to(GEN).with_suffix("").parts))


def _classes(holder: ModuleType | type[Message], descriptor: FileDescriptor | Descriptor) -> Iterator[type[Message]]:
    nested = descriptor.message_types_by_name if hasattr(descriptor, "message_types_by_name") else descriptor.nested_types_by_name
    for name, inner in nested.items():
        if not inner.GetOptions().map_entry:
            cls: type[Message] = getattr(holder, name)
            yield cls
            yield from _classes(cls, inner)


def is_event(descriptor: AnyDescriptor) -> bool:
    """Whether a message may be said on the bus, by the rule at the top of this file."""
    return (
        descriptor.containing_type is None
        and _PACKAGE.fullmatch(descriptor.file.package) is not None
        and not descriptor.file.name.endswith("/types.proto")
        and not descriptor.name.endswith("State")
    )


def _version(package: str) -> int:
    found = _PACKAGE.fullmatch(package)
    return int(found["version"]) if found else 0


_MESSAGES: Final[dict[str, type[Message]]] = {
    cls.DESCRIPTOR.full_name: cls for module in _modules() for cls in _classes(module, module.DESCRIPTOR)
}
_EVENTS: Final = tuple(cls for _, cls in sorted(_MESSAGES.items()) if is_event(cls.DESCRIPTOR))
_SIMPLE: Final[dict[str, str]] = {
    cls.DESCRIPTOR.name: cls.DESCRIPTOR.full_name for cls in sorted(_EVENTS, key=lambda cls: _version(cls.DESCRIPTOR.file.package))
}


_FIRST: Final[dict[str, str]] = {
    cls.DESCRIPTOR.name: cls.DESCRIPTOR.full_name
    for cls in sorted(_EVENTS, key=lambda cls: _version(cls.DESCRIPTOR.file.package), reverse=True)
}


def message_class(name: str) -> type[Message]:
    """The class of a full protobuf name. Raises `UnknownMessage` (a KeyError) with the nearest names."""
    try:
        return _MESSAGES[name]
    except KeyError:
        raise UnknownMessage(name, suggestions(name)) from None


def by_name(name: str) -> str:
    """The full name of an event, given its full or simple name. Raises `UnknownMessage` (a KeyError) with the nearest names."""
    if name in _SIMPLE:
        return _SIMPLE[name]
    if name in _MESSAGES and is_event(_MESSAGES[name].DESCRIPTOR):
        return name
    raise UnknownMessage(name, suggestions(name))


def first_version(simple: str) -> str:
    """The full name of an event's first version, given its simple name, or nothing. It stays the same when a version is added."""
    return _FIRST.get(simple, "")


def suggestions(name: str) -> tuple[str, ...]:
    """At most three known event names that look like `name`: full ones for a dotted name, simple ones otherwise. Case does not matter."""
    known = {cls.DESCRIPTOR.full_name if "." in name else cls.DESCRIPTOR.name for cls in _EVENTS}
    folded = {full.lower(): full for full in sorted(known)}
    near = get_close_matches(name.lower(), folded, n=3, cutoff=0.6) or get_close_matches(
        name.rpartition(".")[2].lower(), folded, n=3, cutoff=0.6
    )
    return tuple(folded[one] for one in near)


def all_events() -> tuple[type[Message], ...]:
    """Every event class of every version, sorted by full name."""
    return _EVENTS


def all_messages() -> tuple[type[Message], ...]:
    """Every generated message class, nested ones included, sorted by full name."""
    return tuple(cls for _, cls in sorted(_MESSAGES.items()))


def full_name(cls: type[Message]) -> str:
    """The full protobuf name of a class."""
    return cls.DESCRIPTOR.full_name


def subsystem(cls: type[Message]) -> str:
    """The subsystem whose package declares a message: `weather` for worldbus.weather.v1.WeatherChanged."""
    found = _PACKAGE.fullmatch(cls.DESCRIPTOR.file.package)
    return found["subsystem"] if found else ""
