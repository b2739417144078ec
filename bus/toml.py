"""Tables that people write (TOML), read so that whatever is wrong with one is told with its file, line and key.

    def load(path: Path) -> Tables:
        return toml.read(path, parse)

    def parse(table: Mapping[str, Any], name: str) -> Tables:
        root = toml.of(table, name)
        skies = {name: sky.into(Sky) for name, sky in root.tables("skies").items()}
        tables = Tables(step_ms=root.value("step_minutes", int) * MINUTE_MS, skies=skies)
        root.refuse(problems(tables))
        return tables

A key that is missing, that nobody knows or that holds something else raises `BadSettings` where it is read:
`worlds/x/weather.toml:17: skies.rain.warmth_c: wanted a number, found 'warm'`. What only the whole table tells (a name that does not exist,
shares that do not add up) is handed to `refuse` as sentences that begin with their key, and gets its line there.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, fields
from difflib import get_close_matches
from functools import cache, cached_property
from pathlib import Path
from types import MappingProxyType, NoneType, UnionType
from typing import Any, Final, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from bus.errors import BadSettings
from bus.toml_lines import Path as Keys
from bus.toml_lines import lines

T = TypeVar("T")
SHOWN: Final = 80  # characters of what was found
KNOWN: Final = 12  # keys that are named
_AT_LINE: Final = re.compile(r" \(at line (\d+), column \d+\)$")
_WORDS: Final[Mapping[Any, str]] = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", NoneType: "nothing"}
_NOTHING: Final = object()


def read(path: Path, parse: Callable[[Mapping[str, Any], str], T]) -> T:
    """The value that `parse` makes of the table in a file and the file's name. Raises `BadSettings`."""
    name = shown(path)
    try:
        text = path.read_text(encoding="utf-8-sig")  # editors on Windows put a mark before the first line
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise BadSettings(f"{name} cannot be read as TOML: {why}", file=name) from error
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        at = _AT_LINE.search(str(error))
        line = int(at[1]) if at else text.count("\n") + 1
        why = _AT_LINE.sub("", str(error)) or type(error).__name__
        raise BadSettings(f"{name}:{line}: cannot be read as TOML: {why}", file=name, line=line) from error
    return parse(_wrap(table, Source(name, table, text), ()), name)


def of(table: Mapping[str, Any], name: str) -> Table:
    """A parsed table of a file called `name`; one that was read from a file keeps its lines."""
    if isinstance(table, Table):
        return table
    if not isinstance(table, Mapping):
        raise BadSettings(f"{name}: wanted a table, found {_short(table)}", file=name)
    found: Table = _wrap(dict(table), Source(name, table), ())
    return found


