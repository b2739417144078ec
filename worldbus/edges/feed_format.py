"""Reading release feeds: JSON (ours, or the GitHub releases API) and XML (Atom, RSS). Bytes in, entries out; nothing here waits.

Ours is `{"releases": [{"version": "5.6", "title": "...", "link": "...", "published": "2025-06-03T00:00:00Z"}]}`, or that list alone.

An entry without a version of its own has the first text in its title or tag that reads as one; where there is none the title stands in its
place, so that whoever decides can name what was not understood.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from xml.parsers import expat

from handlers.uemonitor import MAX_ENTRIES
from handlers.versions import MAX_LENGTH, parse
from schemas.gen.worldbus.uemonitor.v1.types_pb2 import FeedEntry

MAX_TITLE: Final = 256  # characters
MAX_LINK: Final = 512
MAX_ENTRY_BYTES: Final = 256 * 1024  # of all entries together
MAX_PUBLISHED_MS: Final = 253_402_300_800_000  # the year 10000

_IN_TEXT: Final = re.compile(
    r"(?<![\d.])v?\d+(?:\.\d+){1,3}(?:[-_. ]?(?:dev|alpha|beta|ea|preview|pre|rc|p)[-_. ]?\d*)?(?!\w|\.\d)", re.IGNORECASE | re.ASCII
)
_FIELDS: Final = {"title": "title", "link": "link", "id": "link", "pubdate": "published", "published": "published", "updated": "published"}

Fields = dict[str, str]


class BadFeed(ValueError):
    """The bytes are no release feed; the message says what was found."""


def entries(content: bytes) -> list[FeedEntry]:
    """The entries of a feed in its order, at most `MAX_ENTRIES` and `MAX_ENTRY_BYTES`; drafts are left out. Raises `BadFeed`."""
    start = content.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    found = _json(content) if start in (b"{", b"[") else _xml(content) if start == b"<" else None
    if found is None:
        raise BadFeed(f"wanted JSON, Atom or RSS, found {content[:40].decode('utf-8', 'replace')!a}")
    return list(_fitting(map(_entry, found[:MAX_ENTRIES])))


def _fitting(found: Iterable[FeedEntry]) -> Iterator[FeedEntry]:
    """The first entries that fit into one event."""
    size = 0
    for entry in found:
        size += entry.ByteSize() + 8
        if size > MAX_ENTRY_BYTES:
            return
        yield entry


def _entry(fields: Fields) -> FeedEntry:
    title, version = fields.get("title", ""), fields.get("version", "")
    if not version or parse(version) is None:
        version = version_in(version) or version_in(title) or version or title
    return FeedEntry(
        version=version.strip()[:MAX_LENGTH],
        title=title.strip()[:MAX_TITLE],
        link=fields.get("link", "").strip()[:MAX_LINK],
        published_ms=moment(fields.get("published", "")),
    )


def version_in(text: str) -> str:
    """The first part of `text` that reads as a version, or an empty string."""
    return next((found[0] for found in _IN_TEXT.finditer(text[:1024]) if parse(found[0]) is not None), "")


def moment(text: str) -> int:
    """Milliseconds since 1970 of a date as feeds write it (RFC 3339 or RFC 822); 0 if it cannot be read."""
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            found = read(text.strip())
            stamp = int(found.replace(tzinfo=found.tzinfo or UTC).timestamp() * 1000)
        except (ValueError, TypeError, OverflowError, IndexError):
            continue
        return stamp if 0 <= stamp < MAX_PUBLISHED_MS else 0
    return 0


def _json(content: bytes) -> list[Fields]:
    try:
        told = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadFeed(f"begins like JSON and is none: {error}") from error
    releases = told.get("releases") if isinstance(told, dict) else told
    if not isinstance(releases, list):
        raise BadFeed("wanted a list of releases, or an object with the list `releases`")
    return [_release(release) for release in releases if isinstance(release, dict) and release.get("draft") is not True]


def _release(release: Mapping[str, Any]) -> Fields:
    return {
        "version": _text(release, "version", "tag_name"),
        "title": _text(release, "title", "name", "tag_name", "version"),
        "link": _text(release, "link", "html_url", "url"),
        "published": _text(release, "published", "published_at"),
    }


def _text(release: Mapping[str, Any], *names: str) -> str:
    texts = (release.get(name) for name in names)
    return next((_clean(text) for text in texts if isinstance(text, str) and text), "")


def _clean(text: str) -> str:
    """Without lone surrogates, which JSON may carry and no event can."""
    return text.encode("utf-8", "replace").decode("utf-8")


class _Reader:
    """Collects the entries of an Atom or RSS document."""

    def __init__(self) -> None:
        self.found: list[Fields] = []
        self._entry: Fields | None = None
        self._path: list[str] = []
        self._field = ""

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        name = tag.rpartition("|")[2].lower()
        self._path.append(name)
        if name in ("item", "entry") and self._entry is None:
            self._entry = {}
            self._depth = len(self._path)
        if self._entry is None or len(self._path) != self._depth + 1:
            return
        field = _FIELDS.get(name, "")
        self._field = field if field not in self._entry else ""
        if name == "link" and attributes.get("rel", "alternate") == "alternate" and "href" in attributes:
            self._entry["link"] = attributes["href"]

    def text(self, text: str) -> None:
        if self._entry is not None and self._field and len(self._path) == self._depth + 1:
            self._entry[self._field] = (self._entry.get(self._field, "") + text)[:4096]

    def end(self, tag: str) -> None:
        if self._entry is not None and len(self._path) == self._depth:
            self.found.append(self._entry)
            self._entry = None
        self._path.pop()
        self._field = ""


def _xml(content: bytes) -> list[Fields]:
    reader, parser = _Reader(), expat.ParserCreate(namespace_separator="|")
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = reader.start, reader.end, reader.text
    parser.StartDoctypeDeclHandler = _no_doctype
    try:
        parser.Parse(content, True)
    except BadFeed:
        raise
    except (expat.ExpatError, ValueError, LookupError) as error:  # LookupError: an encoding nobody knows
        raise BadFeed(f"begins like XML and is none: {error}") from error
    return reader.found


def _no_doctype(*_: object) -> None:
    """Entities and outside references have no place in a feed, and are how feeds attack."""
    raise BadFeed("a document type declaration is not taken")
