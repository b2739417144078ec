"""Blocks into pieces that a search can answer with: at most `MOST` tokens, cut where it hurts least.

A section that fits stays whole. A longer one is cut between its blocks into parts of about the same size; a block that is too long by
itself is cut between the items of a list or the rows of a table, then between sentences, then between words. A piece that begins inside of
a list or table says again what stands above it. Every piece knows the lines it comes from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from worldbus.edges.lore.cuts import Cut
from worldbus.edges.lore.sections import Block

MOST: Final = 220  # tokens of one piece; common embedding models read 256, of which headings need some
MAX_LONGEST: Final = 2000  # characters of one piece, whatever they count
_WORD: Final = re.compile(r"[A-Za-z0-9_]+|[^\sA-Za-z0-9_]")
_SENTENCE: Final = re.compile(r"(?<=[.!?…])[\"'\u201d\u2019)\]]*\s+|(?<=[。\uff01\uff1f])|\n")
_SPACE: Final = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Piece:
    """Some text and its lines in the file, from first to last. `above` is from other lines: what a piece beginning here says first."""

    text: str
    line_from: int
    line_to: int
    above: str = ""


def tokens(text: str) -> int:
    """About how many tokens a common English vocabulary makes of `text`; rather too many than too few. Needs no model."""
    return sum(1 + (len(word) - 1) // 8 for word in _WORD.findall(text))


def fits(text: str, room: int = MOST) -> bool:
    """True if it may be one piece, of which `room` tokens are left."""
    return len(text) <= MAX_LONGEST * room // MOST and tokens(text) <= room


def pieces(blocks: Sequence[Block]) -> list[Piece]:
    """The blocks as pieces, in order; every character that is no white space is in exactly one of them, apart from what is said again."""
    parts = [part for block in blocks for part in _parts(block)]
    sizes = [tokens(part.text) for part in parts]
    again = max((tokens(part.above) for part in parts), default=0)
    count = max(1, -(-sum(sizes) // (MOST - again)))
    goal = sum(sizes) / count
    found: list[Piece] = []
    open_: list[Piece] = []
    size = length = said = 0
    for part, weight in zip(parts, sizes, strict=True):
        full = said + size + weight > MOST or length + len(part.text) + 2 > MAX_LONGEST
        if open_ and (full or size + weight / 2 > goal):
            found.append(_joined(open_))
            open_, size = [], 0
        if not open_:
            said, length = tokens(part.above), len(part.above)
        open_.append(part)
        size += weight
        length += len(part.text) + 2
    return [*found, _joined(open_)] if open_ else found


def _joined(parts: Sequence[Piece]) -> Piece:
    """Parts of one block follow on the next line, or in the same one; blocks stand apart."""
    text = parts[0].text
    for before, part in pairwise(parts):
        gap = part.line_from - before.line_to
        text += (" " if gap == 0 else "\n" if gap == 1 else "\n\n") + part.text
    above = parts[0].above
    return Piece(f"{above}\n{text}" if above else text, parts[0].line_from, parts[-1].line_to, above)


def _parts(block: Block) -> Iterator[Piece]:
    """A block as it is, or cut so that every part fits."""
    if fits(block.text) and not (block.cuts and block.cuts[0].at == 0):
        yield _piece(block.text, block.line)
        return
    for text, line, above in _between_items(block):
        room = MOST - tokens(above)
        for part in [_piece(text, line)] if fits(text, room) else _packed(text, line, room):
            yield replace(part, above=above)


def _piece(text: str, line: int) -> Piece:
    """`text`, which begins in `line`, without empty lines around it."""
    lead = len(text) - len(text.lstrip())
    first = line + text.count("\n", 0, lead)
    kept = text.strip("\n").rstrip() if "\n" not in text[:lead] else text[text.rfind("\n", 0, lead) + 1 :].rstrip()
    return Piece(kept, first, first + kept.count("\n"))


def _between_items(block: Block) -> Iterator[tuple[str, int, str]]:
    """The text between two cuts, its first line, and what a piece of it says first."""
    starts = block.cuts if block.cuts and block.cuts[0].at == 0 else (Cut(0), *block.cuts)
    line = block.line
    for begin, end in pairwise((*starts, Cut(len(block.text)))):
        text = block.text[begin.at : end.at]
        if text.strip():
            yield text, line, _short(begin.above)
        line += text.count("\n")


def _short(above: str) -> str:
    """Shorten a text so that there is room for the text below it: whole words, from the beginning."""
    above = "\n".join(" ".join(line.split()) for line in above.split("\n"))
    if fits(above, MOST // 2):
        return above
    ends = [found.start() for found in _SPACE.finditer(above) if fits(above[: found.start()], MOST // 2)]
    return above[: ends[-1]].rstrip() if ends else ""


def _packed(text: str, line: int, room: int) -> Iterator[Piece]:
    """Sentences, as many to a piece as fit."""
    start = size = 0
    offset = 0
    for end in _ends(text, room):
        weight = tokens(text[offset:end])
        if start < offset and (size + weight > room or end - start > MAX_LONGEST * room // MOST):
            yield from _cut_out(text[start:offset], line)
            line += text.count("\n", start, offset)
            start, size = offset, 0
        size += weight
        offset = end
    yield from _cut_out(text[start:], line)


def _ends(text: str, room: int) -> Iterator[int]:
    """The end of each sentence; one that is too long ends between words, a word that is too long anywhere."""
    begin = 0
    for end in [*(found.end() for found in _SENTENCE.finditer(text)), len(text)]:
        yield from _word_ends(text, begin, end, room)
        begin = end


def _word_ends(text: str, begin: int, end: int, room: int) -> Iterator[int]:
    if fits(text[begin:end], room):
        yield end
        return
    at = begin
    for found in [*(space.end() for space in _SPACE.finditer(text, begin, end)), end]:
        while not fits(text[at:found], room):
            at = min(at + room, found)
            yield at
        if found > at:
            yield found
        at = found


def _cut_out(text: str, line: int) -> Iterator[Piece]:
    if text.strip():
        yield _piece(text, line)
