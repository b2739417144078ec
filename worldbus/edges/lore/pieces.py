"""Blocks into pieces that a search can answer with: at most `MOST` tokens, cut where it hurts least.

A section that fits stays whole. A longer one is cut between its blocks into parts of about the same size; a block that is too long by
itself is cut between the items of a list, then between sentences, then between words. Every piece knows the lines it comes from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from worldbus.edges.lore.sections import Block

MOST: Final = 220  # tokens of one piece; common embedding models read 256, of which headings need some
MAX_LONGEST: Final = 2000  # characters of one piece, whatever they count
_WORD: Final = re.compile(r"[A-Za-z0-9_]+|[^\sA-Za-z0-9_]")
_SENTENCE: Final = re.compile(r"(?<=[.!?…])[\"'\u201d\u2019)\]]*\s+|(?<=[。\uff01\uff1f])|\n")
_SPACE: Final = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Piece:
    """Some text and its lines in the file, from first to last."""

    text: str
    line_from: int
    line_to: int


def tokens(text: str) -> int:
    """About how many tokens a common English vocabulary makes of `text`; rather too many than too few. Needs no model."""
    return sum(1 + (len(word) - 1) // 8 for word in _WORD.findall(text))


def fits(text: str) -> bool:
    """Whether it may be one piece."""
    return len(text) <= MAX_LONGEST and tokens(text) <= MOST


def pieces(blocks: Sequence[Block]) -> list[Piece]:
    """The blocks as pieces, in order; every character that is no white space is in exactly one of them."""
    parts = [part for block in blocks for part in _parts(block)]
    sizes = [tokens(part.text) for part in parts]
    count = max(1, -(-sum(sizes) // MOST))
    goal = sum(sizes) / count
    found: list[Piece] = []
    open_: list[Piece] = []
    size = length = 0
    for part, weight in zip(parts, sizes, strict=True):
        full = size + weight > MOST or length + len(part.text) + 2 > MAX_LONGEST
        if open_ and (full or size + weight / 2 > goal):
            found.append(_joined(open_))
            open_, size, length = [], 0, 0
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
    return Piece(text, parts[0].line_from, parts[-1].line_to)


def _parts(block: Block) -> Iterator[Piece]:
    """A block as it is, or cut so that every part fits."""
    if fits(block.text):
        yield _piece(block.text, block.line)
        return
    for text, line in _between_items(block):
        yield from [_piece(text, line)] if fits(text) else _packed(text, line)


def _piece(text: str, line: int) -> Piece:
    """`text`, which begins in `line`, without empty lines around it."""
    lead = len(text) - len(text.lstrip())
    first = line + text.count("\n", 0, lead)
    kept = text.strip("\n").rstrip() if "\n" not in text[:lead] else text[text.rfind("\n", 0, lead) + 1 :].rstrip()
    return Piece(kept, first, first + kept.count("\n"))


def _between_items(block: Block) -> Iterator[tuple[str, int]]:
    lines = block.text.split("\n")
    starts = [0, *(cut - block.line for cut in block.cuts if 0 < cut - block.line < len(lines)), len(lines)]
    for begin, end in pairwise(starts):
        text = "\n".join(lines[begin:end])
        if text.strip():
            yield text, block.line + begin


def _packed(text: str, line: int) -> Iterator[Piece]:
    """Sentences, as many to a piece as fit."""
    start = size = 0
    offset = 0
    for end in _ends(text):
        weight = tokens(text[offset:end])
        if start < offset and (size + weight > MOST or end - start > MAX_LONGEST):
            yield from _cut_out(text[start:offset], line)
            line += text.count("\n", start, offset)
            start, size = offset, 0
        size += weight
        offset = end
    yield from _cut_out(text[start:], line)


def _ends(text: str) -> Iterator[int]:
    """Where each sentence ends; one that is too long ends between words, a word that is too long anywhere."""
    begin = 0
    for end in [*(found.end() for found in _SENTENCE.finditer(text)), len(text)]:
        yield from _word_ends(text, begin, end)
        begin = end


def _word_ends(text: str, begin: int, end: int) -> Iterator[int]:
    if fits(text[begin:end]):
        yield end
        return
    at = begin
    for found in [*(space.end() for space in _SPACE.finditer(text, begin, end)), end]:
        while found - at > MAX_LONGEST or not fits(text[at:found]):
            at = min(at + MOST, found)
            yield at
        if found > at:
            yield found
        at = found


def _cut_out(text: str, line: int) -> Iterator[Piece]:
    if text.strip():
        yield _piece(text, line)
