"""Generated pages are what the code says today, and links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from worldbus.cli.reference import page

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
DECISIONS = [page for page in PAGES if page.parent.name == "adr" and page.name != "README.md"]
LINK = re.compile(r"\[[^\]]+\]\((?!https?://|mailto:)([^)#\s]*)(?:#([^)\s]*))?\)")
FENCED = re.compile(r"^( *)(```+|~~~+).*?^\1\2 *$", re.MULTILINE | re.DOTALL)


def test_the_command_line_reference_is_what_the_commands_say() -> None:
    written = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")

    assert written == page(), "write it anew: python -m worldbus.cli.reference > docs/reference/cli.md"


@pytest.mark.parametrize("source", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(source: Path) -> None:
    assert _broken(source, source.read_text(encoding="utf-8")) == []


def _broken(source: Path, text: str) -> list[str]:
    broken = []
    for path, anchor in LINK.findall(_without_code(text)):
        target = source.parent / path if path else source
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in _anchors(target.read_text(encoding="utf-8"))):
            broken.append(f"{path}#{anchor}" if anchor else path)
    return broken


def _without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", FENCED.sub("", text))


def _anchors(text: str) -> set[str]:
    """The names that GitHub gives to a page's headings, and those that the page gives itself."""
    found: set[str] = set(re.findall(r'<a (?:id|name)="([^"]+)"', text))
    for heading in re.findall(r"^#+ +(.+?) *#*$", FENCED.sub("", text), re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        name = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        number = next(number for number in range(len(found) + 1) if (f"{name}-{number}" if number else name) not in found)
        found.add(f"{name}-{number}" if number else name)
    return found


def test_dead_links_are_found() -> None:
    """A search that finds nothing proves nothing."""
    text = "# A `b`: c\n\n[one](#a-b-c) [two](#nowhere) [three](../README.md#nowhere) [four](no.md) `[five](code.md)`\n"
    page = ROOT / "docs" / "index.md"

    assert [one for one in _broken(page, text) if one != "#a-b-c"] == ["#nowhere", "../README.md#nowhere", "no.md"]
    assert "a-b-c" in _anchors(text)


def _leads_to(page: Path) -> set[Path]:
    """The pages that a page links to, itself included."""
    links = (page.parent / path for path, _ in LINK.findall(_without_code(page.read_text(encoding="utf-8"))) if path.endswith(".md"))
    return {page, *(link.resolve() for link in links)}


def test_the_index_leads_to_every_page() -> None:
    """In one step: a reader finds each page on the index, or each decision on theirs."""
    index, decisions = ROOT / "docs" / "index.md", ROOT / "docs" / "adr" / "README.md"
    led = _leads_to(index) | _leads_to(decisions)

    assert decisions in _leads_to(index)
    assert [str(page.relative_to(ROOT)) for page in PAGES if page.parent != ROOT and page.resolve() not in led] == []


TERM = re.compile(r"^\| (?!term |-)(.+?) \| (.+?) \| (.*?) \| (.+) \|$", re.MULTILINE)


def test_every_term_of_the_glossary_has_a_place_and_a_coined_one_its_usual_name() -> None:
    terms = TERM.findall((ROOT / "docs" / "reference" / "glossary.md").read_text(encoding="utf-8"))
    places = {term: [place for place in re.findall(r"`([\w/.]+)`", where) if "/" in place] for term, _, _, where in terms}

    assert len(terms) > 90
    assert [term for term, _, usual, _ in terms if "**" in term and not usual] == []
    assert [(term, place) for term, found in places.items() for place in found if not (ROOT / place).exists()] == []
    assert [term for term, _, _, where in terms if not places[term] and "](" not in where] == []


def test_the_readme_leads_to_the_index() -> None:
    assert ROOT / "docs" / "index.md" in _leads_to(ROOT / "README.md")


def test_a_decision_has_a_number_of_its_own() -> None:
    numbers = [int(page.name[:4]) for page in DECISIONS]

    assert len(set(numbers)) == len(numbers)
    assert [int(page.read_text(encoding="utf-8").removeprefix("# ").partition(".")[0]) for page in DECISIONS] == numbers


ROW = re.compile(r"^\| \[(\d+)\]\(([\w-]+\.md)\) \| (.+) \| (.*) \|$", re.MULTILINE)


def test_the_list_of_decisions_has_each_once_in_order() -> None:
    rows = ROW.findall((ROOT / "docs" / "adr" / "README.md").read_text(encoding="utf-8"))

    assert [(int(number), file) for number, file, _, _ in rows] == [(int(page.name[:4]), page.name) for page in DECISIONS]
    assert [file for _, file, sentence, _ in rows if not sentence.endswith(".")] == [], "a decision is told in a sentence"


STATUS = re.compile(r"^Status: (accepted|superseded), (2\d{3}-\d\d-\d\d)\b", re.MULTILINE)


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_a_decision_says_whether_it_holds_and_the_list_says_the_same(page: Path) -> None:
    found = STATUS.search(page.read_text(encoding="utf-8"))
    assert found, "wanted a line such as `Status: accepted, 2026-11-22.`"
    (row,) = (row for row in ROW.findall((ROOT / "docs" / "adr" / "README.md").read_text(encoding="utf-8")) if row[1] == page.name)

    assert row[3].startswith(f"{found[1]}, {found[2]}")
