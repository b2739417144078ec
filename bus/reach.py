"""The reach of some values by the code that they refer to, as one digest: see bus/rules.py for what counts.

Functions and classes are nodes, each known once; everything else is data, which counts by its structure and not by its identity.
"""

from __future__ import annotations

import functools
import re
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import MISSING, Field
from enum import Enum
from hashlib import blake2b
from importlib import import_module, metadata
from inspect import get_annotations
from pathlib import Path
from types import (
    BuiltinFunctionType,
    CellType,
    FunctionType,
    GenericAlias,
    GetSetDescriptorType,
    MappingProxyType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
    UnionType,
)
from typing import Any, Final, NamedTuple

from google.protobuf.message import Message

from bus.code_digest import code_of, constant_token

OURS: Final = frozenset({"bus", "handlers", "inference", "projections", "schemas", "worldbus", "worlds"})
"""Packages that count by their code also where they are installed."""

_INSTALLED: Final = re.compile(r"[/\\](site|dist)-packages[/\\]")
_STANDARD: Final = sys.stdlib_module_names
_SCALARS: Final = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis))
_NOT_RULES: Final = frozenset({"__getstate__", "__setstate__", "__replace__", "__annotate__", "__annotate_func__", "_abc_impl"})
"""Attributes of classes that Python makes, or that say nothing of what happens."""
_METHODS: Final = (FunctionType, property, classmethod, staticmethod)
_DEEPEST: Final = 60  # nested data


class _Node(NamedTuple):
    token: bytes
    refers: tuple[object, ...]


class _Data(NamedTuple):
    value: object  # held, so that its identity stays its own
    token: bytes
    refers: tuple[object, ...]


