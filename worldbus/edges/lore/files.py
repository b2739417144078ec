"""The files of a folder as documents: which ones, in which order, and what is wrong with them."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from bus.errors import BadSettings
from handlers.time_manager.calendar import Calendar
from worldbus.edges.lore.convert import ENDINGS as CONVERTED
from worldbus.edges.lore.convert import to_markdown
from worldbus.edges.lore.document import Document, document, slug
from worldbus.edges.lore.errors import BadDocuments, BadLore

MARKDOWN: Final = frozenset({".md", ".markdown"})
MAX_MARKDOWN: Final = 4 << 20  # bytes; some 700 000 words
MAX_CONVERTED: Final = 64 << 20  # bytes
SIDECAR: Final = ".yaml"

Tell = Callable[[int, int, str], None]  # done, of, the file


def documents(path: Path, calendar: Calendar, tell: Tell = lambda done, of, name: None) -> list[Document]:
    """Every document below a folder, or the one that a file is, in the order of their paths.

    Reads all of them before it says anything: raises `BadDocuments` with everything that is wrong, `BadSettings` if nothing is there.
    """
    root, names = _names(path)
    problems = _clashes(names)
    found: list[Document] = []
    for number, name in enumerate(names):
        tell(number, len(names), name)
        try:
            if root == path:
                _check_inside(root, name)
            found.append(_read(root, name, calendar))
        except BadLore as error:
            problems.append(error.within(name))
        except OSError as error:
            problems.append(BadLore(f"wanted to read it, found: {error.strerror or error}", code="UNREADABLE", file=name))
    if problems:
        raise BadDocuments(problems)
    return found


def _names(path: Path) -> tuple[Path, list[str]]:
    """The folder, and the documents relative to it."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise BadSettings(f"wanted a document or a folder of documents, found {str(path)!a}: {error.strerror or error}") from error
    if not stat.S_ISDIR(mode):
        if path.suffix.lower() not in MARKDOWN | CONVERTED:
            raise BadSettings(f"wanted a document ({_endings()}), found {path.name!a}")
        return path.parent, [path.name]
    names = sorted(_walk(path))
    if not names:
        raise BadSettings(f"wanted documents ({_endings()}) in {str(path)!a}, found none: name another folder")
    return path, names


def _endings() -> str:
    return ", ".join(sorted(MARKDOWN | CONVERTED))


def _walk(root: Path) -> Iterator[str]:
    """Relative paths with `/`. Links to folders are not followed, so there is no way round; hidden names are passed over."""

    def refused(error: OSError) -> None:
        raise BadSettings(f"wanted to look into {str(error.filename)!a}, found: {error.strerror}: grant it, or move it away") from error

    for folder, below, names in os.walk(root, onerror=refused):
        below[:] = [name for name in below if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and Path(name).suffix.lower() in MARKDOWN | CONVERTED:
                yield (Path(folder) / name).relative_to(root).as_posix()


def _clashes(names: list[str]) -> list[BadLore]:
    """Documents that would have one name."""
    first: dict[str, str] = {}
    problems = []
    for name in names:
        other = first.setdefault(slug(name), name)
        if other != name:
            problems.append(BadLore(f"has the name {slug(name)}, as {other}: rename one of the files", code="SAME_NAME", file=name))
    return problems


def _check_inside(root: Path, name: str) -> None:
    """Refuse a link that leads out of the folder: authors of documents may not thereby publish any file of this machine."""
    if not Path(os.path.realpath(root / name)).is_relative_to(os.path.realpath(root)):
        raise BadLore("wanted a file of this folder, found a link that leads out of it: put the document itself here", code="NO_FILE")


def _read(root: Path, name: str, calendar: Calendar) -> Document:
    """One document. Raises `BadLore` or `OSError`."""
    if not name.isprintable():
        raise BadLore("wanted a file name that can be printed: rename the file", code="BAD_NAME")
    path = root / name
    ending = path.suffix.lower()
    raw = _bytes(path, MAX_MARKDOWN if ending in MARKDOWN else MAX_CONVERTED)
    if ending in MARKDOWN:
        return document(name, raw, calendar)
    if not raw:
        raise BadLore("wanted a document, found an empty file", code="NO_TEXT")
    beside = path.with_name(path.name + SIDECAR)
    said = _bytes(beside, MAX_MARKDOWN) if beside.exists() else b""
    return document(name, raw, calendar, converted=to_markdown(path), beside=said)


def _bytes(path: Path, most: int) -> bytes:
    """The file's bytes: what is no file, or too large, is not read."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise BadLore("wanted a file, found a device, a socket or a folder", code="NO_FILE")
        raw = file.read(most + 1)
    if len(raw) > most:
        raise BadLore(
            f"wanted at most {most >> 20} MiB, found {max(found.st_size, len(raw)) / (1 << 20):.0f} MiB: split the document",
            code="TOO_LARGE",
        )
    return raw
