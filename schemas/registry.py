"""Every known message by name: those of worldbus, and those of the packages that a game adds.

An **event** is a top-level message of a package `<anything>.<subsystem>.v<n>`, except those in a file named `types.proto` (parts that
events are made of) and those whose name ends in `State` (snapshots). Simple names are unique over all subsystems; among the versions of one
subsystem the simple name means the highest. All modules below `schemas/gen` are loaded on import, and a look-up is one dict access.

    registry.add("spaceport.gen")  # every *_pb2 module of that Python package
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final, NamedTuple

from google.protobuf.message import Message

from schemas import late
from schemas.errors import BadPackage, UnknownMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from google._upb._message import Descriptor as FastDescriptor
    from google.protobuf.descriptor import Descriptor, FileDescriptor

    AnyDescriptor = Descriptor | FastDescriptor  # the stubs of protobuf name both

GEN: Final = Path(__file__).parent / "gen"
OURS: Final = "schemas.gen"
_PACKAGE: Final = re.compile(r"(?P<family>(?:\w+\.)+(?P<subsystem>\w+))\.v(?P<version>\d+)", re.ASCII)
_NO_EVENTS: Final = ("google.", "io.cloudevents.")


class Package(NamedTuple):
    """The parts of a package's name.

    family     the name without its version: versions of one family share simple names
    subsystem  the last token of the family
    version    1, 2, 3 and so on
    """

    family: str
    subsystem: str
    version: int


_NONE: Final = Package("", "", 0)


def package(name: str) -> Package:
    """The parts of a package's name; empty ones for a package that holds no events."""
    found = None if name.startswith(_NO_EVENTS) else _PACKAGE.fullmatch(name)
    return Package(found["family"], found["subsystem"], int(found["version"])) if found else _NONE


def is_event(descriptor: AnyDescriptor) -> bool:
    """Return whether a message may be published on the bus, by the rule at the top of this file."""
    return (
        descriptor.containing_type is None
        and package(descriptor.file.package) is not _NONE
        and not descriptor.file.name.endswith("/types.proto")
        and not descriptor.name.endswith("State")
    )


_messages: Final[dict[str, type[Message]]] = {}
_events: Final[list[type[Message]]] = []  # by full name
_newest: Final[dict[str, str]] = {}  # simple name -> full name
_first: Final[dict[str, str]] = {}
_folders: Final[dict[Path, None]] = {}  # of generated code, as they were added
_caches: Final[list[Callable[[], object]]] = []


def add(*packages: ModuleType | str) -> tuple[type[Message], ...]:
    """Make the messages of generated modules known: each argument is a module, a Python package of such, or the name of one.

    Returns their events. Adding again changes nothing. Raises `BadPackage`, and adds none, for what cannot be imported, holds no event, or
    takes a simple name that another subsystem has.
    """
    modules = {module.__name__: module for one in packages for module in _generated(one)}
    found = {cls.DESCRIPTOR.full_name: cls for module in modules.values() for cls in _classes(module, module.DESCRIPTOR)}
    _check(found)
    if not found.keys() <= _messages.keys():
        _take(found, modules.values())
    return tuple(cls for cls in _events if cls.DESCRIPTOR.full_name in found)


def _take(found: Mapping[str, type[Message]], modules: Iterable[ModuleType]) -> None:
    _messages.update(found)
    _events[:] = (cls for _, cls in sorted(_messages.items()) if is_event(cls.DESCRIPTOR))
    rising = sorted(_events, key=lambda cls: package(cls.DESCRIPTOR.file.package).version)
    _newest.update({cls.DESCRIPTOR.name: cls.DESCRIPTOR.full_name for cls in rising})
    _first.update({cls.DESCRIPTOR.name: cls.DESCRIPTOR.full_name for cls in reversed(rising)})
    _folders.update(dict.fromkeys(map(_folder, modules)))
    for clear in _caches:
        clear()


def made_of_it(clear: Callable[[], object]) -> None:
    """Call `clear` whenever packages are added: for caches that are made of what is known here."""
    _caches.append(clear)


def _generated(given: ModuleType | str) -> Iterator[ModuleType]:
    """The modules that protoc made: `given`, or those below it."""
    module = _imported(given) if isinstance(given, str) else given
    if hasattr(module, "DESCRIPTOR"):
        found = [module]
    else:
        folders = [Path(one) for one in getattr(module, "__path__", ())]
        paths = [path.relative_to(folder).with_suffix("") for folder in folders for path in sorted(folder.rglob("*_pb2.py"))]
        found = [_imported(".".join((module.__name__, *path.parts))) for path in paths]
    if not any(package(one.DESCRIPTOR.package) is not _NONE for one in found):
        held = ", ".join(sorted({one.DESCRIPTOR.package for one in found})) or "no *_pb2.py"
        raise BadPackage(f"wanted a module of events, of a package <game>.<subsystem>.v<n>, as {module.__name__}, found {held} in it")
    yield from found