class Reach:
    """A walk that remembers what it has seen. Lives on one thread."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self._nodes: dict[int, tuple[object, _Node]] = {}
        self._known: dict[int, _Data] = {}
        self._firsts: set[str] = set()

    def __len__(self) -> int:
        return len(self._nodes) + len(self._known)

    def digest(self, roots: tuple[object, ...]) -> bytes:
        """The digest of all that `roots` reach, in the order in which it is reached."""
        self._count_as_ours(roots)
        hashed = blake2b(self._data(roots)[0], digest_size=16)
        for _, node in self._walk(roots):
            hashed.update(node.token)
        return hashed.digest()

    def values(self, roots: tuple[object, ...]) -> list[object]:
        """The functions and classes that `roots` reach."""
        self._count_as_ours(roots)
        return [value for value, _ in self._walk(roots)]

    def _walk(self, roots: tuple[object, ...]) -> Iterator[tuple[object, _Node]]:
        seen: set[int] = set()
        waiting = deque(self._data(roots)[1])
        while waiting:
            value = waiting.popleft()
            if id(value) not in seen:
                seen.add(id(value))
                node = self._node(value)
                yield value, node
                waiting.extend(node.refers)

    def _count_as_ours(self, roots: Iterable[object]) -> None:
        """A handler's own package counts by its code wherever it is installed."""
        firsts = {_top(root) for root in map(_unwrapped, roots) if isinstance(root, FunctionType)} - _STANDARD - {"", "google"}
        if not firsts <= self._firsts:
            known = self._firsts | firsts
            self.forget()  # what was passed over is to be looked at
            self._firsts = known

    # -- functions and classes -----------------------------------------------------------------------------------------------------

    def _node(self, value: object) -> _Node:
        found = self._nodes.get(id(value))
        if found is None:
            node = self._class(value) if isinstance(value, type) else self._function(value)
            self._nodes[id(value)] = found = value, node
        return found[1]

    def _function(self, function: Any) -> _Node:
        code = code_of(function.__code__)
        refers: list[object] = []
        hashed = blake2b(b"function" + code.digest, digest_size=16)
        for part in (function.__defaults__, function.__kwdefaults__, function.__closure__):
            hashed.update(self._token(part, refers))
        for name in code.globals:
            value = function.__globals__.get(name, MISSING)
            if value is not MISSING:  # else it is a builtin
                hashed.update(name.encode() + self._named(value, code.names, refers))
        for name in code.imports:
            hashed.update(name.encode() + self._named(_imported(name, function.__globals__), code.names, refers))
        wrapped = getattr(function, "__wrapped__", None)
        if wrapped is not None:
            hashed.update(self._token(wrapped, refers))
        return _Node(hashed.digest(), tuple(refers))

    def _named(self, value: object, names: Iterable[str], refers: list[object], depth: int = 0) -> bytes:
        """The meaning of a global name; of a module of ours, the attributes that the code may mean."""
        if not isinstance(value, ModuleType):
            return self._token(value, refers)
        if not self._is_ours(value.__name__):
            return _outside(value.__name__)
        parts = [b"module:" + value.__name__.encode()]
        for name in names if depth < 4 else ():
            attribute = vars(value).get(name, MISSING)
            if attribute is not MISSING and attribute is not value:
                parts.append(name.encode() + self._named(attribute, names, refers, depth + 1))
        return b"|".join(parts)

    def _class(self, cls: Any) -> _Node:
        refers: list[object] = []
        hashed = blake2b(f"class {cls.__module__}.{cls.__qualname__}".encode(), digest_size=16)
        for base in cls.__bases__:
            hashed.update(self._token(base, refers))
        fields: dict[str, Field[Any]] = cls.__dict__.get("__dataclass_fields__", {})
        for field in fields.values():
            hashed.update(self._token((field.default, field.default_factory), refers))
        for name, kind in get_annotations(cls).items():
            hashed.update(f"{name}:{_spelled(kind)}".encode())
        if issubclass(cls, Enum):
            hashed.update(self._token({name: member.value for name, member in cls.__members__.items()}, refers))
        for name, attribute in sorted(_rules_of(cls, fields)):
            hashed.update(name.encode() + self._token(attribute, refers))
        return _Node(hashed.digest(), tuple(refers))

    def _is_ours(self, module: str) -> bool:
        top = module.partition(".")[0]
        return top in OURS or top in self._firsts or _is_loose(top)

    # -- data ----------------------------------------------------------------------------------------------------------------------

    def _token(self, value: object, refers: list[object]) -> bytes:
        token, more = self._data(value)
        refers += more
        return token

    def _data(self, value: object, depth: int = 0) -> tuple[bytes, tuple[object, ...]]:
        if isinstance(value, _SCALARS) and type(value) in _SCALARS:
            return constant_token(value), ()
        known = self._known.get(id(value))
        if known is not None:
            return known.token, known.refers
        if depth > _DEEPEST:
            return b"deeper", ()
        token, refers = self._look(value, depth)
        self._known[id(value)] = _Data(value, token, refers)
        return token, refers

    def _look(self, value: Any, depth: int) -> tuple[bytes, tuple[object, ...]]:
        if isinstance(value, FunctionType):
            if not self._is_ours(value.__module__ or ""):
                return _outside(value.__module__, value.__qualname__), ()
            return f"function {value.__qualname__}".encode(), (value,)
        if isinstance(value, type):
            return self._type(value)
        refers: list[object] = []
        hashed = blake2b(f"{type(value).__module__}.{type(value).__qualname__}".encode(), digest_size=16)
        self._known[id(value)] = _Data(value, b"again", ())  # while it is looked at: data may hold itself
        for part in self._parts(value, refers):
            token, more = self._data(part, depth + 1)
            hashed.update(token)
            refers += more
        return hashed.digest(), tuple(refers)

    def _type(self, cls: Any) -> tuple[bytes, tuple[object, ...]]:
        if issubclass(cls, Message):
            return b"message " + cls.DESCRIPTOR.full_name.encode() if cls is not Message else b"message", ()
        if not self._is_ours(cls.__module__):
            return _outside(cls.__module__, cls.__qualname__), ()
        return f"class {cls.__module__}.{cls.__qualname__}".encode(), (cls,)

    def _parts(self, value: Any, refers: list[object]) -> Iterator[object]:
        """Of what a value consists, in an order that is the same in every process."""
        match value:
            case functools.partial():
                yield from (value.func, value.args, value.keywords)
            case MethodType():
                yield from (value.__func__, value.__self__)
            case property():
                yield from (value.fget, value.fset, value.fdel)
            case classmethod() | staticmethod():
                yield value.__func__
            case functools.cached_property():
                yield value.func
            case CellType():
                yield _content(value)
            case Enum():
                yield from (type(value), value.name)
            case tuple() | list() | deque():
                yield from value
                if _has_methods(type(value)):
                    yield type(value)
            case Mapping() | MappingProxyType():
                for key, one in value.items():
                    yield from (key, one)
            case Set():
                yield from sorted(value, key=_order)
            case Message():
                yield value.SerializeToString(deterministic=True)
            case re.Pattern():
                yield from (value.pattern, value.flags)
            case GenericAlias() | UnionType():
                yield str(value)
            case ModuleType() | BuiltinFunctionType():
                yield f"{getattr(value, '__module__', '')}.{value.__name__}"
            case _ if isinstance(wrapped := getattr(value, "__wrapped__", None), Callable):  # type: ignore[arg-type]
                yield wrapped
            case _ if self._is_ours(type(value).__module__):
                yield type(value)
                yield from _fields(value)
            case _:
                yield from _reduced(value)