def shown(path: Path) -> str:
    """A path as people see it: relative to where they are, if it lies below."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


class Source:
    """The file that a table was read from."""

    def __init__(self, name: str, root: Mapping[str, Any], text: str | None = None) -> None:
        self.name = name
        self._root = root
        self._text = text

    @cached_property
    def _lines(self) -> Mapping[Keys, int]:
        return lines(self._text or "")

    def line(self, keys: Keys) -> int:
        """The line of a key, or of the table that it is missing in; 0 without a text."""
        while keys and keys not in self._lines:
            keys = keys[:-1]
        return self._lines.get(keys, 0 if self._text is None else 1)

    def place(self, keys: Keys) -> str:
        """The file and line, as an error begins."""
        line = self.line(keys)
        return f"{self.name}:{line}" if line else self.name

    def find(self, sentence: str, keys: Keys = ()) -> Keys:
        """The key that a sentence begins with: `climates.harbour.spring: next.snow: no such sky`."""
        node: Any = self._root
        for known in keys:
            node = node[known]
        for part in sentence.split(": "):
            word = part.split(" ", 1)[0].strip("'\",")
            for name in word.split("."):
                key = _key(node, name)
                if key is None:
                    return keys
                node, keys = node[key], (*keys, key)
        return keys


def _key(node: Any, name: str) -> str | int | None:
    """The key of a table, or the place of an element in an array, by its number or its name."""
    if isinstance(node, Mapping):
        return name if name in node else None
    if not isinstance(node, list):
        return None
    if name.isascii() and name.isdigit() and int(name) < len(node):
        return int(name)
    return next((at for at, one in enumerate(node) if isinstance(one, Mapping) and name in (one.get("name"), one.get("key"))), None)


class Table(dict[str, Any]):
    """A table, and its place in a file."""

    __slots__ = ("path", "source")

    def __init__(self, values: Mapping[str, Any], source: Source, keys: Keys) -> None:
        super().__init__(values)
        self.source = source
        self.path = keys

    def __missing__(self, key: str) -> NoReturn:
        self.missing(key, "this key")

    def value(self, key: str, kind: Any, default: Any = _NOTHING) -> Any:
        """The value of `key`, which has to be a `kind` (a type, or a hint of one); a list becomes the hint's collection."""
        if key not in self:
            if default is not _NOTHING:
                return default
            self.missing(key, words(kind))
        return _fitted(self, key, self[key], kind)

    def table(self, key: str, *, optional: bool = False) -> Table:
        """The table that `key` holds; an empty one if that may be missing."""
        if key not in self:
            if optional:
                return Table({}, self.source, (*self.path, key))
            self.missing(key, "a table")
        found = self[key]
        return found if isinstance(found, Table) else self.wrong(key, "a table", found)

    def tables(self, key: str, *, optional: bool = False) -> dict[str, Table]:
        """The tables in the table that `key` holds, by name."""
        inner = self.table(key, optional=optional)
        return {name: inner.table(name) for name in inner}

    def rows(self, key: str, *, optional: bool = False) -> tuple[Table, ...]:
        """The tables in the array that `key` holds, in their order."""
        if key not in self:
            if optional:
                return ()
            self.missing(key, "an array of tables")
        found = self[key]
        if not isinstance(found, list):
            self.wrong(key, "an array of tables", found)
        for number, one in enumerate(found):
            if not isinstance(one, Table):
                self._refuse((*self.path, key, number), f"wanted a table, found {_short(one)}")
        return tuple(found)

    def into(self, kind: type[T], /, *, renamed: Mapping[str, str] = MappingProxyType({}), **given: Any) -> T:
        """A dataclass of what the table holds.

        `given` are fields that were made elsewhere; `renamed` says for a field which key writes it, and an empty one that none does.
        """
        shape: Any = kind
        hints, needed = _hints(shape), _needed(shape)
        written = {field: field for field in hints} | dict(renamed)
        self.only(*filter(None, written.values()))
        values = {
            field: self.value(key, hints[field]) for field, key in written.items() if field not in given and (needed[field] or key in self)
        }
        return kind(**values, **given)

    def without(self, *keys: str) -> Table:
        """The same table as seen by whoever does not know these keys."""
        return Table({key: value for key, value in self.items() if key not in keys}, self.source, self.path)

    def only(self, *known: str) -> None:
        """Refuse keys that are none of these: a name with a typo would be passed over."""
        for key in self:
            if key not in known:
                self._refuse((*self.path, key), f"wanted one of {_some(known)}, found a key that nobody reads{_meant(key, known)}")

    def missing(self, key: str, what: str) -> NoReturn:
        """Refuse the table for want of a key."""
        found = f"no such key beside {_some(self)}" if self else "an empty table"
        self._refuse((*self.path, key), f"wanted {what}, found {found}{_meant(key, self)}")

    def wrong(self, key: str, wanted: str, found: object) -> NoReturn:
        """Refuse what a key holds."""
        self._refuse((*self.path, key), f"wanted {wanted}, found {_short(found)}")

    def refuse(self, problems: Iterable[str]) -> None:
        """Refuse the table if there are problems: sentences for people, each of which begins with its key, as seen from this table.

        They are told together, each with its line. Raises `BadSettings`.
        """
        found = list(problems)
        if not found:
            return
        places = [self.source.find(problem, self.path) for problem in found]
        inside = f"{dotted(self.path)}." if self.path else ""
        told = [f"{self.source.place(keys)}: {inside}{problem}" for keys, problem in zip(places, found, strict=True)]
        raise BadSettings(
            "; ".join(told),
            file=self.source.name,
            line=self.source.line(places[0]),
            key=dotted(places[0]),
            problems=tuple(found),
        )

    def _refuse(self, keys: Keys, problem: str) -> NoReturn:
        key = dotted(keys)
        place = self.source.place(keys)
        raise BadSettings(
            f"{place}: {key}: {problem}",
            file=self.source.name,
            line=self.source.line(keys),
            key=key,
            problems=(problem,),
        )


