"""Duskmarket's lore agrees with itself and with the world's tables, and each rule that says so can find something."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.duskmarket import FOLDER
from worldbus.lore_check import check
from worldbus.lore_check.__main__ import main

Edit = Callable[[str], str]


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A copy of the world that may be spoiled."""
    return Path(shutil.copytree(FOLDER, tmp_path / "world"))


def rules(world: Path, file: str, edit: Edit) -> set[str]:
    """The rules that are broken after an edit of one file."""
    path = world / file
    before = path.read_text(encoding="utf-8")
    after = edit(before)

    assert after != before
    path.write_text(after, encoding="utf-8")
    return {finding.rule for finding in check(world)}


def replacing(old: str, new: str) -> Edit:
    return lambda text: text.replace(old, new, 1)


def test_the_lore_of_duskmarket_agrees() -> None:
    assert [str(finding) for finding in check(FOLDER)] == []


def test_there_are_thirteen_documents() -> None:
    assert len(list((FOLDER / "lore").glob("*.md"))) == 13


@pytest.mark.parametrize(
    ("rule", "file", "edit"),
    [
        ("unknown-name", "lore/03-places.md", replacing("Old Marrow has the stall", "Old Barrow has the stall")),
        ("unknown-name", "lore/03-places.md", replacing("Cairnholt", "Stonewater")),
        ("unknown-name", "lore/03-places.md", replacing("## The Reed Path", "## The Weed Path")),
        ("wrong-date", "lore/01-history.md", replacing("year 340 before the Count", "year 341 before the Count")),
        (
            "wrong-date",
            "lore/10-timeline.md",
            replacing("The Landing took place in the year 412", "The Landing took place in the year 388"),
        ),
        ("wrong-date", "lore/10-timeline.md", replacing("the 14th of summer", "the 29th of summer")),
        ("wrong-date", "lore/10-timeline.md", replacing("held on the 7th of winter", "held on the 8th of winter")),
        ("document-length", "lore/02-factions.md", lambda text: text[: len(text) // 2]),
        ("section-length", "lore/02-factions.md", replacing("## The Registry\n", "## The Registry\n\nIt is wet.\n\n## The staff\n")),
        ("heading-twice", "lore/02-factions.md", replacing("## The Registry\n", "## The Wardens\n")),
        ("unknown-audience", "lore/04-people.md", replacing("npc:pockets", "npc:purses")),
        ("unknown-audience", "lore/02-factions.md", replacing("faction:wardens", "faction:wardrobes")),
        ("unknown-audience", "lore/06-economy.md", replacing("missing-ferryman=silenced", "missing-ferryman=shouted")),
        ("unknown-condition", "lore/11-current-state.md", replacing("quest:missing-ferryman=told", "quest:missing-ferry=told")),
        ("unknown-condition", "lore/11-current-state.md", replacing("StoryArcEnded:the-tally", "StoryArcEnded:the-sum")),
        ("warning", "lore/11-current-state.md", replacing("event:StoryArcEnded:", "event:StoryArcOver:")),
        ("bad-front-matter", "lore/05-creatures.md", replacing("audience: [public]", "audiense: [public]")),
        ("unsaid", "lore/06-economy.md", lambda text: text.replace("twenty-four crowns", "some crowns")),
        ("wrong-sum", "prices.toml", replacing("prices = { crowns = 2400 }", "prices = { crowns = 2500 }")),
        ("missing-id", "market.toml", replacing("[buyers.madame-orla]", "[buyers.madame-ursa]")),
        ("unknown-id", "factions.toml", replacing('"warden-pell"', '"warden-hell"')),
        ("no-faction", "factions.toml", replacing('members = ["pockets"]', "members = []")),
        ("bad-date", "lore/canon.toml", replacing("day_of_season = 14", "day_of_season = 41")),
    ],
)
def test_a_planted_fault_is_found(world: Path, rule: str, file: str, edit: Edit) -> None:
    assert rule in rules(world, file, edit)


def first(kind: str, change: Callable[[dict[str, Any]], object]) -> Edit:
    """An edit of the first question of a kind."""

    def edit(text: str) -> str:
        lines = text.splitlines()
        place = next(number for number, line in enumerate(lines) if json.loads(line)["kind"] == kind)
        said = json.loads(lines[place])
        change(said)
        return "\n".join([*lines[:place], json.dumps(said), *lines[place + 1 :]])

    return edit


SECRET = {"document": "13-secrets", "heading": "Who cut the rope"}
OPEN = {"document": "03-places", "heading": "The Quay"}


@pytest.mark.parametrize(
    ("rule", "edit"),
    [
        ("unknown-section", first("name", lambda said: said["relevant"][0].update(heading="The Attic"))),
        ("grade", first("name", lambda said: said["relevant"][0].update(grade=4))),
        ("relevant-is-hidden", first("name", lambda said: said["relevant"].append({**SECRET, "grade": 3}))),
        ("forbidden-is-visible", first("spoiler", lambda said: said["forbidden"].append(OPEN))),
        ("relevant-is-hidden", first("as-of", lambda said: said["relevant"].extend({**label, "grade": 3} for label in said["forbidden"]))),
        ("forbidden-is-visible", first("as-of", lambda said: said.update(as_of=None))),
        ("audience", first("name", lambda said: said.update(audience=["npc:pockets", "faction:quay-runners"]))),
        ("audience", first("name", lambda said: said.update(audience=["public", "npc:pockets"]))),
        ("unknown-audience", first("name", lambda said: said.update(audience=["public", "npc:nobody"]))),
        ("kind", first("negative", lambda said: said.update(relevant=[{**OPEN, "grade": 1}]))),
        ("kind", first("multi-hop", lambda said: said.update(relevant=said["relevant"][:1]))),
        ("kind", first("as-of", lambda said: said.update(as_of=None))),
        ("kind", first("spoiler", lambda said: said.update(forbidden=[]))),
        ("kind", first("name", lambda said: said.update(kind="riddle"))),
        ("twice", first("name", lambda said: said.update(id="para-001"))),
        ("shape", first("name", lambda said: said.pop("audience"))),
        ("too-few", lambda text: "\n".join(line for line in text.splitlines() if '"negative"' not in line)),
    ],
)
def test_a_wrong_label_is_found(world: Path, rule: str, edit: Edit) -> None:
    assert rule in rules(world, "questions.jsonl", edit)


def test_a_finding_has_its_line(world: Path) -> None:
    path = world / "lore" / "03-places.md"
    lines = path.read_text(encoding="utf-8").splitlines()
    number = next(at for at, line in enumerate(lines, 1) if "Old Marrow has the stall" in line)
    path.write_text("\n".join(lines).replace("Old Marrow has the stall", "Old Barrow has the stall"), encoding="utf-8")

    assert [("03-places.md", number, "unknown-name")] == [(found.file, found.line, found.rule) for found in check(world)]


def test_the_command_says_what_is_wrong(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(world)]) == 0
    assert "agrees" in capsys.readouterr().out

    (world / "lore" / "03-places.md").unlink()

    assert main([str(world)]) == 1
    assert "unknown-section" in capsys.readouterr().out