def _rules_of(cls: Any, fields: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """The attributes of a class that say what happens: not those that Python or a dataclass made, nor slots."""
    for name, attribute in vars(cls).items():
        if name in _NOT_RULES or name in fields or isinstance(attribute, (MemberDescriptorType, GetSetDescriptorType)):
            continue
        if name.startswith("__") and not isinstance(attribute, _METHODS):
            continue  # Python's own, or what a library keeps there once it has met the class
        if isinstance(attribute, FunctionType) and attribute.__code__.co_filename.startswith("<"):
            continue
        if issubclass(cls, Enum) and (name in cls.__members__ or name.startswith("_")):
            continue
        yield name, attribute


def _spelled(kind: object) -> str:
    """An annotation as it was written: what it stands for may have been looked up since, and be kept in it."""
    return str(getattr(kind, "__forward_arg__", None) or getattr(kind, "__qualname__", None) or kind)


def _imported(name: str, globals_: Mapping[str, Any]) -> object:
    """The module that a function imports when it runs, by its name or relative to the function's package."""
    if name.partition(".")[0] in _STANDARD:
        return sys.modules.get(name, name)
    for full in (name, f"{globals_.get('__package__')}.{name}"):
        try:
            return import_module(full)
        except ImportError:
            continue
    return "nothing"


def _unwrapped(value: Any) -> object:
    while isinstance(value, functools.partial):
        value = value.func
    return getattr(value, "__func__", value)


def _top(value: Any) -> str:
    return str(value.__module__ or "").partition(".")[0]


def _content(cell: CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # not bound yet
        return "empty"


def _has_methods(cls: type) -> bool:
    return cls not in (tuple, list, deque)


def _order(value: object) -> tuple[str, str]:
    if isinstance(value, (type, FunctionType)):
        return "", f"{value.__module__}.{value.__qualname__}"
    return type(value).__qualname__, repr(value)


def _fields(value: Any) -> Iterator[object]:
    """The attributes of an object by name; what a cached property computed is none."""
    kinds = type(value).__mro__
    slots = {name for kind in kinds for name in _slots(kind)}
    names = slots | set(getattr(value, "__dict__", ()))
    for name in sorted(names - {"__dict__", "__weakref__"}):
        if not any(isinstance(vars(kind).get(name), functools.cached_property) for kind in kinds):
            yield from (name, getattr(value, name, "unset"))


def _slots(kind: type) -> Iterable[str]:
    slots = vars(kind).get("__slots__", ())
    return (slots,) if isinstance(slots, str) else slots


def _reduced(value: object) -> Iterator[object]:
    """The parts of an object of somebody else's type, as far as it tells; locks, generators and the like tell nothing."""
    try:
        reduced = value.__reduce_ex__(2)
    except Exception:
        return
    if isinstance(reduced, str):
        yield reduced
        return
    yield from (part for part in reduced[1:3] if not isinstance(part, type))


@functools.cache
def _is_loose(top: str) -> bool:
    """Return whether a package is neither Python's own nor installed: a script, or a game in its source tree."""
    if top in _STANDARD or not top:
        return False
    module = sys.modules.get(top)
    file = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)
    return module is not None and (file is None or not _INSTALLED.search(str(Path(file))))


def _outside(module: str | None, name: str = "") -> bytes:
    return f"{module}.{name}@{_version((module or '').partition('.')[0])};".encode()


@functools.cache
def _version(top: str) -> str:
    if top in _STANDARD:
        return f"{sys.version_info[0]}.{sys.version_info[1]}"
    try:
        return metadata.version({"google": "protobuf"}.get(top, top))
    except metadata.PackageNotFoundError:
        return str(getattr(sys.modules.get(top), "__version__", ""))
