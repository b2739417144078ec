"""Markdown by headings: which lines stand under which headings, and what comments say about them.

Blocks come from a CommonMark parser, so a `#` inside of a code fence is no heading. A section's override is a comment
`<!-- audience: a, b; since: x; tags: t -->`; it holds for the section and for those below it. Other comments are nobody's business but the
writer's and are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

from worldbus.edges.lore.cuts import Cut, HtmlTables, lead, of_markdown
from worldbus.edges.lore.errors import BadLore
from worldbus.edges.lore.marks import KEYS, misspelt

MAX_HEADING: Final = 200  # characters of one heading that are kept
_PAIR: Final = re.compile(r"\s*(?P<key>[\w-]{2,20})\s*:(?P<value>[^;]*)", re.DOTALL)
_PARTS: Final = re.compile(r";|\n(?=\s*(?!(?:npc|faction|progress|event|quest|date):)[\w-]{2,20}\s*[:=])")
_ALMOST: Final = re.compile(r"\baudiences?\s*[:=]|\A\s*audiences?\b|(?:\A|[;,\n])\s*(?:since|tags)\s*[:=]", re.IGNORECASE)
"""A comment that says who may know a section, or seems to."""
_LISTED: Final = frozenset({"bullet_list_open", "ordered_list_open", "table_open", "blockquote_open"})
_VERBATIM: Final = frozenset({"fence", "code_block"})
_ENDS: Final = {"<script": "</script>", "<pre": "</pre>", "<style": "</style>", "<textarea": "</textarea>", "<?": "?>", "<![cdata[": "]]>"}
"""HTML that runs on over empty lines and headings until its end comes."""


@dataclass(frozen=True, slots=True)
class Block:
    """Lines that belong together: a paragraph, a list, a table, a fence. `cuts` are the places where it may be cut, in order."""

    line: int
    text: str
    cuts: tuple[Cut, ...] = ()


@dataclass(slots=True)
class Section:
    """The text between two headings. `said` is its override; `line` that of its heading or first text."""

    heading: tuple[str, ...]
    level: int
    line: int
    blocks: list[Block] = field(default_factory=list)
    said: dict[str, Sequence[str]] = field(default_factory=dict)
    said_at: int = 0
    tables: HtmlTables = field(default_factory=HtmlTables, compare=False, repr=False)


def parser() -> MarkdownIt:
    """Blocks only: what stands inside of a paragraph is not looked at."""
    return MarkdownIt("commonmark", {"html": True}).enable("table").disable("inline")


def sections(lines: Sequence[str], first_line: int = 1) -> list[Section]:
    """The sections in order, the one before the first heading included. `first_line` is the number of `lines[0]` in the file.

    Raises `BadLore` for an override that cannot be understood.
    """
    found = [Section((), 0, first_line)]
    path: list[tuple[int, str]] = []
    for begin, end, tokens in _blocks(lines):
        number = first_line + begin
        if tokens and tokens[0].type == "heading_open":
            level = int(tokens[0].tag[1:])
            path = [*((depth, name) for depth, name in path if depth < level), (level, _plain(tokens[1].content))]
            found.append(Section(tuple(name for _, name in path), level, number))
            _without_comments(found[-1], tokens[1].content, number)
        else:
            _take(found[-1], tokens, lines[begin:end], number)
    return found


def _blocks(lines: Sequence[str]) -> Iterator[tuple[int, int, list[Token]]]:
    """Every run of lines that is one block, with its tokens; lines that no token claims (definitions of links) are blocks too."""
    done = 0
    tokens = parser().parse("\n".join(lines))
    start = 0
    while start < len(tokens):
        end = start
        while end < len(tokens) - 1 and not (tokens[end].level == 0 and tokens[end].nesting <= 0):
            end += 1
        place = tokens[start].map
        if place is not None:
            yield from _unclaimed(lines, done, place[0])
            stop = max(place[1], place[0] + 1)
            yield max(place[0], done), stop, tokens[start : end + 1]
            done = max(done, stop)
        start = end + 1
    yield from _unclaimed(lines, done, len(lines))


def _unclaimed(lines: Sequence[str], begin: int, end: int) -> Iterator[tuple[int, int, list[Token]]]:
    while begin < end:
        if not lines[begin].strip():
            begin += 1
            continue
        stop = begin
        while stop < end and lines[stop].strip():
            stop += 1
        yield begin, stop, []
        begin = stop


def _take(section: Section, tokens: list[Token], lines: Sequence[str], number: int) -> None:
    """Add the block that these lines are."""
    kind = tokens[0].type if tokens else ""
    text = "\n".join(lines)
    _check_ended(tokens, lines, text, number)
    if kind not in _VERBATIM:
        text = _without_comments(section, text, number)
    elif kind == "code_block" and "<!--" in text:
        raise BadLore("a comment that is indented by four spaces is code in Markdown: move it to the left", code="BAD_COMMENT", line=number)
    if not text.strip():
        return
    whole = text
    gone = len(text) - len(text.lstrip("\n"))  # lines that were comments
    text = text[gone:].rstrip()
    before = lead(section.blocks[-1].text) if section.blocks else ""
    if kind in _LISTED:
        cuts = tuple(
            Cut(cut.at - gone, cut.above) for cut in of_markdown(tokens, whole.split("\n"), before) if gone < cut.at < gone + len(text)
        )
    else:
        cuts = section.tables.cuts(text, before)
    section.blocks.append(Block(number + gone, text, cuts))


def _check_ended(tokens: list[Token], lines: Sequence[str], text: str, number: int) -> None:
    """Refuse HTML that nobody ends: it would swallow the headings that follow, and what they say about their audience."""
    kind = tokens[0].type if tokens else ""
    if kind == "fence":
        mark = tokens[0].markup
        last = lines[-1].strip()
        if len(lines) < 2 or not last.startswith(mark) or last.strip(mark[0]):
            raise BadLore(f"wanted a line {mark} that ends the code, found none", code="BAD_MARKDOWN", line=number)
    elif kind == "html_block":
        low = text.lstrip().lower()
        end = next((end for begin, end in _ENDS.items() if low.startswith(begin)), None)
        if end is not None and end not in low:
            raise BadLore(f"wanted {end} that ends the HTML, found none", code="BAD_MARKDOWN", line=number)


def _without_comments(section: Section, text: str, number: int) -> str:
    """The text with its comments emptied, line by line the same; what they say goes to the section."""
    parts: list[str] = []
    done, line = 0, number
    while (start := text.find("<!--", done)) >= 0:
        line += text.count("\n", done, start)
        end = text.find("-->", start + 4)
        if end < 0:
            raise BadLore("wanted `-->` that ends the comment, found none", code="BAD_COMMENT", line=line)
        end += 3
        if text[start - 1 : start] == "`" == text[end : end + 1]:  # quoted, not said
            parts.append(text[done:end])
        else:
            _hear(section, text[start + 4 : end - 3], line)
            parts.append(text[done:start] + "\n" * text.count("\n", start, end))
        line += text.count("\n", start, end)
        done = end
    return "".join([*parts, text[done:]])


def _hear(section: Section, comment: str, line: int) -> None:
    """Take in an override; any other comment is passed over, unless it looks like one."""
    parts = _PARTS.split(comment)
    pairs = [found for part in parts if (found := _PAIR.fullmatch(part)) is not None]
    first = pairs[0]["key"] if pairs and comment.lstrip().startswith(pairs[0]["key"]) else ""
    if first not in KEYS and misspelt(first) is None and _ALMOST.search(comment) is None:
        return
    said: dict[str, Sequence[str]] = {}
    for part in parts:
        found = _PAIR.fullmatch(part)
        if found is None and not part.strip():
            continue
        if found is None or found["key"] not in KEYS:
            meant = misspelt(found["key"]) if found else None
            raise BadLore(
                f"a comment about a section wants `audience: …; since: …; tags: …`, found {ascii(part.strip())[:80]}"
                + (f": did you mean {meant}?" if meant else ""),
                code="BAD_COMMENT",
                line=line,
            )
        if found["key"] in said:
            raise BadLore(f"{found['key']} stands twice in one comment: keep one", code="BAD_COMMENT", line=line)
        said[found["key"]] = [word for value in found["value"].split(",") if (word := " ".join(value.split()))]
    if section.said:
        raise BadLore(
            f"two comments say who may know one section (the first in line {section.said_at}): keep one, below its heading",
            code="BAD_COMMENT",
            line=line,
        )
    section.said, section.said_at = said, line


_INLINE: Final = MarkdownIt("commonmark", {"html": True})


def _plain(markdown: str) -> str:
    """A heading without its markup."""
    tokens = _INLINE.parseInline(markdown[: 4 * MAX_HEADING])
    parts = [child.content if child.type in ("text", "code_inline", "text_special") else " " if child.type.endswith("break") else ""
             for token in tokens for child in token.children or ()]  # fmt: skip
    return " ".join("".join(parts).split())[:MAX_HEADING]
