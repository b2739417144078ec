"""The line on which each key of a TOML file stands, for messages to whoever writes it. The text has been parsed before: it is valid."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Final

Path = tuple[str | int, ...]  # keys, and places in arrays

_GAP: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BLANK: Final = re.compile(r"[ \t]*")
_REST: Final = re.compile(r"[^\n]*")
_KEY: Final = re.compile(r"""[ \t]*("(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[A-Za-z0-9_-]+)[ \t]*""")
_TEXT: Final = re.compile(r'''"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?'{3,5}|"(?:[^"\\\n]|\\.)*"|'[^'\n]*\'''', re.DOTALL)
_BARE: Final = re.compile(r"[^,\]}\n#]*")


def lines(text: str) -> Mapping[Path, int]:
    """The line (the first is 1) of every key, table and element of an array; nothing where the text is nested too deeply to walk."""
    scan = _Scan(text.replace("\r\n", "\n"))
    try:
        scan.walk()
    except RecursionError:
        return {}
    return scan.found


class _Scan:
    """One walk over a text."""

    def __init__(self, text: str) -> None:
        self.found: dict[Path, int] = {}
        self._text = text
        self._at = 0
        self._counted, self._line = 0, 1  # newlines are counted up to here
        self._arrays: dict[Path, int] = {}  # arrays of tables, and the number of their last one

    def walk(self) -> None:
        """Note everything, statement by statement."""
        table: Path = ()
        while self._over(_GAP) is not None and self._at < len(self._text):
            start = self._at
            if self._text.startswith("[", start):
                table = self._header()
            else:
                self._pair(table)
            self._over(_BLANK)
            if self._at == start:  # nothing that we know: leave the line
                self._over(_REST)

    def _header(self) -> Path:
        array = self._text.startswith("[[", self._at)
        self._at += 1 + array
        keys, path = self._keys(), ()  # type: tuple[str, ...], Path
        for key in keys[:-1]:
            self._note((*path, key))
            path = self._last((*path, key))
        path = (*path, *keys[-1:])
        if array:
            self._note(path)
            self._arrays[path] = self._arrays.get(path, -1) + 1
            path = (*path, self._arrays[path])
        self._note(path)
        self._over(_REST)
        return path

    def _last(self, path: Path) -> Path:
        return (*path, self._arrays[path]) if path in self._arrays else path

    def _pair(self, table: Path) -> None:
        keys = self._keys()
        for length in range(1, len(keys) + 1):
            self._note((*table, *keys[:length]))
        if self._text.startswith("=", self._at):
            self._at += 1
            self._value((*table, *keys))

    def _keys(self) -> tuple[str, ...]:
        keys: list[str] = []
        while (match := _KEY.match(self._text, self._at)) is not None:
            keys.append(_plain(match[1]))
            self._at = match.end()
            if not self._text.startswith(".", self._at):
                break
            self._at += 1
        return tuple(keys)

    def _value(self, path: Path) -> None:
        self._over(_BLANK)
        match self._text[self._at : self._at + 1]:
            case "[":
                self._array(path)
            case "{":
                self._inline(path)
            case '"' | "'":
                self._over(_TEXT)
            case _:
                self._over(_BARE)

    def _array(self, path: Path) -> None:
        self._at += 1
        for number in range(len(self._text)):
            self._over(_GAP)
            if self._text[self._at : self._at + 1] in ("]", ""):
                break
            self._note((*path, number))
            self._value((*path, number))
            self._comma()
        self._at += 1

    def _inline(self, path: Path) -> None:
        self._at += 1
        while self._over(_GAP) is not None and self._text[self._at : self._at + 1] not in ("}", ""):
            before = self._at
            self._pair(path)
            self._comma()
            if self._at == before:
                break
        self._at += 1

    def _comma(self) -> None:
        self._over(_GAP)
        if self._text.startswith(",", self._at):
            self._at += 1

    def _over(self, what: re.Pattern[str]) -> str | None:
        match = what.match(self._text, self._at)
        if match is not None:
            self._at = match.end()
        return match and match[0]

    def _note(self, path: Path) -> None:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        self.found.setdefault(path, self._line)


def _plain(key: str) -> str:
    return next(iter(tomllib.loads(f"{key} = 0")))
