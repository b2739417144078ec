"""All rules, on one world's folder."""

from __future__ import annotations

from pathlib import Path

from worldbus.lore_check.documents import document_findings, read
from worldbus.lore_check.finding import Finding
from worldbus.lore_check.questions import question_findings
from worldbus.lore_check.world import World, canon_findings


def check(folder: Path) -> list[Finding]:
    """The findings in a world's lore and questions, by file and line; empty if all agrees."""
    world = World.of(folder)
    sections, unreadable = read(world)
    return sorted([*canon_findings(world), *unreadable, *document_findings(world, sections), *question_findings(world, sections)])
