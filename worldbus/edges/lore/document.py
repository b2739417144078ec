"""A document as passages: what a file says, with its place, its hash, and who may know it from when on."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import pairwise
from typing import Final

from handlers.time_manager.calendar import Calendar
from projections.knowledge.text import content_hash
from worldbus.edges.lore.errors import BadLore
from worldbus.edges.lore.front_matter import FrontMatter, front_matter
from worldbus.edges.lore.marks import Marks, doubt
from worldbus.edges.lore.pictures import without_pictures
from worldbus.edges.lore.pieces import pieces
from worldbus.edges.lore.sections import Block, Section, sections

MAX_CHUNKS: Final = 8000  # the last event of a revision names them all and must fit one message
MAX_SLUG: Final = 64
_BAD: Final = re.compile(r"[^a-z0-9_-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """One passage."""

    id: str
    number: int
    heading: tuple[str, ...]
    line_from: int
    line_to: int
    text: str
    content_hash: str
    marks: Marks


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One file. `warnings` are for people: nothing of it is wrong, but it may not be what was meant."""

    slug: str
    title: str
    path: str
    content_hash: str
    chunks: tuple[Chunk, ...]
    warnings: tuple[str, ...] = ()


def document(path: str, raw: bytes, calendar: Calendar, *, converted: str | None = None, beside: bytes = b"") -> Document:
    """Read a document; `path` is relative to what is ingested. What is no Markdown comes `converted`, its front matter from `beside` it.

    Raises `BadLore`. The same bytes give the same document.
    """
    lines = decoded(raw if converted is None else beside).split("\n")
    head = front_matter(lines if converted is None else ["---", *lines, "---"])
    marks = _marks(head, calendar)
    body = "\n".join(lines[head.lines :]) if converted is None else plain(converted)
    found = sections(without_pictures(body).split("\n"), head.lines + 1 if converted is None else 1)
    _described(found, head, 0 if converted is None else 1)
    chunks = _chunks(slug(path), _titled(found, head.title), marks, calendar)
    if not chunks:
        raise BadLore("wanted text, found none: to take a document out, delete its file", code="NO_TEXT")
    return Document(
        slug=slug(path),
        title=head.title or _title(found) or path.rpartition("/")[2].rpartition(".")[0],
        path=path,
        content_hash=blake2b(raw + beside, digest_size=16).hexdigest(),
        chunks=chunks,
        warnings=(*_unread(head), *_warnings(chunks, found)),
    )


def _described(found: Sequence[Section], head: FrontMatter, line: int) -> None:
    """Put what the front matter tells of the document before its text; `line` is where that stands, if in another file."""
    found[0].blocks[:0] = [Block(line or at, text) for at, text in head.texts]


def _titled(found: Sequence[Section], title: str) -> list[Section]:
    """The sections below the document's title, where no heading says it: a passage that is found alone tells of what it is a part."""
    if not title:
        return list(found)
    said = _folded(title)
    return [section if said in map(_folded, section.heading) else replace(section, heading=(title, *section.heading)) for section in found]


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()


def _unread(head: FrontMatter) -> list[str]:
    keys = ", ".join(ascii(key)[1:-1][:60] for key in head.unread)
    return [f"front matter has text that no search finds ({keys}): put it into the document, or into `description`"] if keys else []


def plain(text: str) -> str:
    """With `\\n` at the end of lines."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def decoded(raw: bytes) -> str:
    """UTF-8 text with `\\n` at the end of lines, as editors count them. Raises `BadLore`."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise BadLore(
            f"wanted UTF-8, found the byte 0x{raw[error.start]:02x} at {error.start}: save the file as UTF-8", code="BAD_UTF8", line=line
        ) from error
    text = plain(text)
    if (at := text.find("\0")) >= 0:
        raise BadLore("wanted text, found a NUL character: is it a binary file?", code="BINARY", line=text.count("\n", 0, at) + 1)
    return text


def slug(path: str) -> str:
    """The document's name in subjects, from its path without the ending.

    >>> slug("places/The Quay.md")
    'places-the-quay'
    """
    stem, dot, _ = path.rpartition(".")
    whole = unicodedata.normalize("NFKD", stem if dot else path)
    plain = "".join(character for character in whole if not unicodedata.combining(character))
    name = _BAD.sub("-", plain.lower()).strip("-")
    if name and plain.isascii() and len(name) <= MAX_SLUG:
        return name
    digest = blake2b(path.encode(errors="surrogateescape"), digest_size=6).hexdigest()
    return f"{name[: MAX_SLUG - 13] or 'document'}-{digest}"


def _marks(head: FrontMatter, calendar: Calendar) -> Marks:
    marks = Marks()
    for key, words in head.said.items():
        marks = marks.changed({key: words}, calendar, head.at[key])
    return marks


def _title(found: Sequence[Section]) -> str:
    first = [section.heading[-1] for section in found if section.level == 1]
    return first[0] if len(first) == 1 else ""


def _chunks(name: str, found: Sequence[Section], marks: Marks, calendar: Calendar) -> tuple[Chunk, ...]:
    chunks: list[Chunk] = []
    equals: Counter[str] = Counter()
    above: list[tuple[int, Marks]] = [(0, marks)]  # what holds for sections of a deeper level
    for section in found:
        above = [(level, held) for level, held in above if level < section.level or level == 0]
        own = above[-1][1].changed(section.said, calendar, section.said_at)
        above = [(0, own)] if section.level == 0 else [*above, (section.level, own)]
        for piece in pieces(section.blocks):
            if len(chunks) == MAX_CHUNKS:
                raise BadLore(
                    f"wanted at most {MAX_CHUNKS} passages, found more: split the document", code="TOO_MANY_PASSAGES", line=piece.line_from
                )
            hashed = content_hash(section.heading, piece.text)
            same = "\n".join([name, *section.heading, "", hashed, "", *own.audience, "", own.since, "", *own.tags])
            equals[same] += 1
            chunks.append(
                Chunk(
                    id=blake2b(f"{same}\n{equals[same]}".encode(), digest_size=16).hexdigest(),
                    number=len(chunks) + 1,
                    heading=section.heading,
                    line_from=piece.line_from,
                    line_to=piece.line_to,
                    text=piece.text,
                    content_hash=hashed,
                    marks=own,
                )
            )
    return tuple(chunks)


def _warnings(chunks: Sequence[Chunk], found: Sequence[Section]) -> tuple[str, ...]:
    said: list[str] = []
    if not any(chunk.marks.stated for chunk in chunks):
        said.append("says no audience: anyone may know it")
    conditions = dict.fromkeys(chunk.marks.since for chunk in chunks)
    said += [f"waits for {since}, which never becomes true: {why}" for since in conditions if (why := doubt(since))]
    headings = Counter(section.heading for section in found if section.heading)
    twice = [" > ".join(heading) for heading, times in headings.items() if times > 1]
    if twice:
        said.append(f"has one heading several times: {', '.join(twice[:3])}")
    jumps = next((after for before, after in pairwise(found) if after.level > before.level + 1 and before.level), None)
    if jumps is not None:
        said.append(f"line {jumps.line}: a heading skips a level")
    return tuple(said)
