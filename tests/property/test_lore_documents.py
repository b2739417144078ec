"""Laws of documents: whatever a file holds, its passages are its text, each with its own lines, or it is refused with a reason."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from handlers.time_manager.calendar import load
from projections.knowledge.text import content_hash
from tests.duskmarket import FOLDER
from worldbus.edges.lore import BadLore, Document, document
from worldbus.edges.lore.document import decoded
from worldbus.edges.lore.pieces import MAX_LONGEST, MOST, tokens

CALENDAR = load(FOLDER / "calendar.toml")
_WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
_LINES = st.sampled_from(
    [
        "",
        "",
        "# A",
        "## B",
        "###### C",
        "#no",
        "Stones.",
        "Wet and old. Very old! Is it? Yes.",
        "- one",
        "  - two",
        "1. three",
        "> quoted",
        "> # quoted heading",
        "Under",
        "===",
        "---",
        "    # code",
        "```",
        "~~~",
        "| a | b |",
        "|---|---|",
        "| c | d |",
        "[a]: http://x",
        "<div>",
        "</div>",
        "word " * 300,
        "w" * 5000,
        "港" * 600,
        "\t# tab",
        "* * *",
        "\\# no",
        "a  \nb",
        "<b>x</b>",
        "-->",
    ]
)
_MARKDOWN = st.lists(st.one_of(_LINES, _WORDS), max_size=30).map("\n".join)
_SPECIAL = st.sampled_from(
    [
        "---",
        "audience: npc:x",
        "audience: public",
        "since: date:1",
        "tags: [a, b]",
        "title: T",
        "<<: {audience: npc:x}",
        "b: &b {title: 007}",
        "<<: *b",
        "valid-from: date:1",
        "  ---",
        "----",
        "? [a, b]",
        "tags: &t [*t]",
        "<!-- audience: npc:y -->",
        "<!-- audience=npc:y -->",
        "<!-- audience: npc:y\nsince: date:1 -->",
        "<!--",
        "-->",
        "<!-- x -->",
        "<pre>",
        "</pre>",
        "<!-- since: event:StoryArcBegan; tags: z -->",
        "&amp;",
        "\ufeff",
        "{{x}}",
        "`<!-- audience: npc:z -->`",
    ]
)
_ANYTHING = st.lists(st.one_of(_LINES, _WORDS, _SPECIAL), max_size=30).map("\n".join)


def _read(text: str) -> Document | None:
    try:
        return document("quay.md", text.encode(), CALENDAR)
    except BadLore:
        return None


def _bare(text: str) -> str:
    return "".join(text.split())


@given(st.one_of(_ANYTHING, st.binary(max_size=300).map(lambda raw: raw.decode("latin-1"))))
def test_any_text_is_passages_or_refused(text: str) -> None:
    found = _read(text)
    if found is None:
        return

    assert found.chunks
    assert [chunk.number for chunk in found.chunks] == list(range(1, len(found.chunks) + 1))
    assert len({chunk.id for chunk in found.chunks}) == len(found.chunks)
    last = decoded(text.encode()).count("\n") + 1
    for chunk in found.chunks:
        assert chunk.text.strip()
        assert 1 <= chunk.line_from <= chunk.line_to <= last
        assert len(chunk.text) <= MAX_LONGEST + 2
        assert tokens(chunk.text) <= MOST
        assert "storyteller" in chunk.marks.audience
        assert chunk.content_hash == content_hash(chunk.heading, chunk.text)
    for before, after in pairwise(found.chunks):
        assert after.line_from >= before.line_to


@given(st.binary(max_size=200))
def test_any_bytes_are_passages_or_refused(raw: bytes) -> None:
    with suppress(BadLore):
        assert document("quay.md", raw, CALENDAR).chunks


@given(_MARKDOWN)
def test_the_passages_are_the_text_without_its_headings(text: str) -> None:
    found = _read(text)
    if found is None or text.lstrip().startswith("---"):
        return
    lines = decoded(text.encode()).split("\n")
    headings = [
        token.map for token in MarkdownIt("commonmark").parse("\n".join(lines)) if token.type == "heading_open" and token.level == 0
    ]
    for begin, end in filter(None, headings):
        lines[begin:end] = [""] * (end - begin)

    assert _bare("".join(chunk.text for chunk in found.chunks)) == _bare("\n".join(lines))
    for chunk in found.chunks:
        assert _bare(chunk.text) in _bare("\n".join(lines[chunk.line_from - 1 : chunk.line_to]))


@given(_ANYTHING)
def test_the_same_text_is_the_same_document(text: str) -> None:
    assert _read(text) == _read(text)


@given(_MARKDOWN, st.integers(1, 5))
def test_lines_that_move_change_no_id(text: str, empty: int) -> None:
    before = _read(text)
    after = _read("\n" * empty + text)
    if before is None or after is None:
        return

    assert [chunk.id for chunk in before.chunks] == [chunk.id for chunk in after.chunks]
    assert [chunk.line_from + empty for chunk in before.chunks] == [chunk.line_from for chunk in after.chunks]


@given(_MARKDOWN, _MARKDOWN)
def test_a_section_that_is_edited_leaves_the_others_alone(one: str, other: str) -> None:
    parts = ["# First\n\nAlpha stands here.\n\n", "# Second\n\n{}\n\n", "# Third\n\nGamma stands there.\n"]
    documents = [_read("".join(parts).format(text.replace("#", "").replace("=", "").replace("-", ""))) for text in (one, other)]
    if documents[0] is None or documents[1] is None:
        return

    kept = [[chunk.id for chunk in found.chunks if chunk.heading in (("First",), ("Third",))] for found in documents if found]
    assert kept[0] == kept[1]
    assert len(kept[0]) == 2


_SECRET = st.sampled_from(["npc:x", "faction:w", "storyteller", "[npc:x, storyteller]", "progress:q=told"])
_SPELT = st.sampled_from(["audience", "Audience", "audiences", "AUDIENCE", "audince", "visibility", "visible_to", '"audience"', "known-by"])
_BETWEEN = st.sampled_from([": ", ":", " : ", "=", " = "])
_FENCES = st.sampled_from(["---", "----", " ---", "--", "+++", "***", "```", "", "\ufeff---", "\u200b---"])


@given(_FENCES, st.lists(st.sampled_from(["title: T", "tags: [a]", "x: 1", ""]), max_size=3), _SPELT, _BETWEEN, _SECRET, _FENCES)
def test_a_document_that_says_who_may_know_it_is_never_public(
    opening: str, before: list[str], key: str, between: str, secret: str, closing: str
) -> None:
    """However it is spelt and fenced: it is understood, or refused. Only words that are none of ours, outside of front matter, are text."""
    found = _read("\n".join([opening, *before, f"{key}{between}{secret}", closing, "", "# Heading", "", "Text."]))

    if found is not None and "audience" == key.strip('"').lower():
        assert all("public" not in chunk.marks.audience for chunk in found.chunks)


@given(
    _SPELT,
    _BETWEEN,
    _SECRET,
    st.sampled_from(["", "\n", " TODO ", "x; ", "tags: a; ", "tags: a\n"]),
    st.sampled_from(["", "; tags: b", "\n"]),
)
def test_a_comment_that_says_who_may_know_a_section_is_never_passed_over(
    key: str, between: str, secret: str, before: str, behind: str
) -> None:
    found = _read(f"# Heading\n\n<!-- {before}{key.strip(chr(34))}{between}{secret.strip('[]')}{behind} -->\n\nText.\n")

    begins = before in ("", "\n", "tags: a; ", "tags: a\n") and ":" in between
    if found is not None and (begins or "audience" in key.lower()):
        assert all("public" not in chunk.marks.audience for chunk in found.chunks)