def _wrap(value: Any, source: Source, keys: Keys) -> Any:
    if isinstance(value, dict):
        return Table({key: _wrap(one, source, (*keys, key)) for key, one in value.items()}, source, keys)
    if isinstance(value, list):
        return [_wrap(one, source, (*keys, number)) for number, one in enumerate(value)]
    return value


def _fitted(table: Table, key: str, value: Any, kind: Any) -> Any:
    try:
        fitted = msgspec.convert(_plain(value), kind)
        return value if isinstance(value, int) else fitted  # 2 stays 2 where a number is wanted: the hash of the rules tells it from 2.0
    except msgspec.ValidationError:
        keys, part, hint = _blame((*table.path, key), value, kind)
        table._refuse(keys, f"wanted {words(hint)}, found {_short(part)}")


def _blame(keys: Keys, value: Any, kind: Any) -> tuple[Keys, Any, Any]:
    """The innermost part of a value that is not what a hint says."""
    for key, part, hint in _parts(value, kind):
        try:
            msgspec.convert(_plain(part), hint)
        except msgspec.ValidationError:
            return _blame((*keys, key), part, hint)
    return keys, value, kind


def _parts(value: Any, kind: Any) -> Iterable[tuple[str | int, Any, Any]]:
    origin, hints = get_origin(kind), get_args(kind)
    if isinstance(value, dict) and isinstance(origin, type) and issubclass(origin, Mapping):
        return [(key, one, hints[1]) for key, one in value.items()]
    if isinstance(value, list) and origin is tuple and hints[1:] != (...,):
        return (
            [(number, one, hint) for number, (one, hint) in enumerate(zip(value, hints, strict=False))] if len(value) == len(hints) else ()
        )
    if isinstance(value, list) and hints and origin in (tuple, list, frozenset, set):
        return [(number, one, hints[0]) for number, one in enumerate(value)]
    return ()


def _plain(value: Any) -> Any:
    """Without places: what is kept of a table must not keep its file."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list) else value


def words(kind: Any) -> str:
    """A type, as designers call it."""
    origin, hints = get_origin(kind), get_args(kind)
    if kind in _WORDS:
        return _WORDS[kind]
    if origin in (Union, UnionType):
        return " or ".join(words(hint) for hint in hints if hint is not NoneType)
    if origin is tuple and hints[1:] != (...,):
        return f"an array of {len(hints)}: {', '.join(map(words, hints))}"
    if origin in (tuple, list, frozenset, set):
        return f"an array with {words(hints[0])} in each place"
    if len(hints) == 2:
        return f"a table with {words(hints[1])} for each key"
    return "a table"


@cache
def _hints(kind: Any) -> Mapping[str, Any]:
    hints = get_type_hints(kind)
    return {one.name: hints[one.name] for one in fields(kind) if one.init}


@cache
def _needed(kind: Any) -> Mapping[str, bool]:
    return {one.name: one.default is MISSING and one.default_factory is MISSING for one in fields(kind) if one.init}


def _some(known: Iterable[str]) -> str:
    names = sorted(known)
    return ", ".join(names[:KNOWN]) + (f" and {len(names) - KNOWN} more" if len(names) > KNOWN else "")


def _meant(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), n=1)
    return f": did you mean {close[0]}?" if close else ""


def _short(value: object) -> str:
    text = repr(_plain(value))
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def dotted(keys: Keys) -> str:
    """A key with the tables that it is in."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).removeprefix(".")
