"""The files of a game, and which of them changed since the last look: by time and size, then by content (docs/adr/0116).

They are looked at a few times a second: that works in every container and on every file system. A folder is listed again when its own time
says that something came or went; otherwise its files alone are asked.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from stat import S_ISDIR
from typing import Final

LOOK_S: Final = 0.2  # between two looks
SETTLE_S: Final = 0.05  # quiet for so long: whoever saves has saved everything
FRESH_NS: Final = 1_000_000_000  # a folder that changed so lately may change again without another time
_LEFT_OUT: Final = frozenset({"__pycache__", "node_modules"})
_UNFINISHED: Final = ("~", ".swp", ".swx", ".tmp", ".bak", ".pyc", ".orig", ".rej")
_VIM_TRIES: Final = "4913"  # a name that it makes to see whether it may

Stamp = tuple[int, int, int]  # time of the change in ns, size in bytes, inode


@dataclass(slots=True)
class _Folder:
    """One listing: when the folder had last changed, and what was in it."""

    changed_ns: int = -1
    files: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)


class Files:
    """The files below some roots. Hidden ones, what editors leave beside them, and what `without` holds do not count."""

    def __init__(self, without: Iterable[Path] = ()) -> None:
        self._without = {os.path.realpath(one) for one in without}
        self._roots: tuple[str, ...] = ()
        self._folders: dict[str, _Folder] = {}
        self._stamps: dict[str, Stamp] = {}
        self._contents: dict[str, bytes] = {}

    def __len__(self) -> int:
        return len(self._stamps)

    def follow(self, roots: Iterable[str], *, since_ns: int) -> list[str]:
        """Look at these roots from now on. Returns the files among them that are new to us and were changed after `since_ns`: whoever read
        them before that has not seen it.
        """
        self._roots = tuple(sorted({os.path.realpath(one) for one in roots}))
        found, known = self._ask(), self._stamps
        fresh = found.keys() - known.keys()
        self._stamps = {path: known.get(path, stamp) for path, stamp in found.items()}  # what changed meanwhile is seen at the next look
        self._contents = {path: _content(path) if path in fresh else self._contents[path] for path in found}
        return sorted(path for path in fresh if found[path][0] > since_ns)

    def look(self) -> list[str]:
        """The files that came, went or have other content since the last look."""
        before, self._stamps = self._stamps, self._ask()
        suspects = [path for path, stamp in self._stamps.items() if before.get(path) != stamp]
        gone = before.keys() - self._stamps.keys()
        for path in gone:
            self._contents.pop(path, None)
        return sorted([*(path for path in suspects if self._differs(path)), *gone])

    async def changes(self) -> AsyncIterator[list[str]]:
        """Yield the changed files, whenever there are some and saving has come to rest; for ever."""
        while True:
            await asyncio.sleep(LOOK_S)
            changed = set(self.look())
            if not changed:
                continue
            while True:
                await asyncio.sleep(SETTLE_S)
                more = self.look()
                changed.update(more)
                if not more:
                    break
            yield sorted(changed)

    def _differs(self, path: str) -> bool:
        content = _content(path)
        before, self._contents[path] = self._contents.get(path), content
        return before != content

    def _ask(self) -> dict[str, Stamp]:
        found: dict[str, Stamp] = {}
        for root in self._roots:
            self._walk(root, found)
        return found

    def _walk(self, path: str, found: dict[str, Stamp]) -> None:
        status = _status(path)
        if status is None:
            return
        if not S_ISDIR(status.st_mode):
            found[path] = _stamp(status)
            return
        folder = self._listed(path, status.st_mtime_ns)
        for name in folder.files:
            file = f"{path}/{name}"
            if (status := _status(file)) is not None:
                found[file] = _stamp(status)
        for name in folder.folders:
            self._walk(f"{path}/{name}", found)

    def _listed(self, path: str, changed_ns: int) -> _Folder:
        folder = self._folders.setdefault(path, _Folder())
        if changed_ns == folder.changed_ns:
            return folder
        folder.changed_ns = changed_ns if time.time_ns() - changed_ns > FRESH_NS else -1
        folder.files, folder.folders = [], []
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    if not _counts(entry.name) or os.path.realpath(entry.path) in self._without:
                        continue
                    if not entry.is_dir():
                        folder.files.append(entry.name)
                    elif not entry.is_symlink():  # which may lead back here
                        folder.folders.append(entry.name)
        except OSError:
            folder.changed_ns = -1
        return folder


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)  # noqa: PTH116 - a thousand of them, several times a second
    except OSError:  # it is being replaced, or went
        return None


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_mtime_ns, status.st_size, status.st_ino


def _counts(name: str) -> bool:
    return not (name.startswith((".", "#")) or name in _LEFT_OUT or name.endswith(_UNFINISHED) or name == _VIM_TRIES)


def _content(path: str) -> bytes:
    try:
        return blake2b(Path(path).read_bytes(), digest_size=16).digest()
    except OSError:
        return b""
