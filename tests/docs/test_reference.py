"""Generated pages are what the code says today, and links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from worldbus.cli.reference import page

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\[[^\]]+\]\((?!https?://|#|mailto:)([^)#\s]+)(?:#[^)]*)?\)")


def test_the_command_line_reference_is_what_the_commands_say() -> None:
    written = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")

    assert written == page(), "write it anew: python -m worldbus.cli.reference > docs/reference/cli.md"


@pytest.mark.parametrize("source", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files(source: Path) -> None:
    broken = [link for link in LINK.findall(source.read_text(encoding="utf-8")) if not (source.parent / link).exists()]

    assert broken == []


def test_the_index_leads_to_every_page() -> None:
    index = ROOT / "docs" / "index.md"
    led = {(index.parent / link).resolve() for link in LINK.findall(index.read_text(encoding="utf-8"))}

    assert [str(page) for page in PAGES if page.parent != ROOT and page not in {index, *led} and page.parent.resolve() not in led] == []


def test_a_decision_has_a_number_of_its_own() -> None:
    pages = sorted((ROOT / "docs" / "adr").glob("*.md"))
    numbers = [int(page.name[:4]) for page in pages]

    assert len(set(numbers)) == len(numbers)
    assert [int(page.read_text(encoding="utf-8").removeprefix("# ").partition(".")[0]) for page in pages] == numbers
