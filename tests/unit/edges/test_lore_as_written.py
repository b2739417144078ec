"""Documents as people write them: a title only in the front matter, pictures as bytes, tables of hundreds of rows."""

from __future__ import annotations

import base64
import random

import pytest

from tests.unit.edges.test_lore_documents import read
from worldbus.edges.lore.pictures import without_pictures
from worldbus.edges.lore.pieces import MOST, tokens

PICTURE = base64.b64encode(random.Random(1).randbytes(180_000)).decode()
URI = f"data:image/png;base64,{PICTURE}"


def test_a_title_that_only_the_front_matter_says_stands_above_every_passage() -> None:
    found = read("---\ntitle: The Copper Crane\n---\n\nAn inn.\n\n## Rooms\n\nFive coins.\n")

    assert [chunk.heading for chunk in found.chunks] == [("The Copper Crane",), ("The Copper Crane", "Rooms")]


def test_a_title_that_a_heading_says_is_not_said_twice() -> None:
    found = read("---\ntitle: The copper  Crane\n---\n\n# The Copper Crane\n\nAn inn.\n\n## Rooms\n\nFive coins.\n")

    assert [chunk.heading for chunk in found.chunks] == [("The Copper Crane",), ("The Copper Crane", "Rooms")]


@pytest.mark.parametrize("key", ["description", "summary", "abstract", "Description"])
def test_what_the_front_matter_tells_is_text(key: str) -> None:
    found = read(f"---\ntitle: Crane\n{key}: An inn by the salt pans.\n---\n\n## Rooms\n\nFive coins.\n")

    assert found.chunks[0].text.startswith("An inn by the salt pans.")
    assert found.chunks[0].heading == ("Crane",)
    assert (found.chunks[0].line_from, found.chunks[0].line_to) == (3, 3)


def test_other_text_in_the_front_matter_is_noted() -> None:
    found = read("---\ntitle: Crane\nhistory: It was built by two sisters in the year of the flood.\nlayout: post\n---\n\nAn inn.\n")

    assert any("history" in one for one in found.warnings)
    assert not any("layout" in one for one in found.warnings)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        (f"![The seal of the king]({URI})", "The seal of the king"),
        (f'![]({URI} "The seal of the king")', "The seal of the king"),
        (f'<img src="{URI}" alt="The seal of the king">', "The seal of the king"),
        (f"<img alt='The seal of the king' src='{URI}'/>", "The seal of the king"),
        (f"![The seal of the king][seal]\n\n[seal]: {URI}", "The seal of the king"),
        (f"[![The seal of the king]({URI})](https://example.org)", "The seal of the king"),
        (f'<picture><source srcset="{URI}"><img src="seal.png" alt="The seal of the king"></picture>', "The seal of the king"),
        (f"The seal of the king: {URI}", "The seal of the king"),
        (f"`background: url({URI})` draws the seal of the king", "draws the seal of the king"),
    ],
    ids=["inline", "title", "html", "single-quotes", "reference", "linked", "picture", "bare", "css"],
)
def test_a_picture_is_its_words(written: str, kept: str) -> None:
    found = read(f"# Seals\n\nBefore.\n\n{written}\n\nIt shows a heron.\n")

    assert len(found.chunks) <= 3
    text = "\n".join(chunk.text for chunk in found.chunks)
    assert kept in text
    assert "It shows a heron." in text
    assert PICTURE[:64] not in text
    assert found.chunks[-1].line_to == written.count("\n") + 7


def test_a_short_example_of_a_uri_stays() -> None:
    assert without_pictures("Write `data:text/plain,hello` there.") == "Write `data:text/plain,hello` there."


def table(rows: int, outer: bool = True) -> str:
    bar = "|" if outer else ""
    lines = [f"{bar} good | wholesale price | retail price {bar}", f"{bar} --- | --- | --- {bar}"]
    return "\n".join([*lines, *(f"{bar} ware {number} | {number} | {number * 3} {bar}" for number in range(rows))])


@pytest.mark.parametrize("outer", [True, False])
def test_every_piece_of_a_cut_table_names_its_columns(outer: bool) -> None:
    found = read(f"# Prices\n\n{table(900, outer)}\n")

    assert len(found.chunks) > 10
    assert all("retail price" in chunk.text for chunk in found.chunks)
    assert "ware 899 | 899 | 2697" in found.chunks[-1].text
    assert all(tokens(chunk.text) <= MOST for chunk in found.chunks)
    rows = [line for chunk in found.chunks for line in chunk.text.splitlines() if "ware" in line]
    assert len(rows) == 900
    assert [chunk.line_to + 1 for chunk in found.chunks][:-1] == [chunk.line_from for chunk in found.chunks][1:]


def test_every_piece_of_a_cut_html_table_names_its_columns() -> None:
    rows = "\n".join(f"<tr><td>ware {number}</td><td>{number}</td></tr>" for number in range(400))
    found = read(f"# Prices\n\n<table>\n<thead><tr><th>good</th><th>retail price</th></tr></thead>\n<tbody>\n{rows}\n</tbody></table>\n")

    assert len(found.chunks) > 5
    assert all("retail price" in chunk.text for chunk in found.chunks)


def test_a_nested_item_says_what_it_is_part_of() -> None:
    nested = "\n".join(f"  - ware {number} costs {number} coins at the stall of the widow by the bridge" for number in range(80))
    found = read(f"# Prices\n\nThe Copper Crane sells:\n\n- in winter\n{nested}\n")

    assert len(found.chunks) > 3
    assert all("The Copper Crane sells:" in chunk.text for chunk in found.chunks)
    assert all("in winter" in chunk.text for chunk in found.chunks[1:])
