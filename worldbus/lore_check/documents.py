"""Each document: its shape, who may know it, its names and its dates."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from worldbus.edges.lore.document import Chunk, Document, document
from worldbus.edges.lore.errors import BadLore
from worldbus.edges.lore.marks import Marks
from worldbus.lore_check.dates import wrong_dates
from worldbus.lore_check.finding import Finding
from worldbus.lore_check.names import Names, written_small

if TYPE_CHECKING:
    from worldbus.lore_check.world import World

LEAST_WORDS: Final = 1500
MOST_WORDS: Final = 3000
LEAST_OF_SECTION: Final = 80
MOST_OF_SECTION: Final = 250
ENTITIES: Final = {  # events whose entity is named in a table of the world
    "SceneFirstDiscovered": "scenes",
    "SceneChanged": "scenes",
    "StoryArcBegan": "arcs",
    "StoryArcEnded": "arcs",
    "StoryBeatBegan": "arcs",
    "StoryFactEstablished": "arcs",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One passage of meaning, as a reader sees it: the text under a heading, however many chunks it became."""

    document: str
    heading: str
    line: int
    text: str
    marks: Marks

    def visible(self, tokens: frozenset[str]) -> bool:
        """Return whether an asker with these tokens may ever see it."""
        return not tokens.isdisjoint(self.marks.audience)


def read(world: World) -> tuple[list[Section], list[Finding]]:
    """Every section of every document in `lore/`, and what cannot be read."""
    found: list[Section] = []
    wrong: list[Finding] = []
    for path in sorted((world.folder / "lore").glob("*.md")):
        try:
            read_one = document(path.name, path.read_bytes(), world.calendar)
        except BadLore as error:
            wrong.append(Finding(path.name, error.line or 0, error.code.lower().replace("_", "-"), error.reason))
            continue
        wrong += [Finding(path.name, 0, "warning", text) for text in read_one.warnings]
        found += _sections(read_one)
    return found, wrong


def _sections(one: Document) -> Iterator[Section]:
    run: list[Chunk] = []
    for chunk in one.chunks:
        if run and chunk.heading != run[0].heading:
            yield _section(one.slug, run)
            run = []
        run.append(chunk)
    if run:
        yield _section(one.slug, run)


def _section(slug: str, run: Sequence[Chunk]) -> Section:
    first = run[0]
    heading = first.heading[-1] if first.heading else ""
    return Section(document=slug, heading=heading, line=first.line_from, text="\n\n".join(chunk.text for chunk in run), marks=first.marks)


def document_findings(world: World, sections: Sequence[Section]) -> Iterator[Finding]:
    """The findings in the documents."""
    names, small = Names.of(world.canon), written_small(section.text for section in sections)
    words: Counter[str] = Counter()
    headings: Counter[tuple[str, str]] = Counter((section.document, section.heading) for section in sections)
    for (slug, heading), times in headings.items():
        if times > 1:
            yield Finding(f"{slug}.md", 0, "heading-twice", f"{heading!r} stands there {times} times: give each section its own")
    for section in sections:
        count = len(section.text.split())
        words[section.document] += count
        if not LEAST_OF_SECTION <= count <= MOST_OF_SECTION:
            yield _finding(section, "section-length", f"wanted {LEAST_OF_SECTION} to {MOST_OF_SECTION} words, found {count}")
        yield from (_finding(section, "unknown-audience", text) for text in unknown_tokens(world, section.marks.audience))
        yield from (_finding(section, "unknown-condition", text) for text in _unknown_condition(world, section.marks.since))
        for at, word in [*names.unknown(section.heading), *names.unknown(section.text, small)]:
            yield _finding(section, "unknown-name", f"{word} is not in the canon: correct it or add it to lore/canon.toml", at)
        for at, text in wrong_dates(section.text, world.calendar, world.canon):
            yield _finding(section, "wrong-date", text, at)
    for slug, count in words.items():
        if not LEAST_WORDS <= count <= MOST_WORDS:
            yield Finding(f"{slug}.md", 0, "document-length", f"wanted {LEAST_WORDS} to {MOST_WORDS} words, found {count}")
    yield from _unsaid(world, " ".join(section.text for section in sections))


def _finding(section: Section, rule: str, text: str, at: int = 0) -> Finding:
    line = section.line + section.text.count("\n", 0, at)
    return Finding(f"{section.document}.md", line, rule, f"{section.heading!r}: {text}")


def unknown_tokens(world: World, tokens: Sequence[str] | frozenset[str]) -> Iterator[str]:
    """The reasons why tokens of an audience can never be held by anybody."""
    for token in sorted(tokens):
        kind, _, rest = token.partition(":")
        if kind == "npc" and rest not in world.npcs:
            yield f"{token}: no such character in npcs.toml"
        if kind == "faction" and rest not in world.factions:
            yield f"{token}: no such faction in factions.toml"
        if kind == "progress":
            yield from _unknown_outcome(world, rest)


def _unknown_outcome(world: World, text: str) -> Iterator[str]:
    quest, _, ending = text.partition("=")
    if quest not in world.endings:
        yield f"{text}: no such quest in quests.toml"
    elif ending and ending not in world.endings[quest]:
        yield f"{text}: {quest} ends as {' or '.join(sorted(world.endings[quest]))}"


def _unknown_condition(world: World, since: str) -> Iterator[str]:
    kind, _, rest = since.partition(":")
    if kind == "quest":
        yield from _unknown_outcome(world, rest)
    if kind == "event":
        event, _, entity = rest.partition(":")
        table = ENTITIES.get(event, "")
        if entity and table and entity not in getattr(world, table):
            yield f"{since}: the world's {table} have no {entity}"


def _unsaid(world: World, text: str) -> Iterator[Finding]:
    flat = re.sub(r"\s+", " ", text).lower()
    for money in world.canon["sums"]:
        if money["words"] not in flat:
            yield Finding("canon.toml", 0, "unsaid", f"no document says {money['words']}: take it out of the canon or tell it")
