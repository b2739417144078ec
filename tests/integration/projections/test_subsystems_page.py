"""The table of subsystems: handlers, events and views exist, and every query is answered after a short demo."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from projections import Listed, Projector
from projections.query import query
from schemas.registry import all_events
from tests.duskmarket import PROJECTIONS, by_name
from worldbus.demo.script import rehearse

PAGE = Path(__file__).parents[3] / "docs" / "subsystems.md"
WORD = re.compile(r"`([^`]+)`")
PARTS = (
    "event bus",
    "weather-manager",
    "time-manager",
    "capability-registry",
    "ue-version-monitor",
    "storyteller",
    "environmental-narrative",
    "payment",
    "quest-system",
    "ai-router",
    "state-manager",
    "npc-behavior",
    "language-system",
    "ai-integration",
    "model management",
    "Gold, Silver, Bronze",
    "knowledge base",
    "auto-scaling",
    "resource tracking",
)


class Row(NamedTuple):
    """One part."""

    part: str
    handler: str
    says: tuple[str, ...]
    view: str
    ask: str


def rows() -> list[Row]:
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")][1:]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [Row(part, handler, tuple(WORD.findall(says)), view.strip("`"), ask.strip("` ")) for part, handler, says, view, ask in cells]


def test_every_part_and_every_handler_has_a_row() -> None:
    found = rows()
    parts = " ".join(row.part for row in found)

    assert [part for part in PARTS if part not in parts] == []
    assert set(by_name()) <= {row.handler.strip("`") for row in found}


def test_handlers_say_what_the_page_says() -> None:
    for row in rows():
        handler = by_name().get(row.handler.strip("`"))
        said = {kind.DESCRIPTOR.name for kind in handler.emits} if handler else {kind.DESCRIPTOR.name for kind in all_events()}

        assert row.says, row.part
        assert set(row.says) <= said, row.part


async def test_every_query_is_answered_from_its_view(database: str, reader: str) -> None:
    town = rehearse(players=12, minutes=180)
    await Projector(database, list(PROJECTIONS)).run(Listed(town.log))

    assert {event.subsystem for event in town.log} >= set(by_name())
    for row in rows():
        assert re.search(rf"\bFROM {row.view}\b", row.ask), row.part
        assert (await query(reader, row.ask)).rows, f"{row.part}: no row for {row.ask}"