def _imported(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(error.name + ".")):
            raise
        raise BadPackage(
            f"wanted a package of events as {name}, found no module {error.name}: generate it (`worldbus proto`), or name another"
        ) from error
    except TypeError as error:  # protobuf's own word for two files that declare the same
        raise BadPackage(f"{name} declares what another loaded module declares otherwise: {error}") from error


def _classes(holder: ModuleType | type[Message], descriptor: FileDescriptor | Descriptor) -> Iterator[type[Message]]:
    nested = descriptor.message_types_by_name if hasattr(descriptor, "message_types_by_name") else descriptor.nested_types_by_name
    for name, inner in nested.items():
        if not inner.GetOptions().map_entry:
            cls: type[Message] = getattr(holder, name)
            yield cls
            yield from _classes(cls, inner)


def _check(found: dict[str, type[Message]]) -> None:
    """Raise `BadPackage` where these cannot be added to what is known."""
    holders: dict[str, str] = {cls.DESCRIPTOR.name: cls.DESCRIPTOR.full_name for cls in _events}
    for name, cls in sorted(found.items()):
        known = _messages.get(name, cls)
        if known is not cls:
            raise BadPackage(f"wanted one class for {name}, found two: of {known.__module__} and of {cls.__module__}; generate it once")
        if name.startswith("worldbus.") and not cls.__module__.startswith(f"{OURS}."):
            raise BadPackage(
                f"packages worldbus.* are worldbus's own, found {name} in {cls.__module__}: give the package a name of its own"
            )
        if is_event(cls.DESCRIPTOR):
            holder = holders.setdefault(cls.DESCRIPTOR.name, name)
            if package(holder.rpartition(".")[0]).family != package(cls.DESCRIPTOR.file.package).family:
                raise BadPackage(
                    f"wanted simple names of events that are unique over all subsystems, found {cls.DESCRIPTOR.name} twice: "
                    f"{holder} and {name}; rename one"
                )


def _folder(module: ModuleType) -> Path:
    """The folder below which a module was generated."""
    depth: int = module.DESCRIPTOR.name.count("/")
    return Path(module.__file__ or ".").parents[depth]


def knows(cls: type[Message]) -> bool:
    """Return whether this class of messages was added."""
    return _messages.get(cls.DESCRIPTOR.full_name) is cls


def message_class(name: str) -> type[Message]:
    """The class of a full protobuf name. Raises `UnknownMessage` (a KeyError) with the nearest names."""
    try:
        return _messages[name]
    except KeyError:
        if late.load():
            return message_class(name)
        raise UnknownMessage(name, suggestions(name)) from None


def by_name(name: str) -> str:
    """The full name of an event, given its full or simple name. Raises `UnknownMessage` (a KeyError) with the nearest names."""
    if name in _newest:
        return _newest[name]
    if name in _messages and is_event(_messages[name].DESCRIPTOR):
        return name
    if late.load():
        return by_name(name)
    raise UnknownMessage(name, suggestions(name))


def first_version(simple: str) -> str:
    """The full name of an event's first version, given its simple name, or nothing. It stays the same when a version is added."""
    if simple not in _first and late.load():
        return first_version(simple)
    return _first.get(simple, "")


def suggestions(name: str) -> tuple[str, ...]:
    """At most three known event names that look like `name`: full ones for a dotted name, simple ones otherwise. Case does not matter."""
    known = {cls.DESCRIPTOR.full_name if "." in name else cls.DESCRIPTOR.name for cls in _events}
    folded = {full.lower(): full for full in sorted(known)}
    near = get_close_matches(name.lower(), folded, n=3, cutoff=0.6) or get_close_matches(
        name.rpartition(".")[2].lower(), folded, n=3, cutoff=0.6
    )
    return tuple(folded[one] for one in near)


def all_events() -> tuple[type[Message], ...]:
    """Every event class of every version, sorted by full name."""
    return tuple(_events)


def all_messages() -> tuple[type[Message], ...]:
    """Every known message class, nested ones included, sorted by full name."""
    return tuple(cls for _, cls in sorted(_messages.items()))


def folders() -> Iterable[Path]:
    """The folders of generated code whose messages are known, those of worldbus first."""
    return tuple(_folders)


def full_name(cls: type[Message]) -> str:
    """The full protobuf name of a class."""
    return cls.DESCRIPTOR.full_name


def subsystem(cls: type[Message]) -> str:
    """The subsystem whose package declares a message: `weather` for worldbus.weather.v1.WeatherChanged."""
    return package(cls.DESCRIPTOR.file.package).subsystem


def is_ours(cls: type[Message]) -> bool:
    """Return whether worldbus declares a message, and not a game."""
    return cls.__module__.startswith(f"{OURS}.")


add(OURS)
