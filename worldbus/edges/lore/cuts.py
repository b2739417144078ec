"""Places to cut a block that is too long, and the text that a piece beginning there has to say again.

A row of a table means nothing without the names of its columns, nor an item of a list without what it is an item of. So every cut knows
the text above it: the header of a table, the items that a nested item stands in, and the line that ended in a colon before either.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from markdown_it.token import Token

LEAD: Final = 200  # characters of a line before a list or table that is said again
ITEM: Final = 120  # characters of an outer item that are
MOST_HEADER: Final = 20_000  # characters of HTML in which the names of columns are looked for
_ROW: Final = re.compile(r"<tr\b", re.IGNORECASE)
_PART: Final = re.compile(r"<(?:tr|li|dt|p|h[1-6])\b", re.IGNORECASE)
_TABLE: Final = re.compile(r"<(/?)table\b", re.IGNORECASE)
_HEAD: Final = re.compile(r"<thead\b", re.IGNORECASE)
_HEAD_ENDS: Final = re.compile(r"</thead\b", re.IGNORECASE)
_HEADING: Final = re.compile(r"<th\b", re.IGNORECASE)
_CELL_ENDS: Final = re.compile(r"</t[hd]\s*>\s*(?=<t[hd]\b)|(?<!^)(?=<t[hd]\b)", re.IGNORECASE)
_TAG: Final = re.compile(r"<[^<>]*>")


@dataclass(frozen=True, slots=True)
class Cut:
    """A place in a block's text, and the text that a piece beginning there says first."""

    at: int
    above: str = ""


def lead(text: str) -> str:
    """The last line of the text before a list or table, if that introduces it."""
    last = text.rstrip().rpartition("\n")[2].strip()
    return last if last.endswith((":", "\uff1a")) and len(last) <= LEAD else ""


def of_markdown(tokens: Sequence[Token], lines: Sequence[str], lead_: str) -> tuple[Cut, ...]:
    """Before each item of a list and each row of a table, nested ones included; `lines` are the block's."""
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    cuts: list[Cut] = []
    above = [lead_]
    first = tokens[0].map[0] if tokens and tokens[0].map else 0
    for token in tokens:
        begin = min(token.map[0] - first, len(lines) - 1) if token.map else 0
        if token.type == "list_item_open":
            cuts.append(Cut(starts[begin], _said(above)))
            above.append(_cut_short(lines[begin].lstrip("> \t").rstrip(), ITEM))
        elif token.type == "thead_open":
            above.append(lines[begin].lstrip("> \t").rstrip())
        elif token.type == "tr_open":
            cuts.append(Cut(starts[begin], _said(above)))
        elif token.type in ("list_item_close", "table_close"):
            above.pop()
    return tuple(cut for cut in cuts if 0 < cut.at < starts[-1])


def _said(above: Sequence[str]) -> str:
    return "\n".join(filter(None, above))


def _cut_short(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[:longest].rpartition(" ")[0] + " …"


class HtmlTables:
    """Tables in HTML, which a Markdown parser does not look into. One for each section: empty lines divide a table into several blocks."""

    def __init__(self) -> None:
        self._header = ""
        self._open = False

    def cuts(self, text: str, lead_: str) -> tuple[Cut, ...]:
        """Before each row or item of this block, which comes after those that were looked at before."""
        if not (self._open or _PART.search(text) or _TABLE.search(text)):
            return ()
        found: list[Cut] = [Cut(0, self._header)] if self._open and self._header else []
        for begin, end in self._stretches(text):
            rows = [row.start() for row in _ROW.finditer(text, begin, end)]
            if self._open and not self._header and rows:
                self._header = _header(text[begin:end], text[rows[0] : rows[1] if len(rows) > 1 else end])
            above = _said([lead_, self._header if self._open else ""])
            found += [Cut(part.start(), above) for part in _PART.finditer(text, begin, end) if part.start() > 0]
        return tuple(found)

    def _stretches(self, text: str) -> Iterator[tuple[int, int]]:
        """The parts of a text inside and outside of tables."""
        done = 0
        for mark in _TABLE.finditer(text):
            yield done, mark.start()
            done = mark.start()
            self._open = not mark[1]
            self._header = ""
        yield done, len(text)


def _header(table: str, first_row: str) -> str:
    """The names of the columns, if the table says which they are."""
    begin = _HEAD.search(table)
    end = _HEAD_ENDS.search(table, begin.end()) if begin else None
    row = table[begin.start() : end.start()] if begin and end else first_row
    if not (end or _HEADING.search(row)):
        return ""
    cells = [" ".join(html.unescape(_TAG.sub(" ", cell)).split()) for cell in _CELL_ENDS.split(row[:MOST_HEADER])]
    return " | ".join(filter(None, cells))
