"""The labelled questions: whether what they point at exists, and whether who asks may see it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from worldbus.lore_check.documents import Section, unknown_tokens
from worldbus.lore_check.finding import Finding

if TYPE_CHECKING:
    from worldbus.lore_check.world import World

FILE: Final = "questions.jsonl"
LEAST: Final = {"paraphrase": 40, "name": 25, "multi-hop": 25, "negative": 20, "as-of": 20, "spoiler": 20}
GRADES: Final = (1, 2, 3)
_KEYS: Final = {"id", "kind", "question", "audience", "as_of", "relevant", "forbidden"}


@dataclass(frozen=True, slots=True)
class Question:
    """One labelled question and its line in the file."""

    line: int
    said: Mapping[str, Any]

    def moment(self, side: str) -> str:
        """The condition before or after which it is asked, empty if it does not say."""
        return str((self.said["as_of"] or {}).get(side, ""))

    @property
    def tokens(self) -> frozenset[str]:
        """The tokens of the asker."""
        return frozenset(self.said["audience"])

    def sees(self, section: Section) -> bool:
        """Return whether the asker may be shown the section at the moment of asking, whatever else has or has not happened in the world."""
        return section.visible(self.tokens) and section.marks.since in ("", self.moment("after"))

    def is_kept_from(self, section: Section) -> bool:
        """Return whether the asker must not be shown the section at the moment of asking, whatever else has happened."""
        return not section.visible(self.tokens) or (section.marks.since != "" and section.marks.since == self.moment("before"))


def question_findings(world: World, sections: Sequence[Section]) -> Iterator[Finding]:
    """The findings in the questions."""
    by_heading = {(section.document, section.heading): section for section in sections}
    questions: list[Question] = []
    for line, text in enumerate((world.folder / FILE).read_text(encoding="utf-8").splitlines(), 1):
        said = _parsed(text)
        if said is None:
            yield Finding(FILE, line, "shape", f"wanted a JSON object with the keys {', '.join(sorted(_KEYS))}")
            continue
        question = Question(line, said)
        questions.append(question)
        yield from (Finding(FILE, line, rule, what) for rule, what in _wrong(world, question, by_heading))
    yield from _wrong_together(questions)


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        said = json.loads(text)
    except ValueError:
        return None
    return said if isinstance(said, dict) and set(said) == _KEYS else None


def _wrong(world: World, question: Question, sections: Mapping[tuple[str, str], Section]) -> Iterator[tuple[str, str]]:
    yield from (("unknown-audience", text) for text in unknown_tokens(world, question.tokens))
    yield from (("audience", text) for text in _asks_with_too_little(world, question))
    yield from _wrong_kind(question)
    for label in (*question.said["relevant"], *question.said["forbidden"]):
        if (label["document"], label["heading"]) not in sections:
            yield "unknown-section", f"{label['document']} has no section {label['heading']!r}"
    for label in question.said["relevant"]:
        if label.get("grade") not in GRADES:
            yield "grade", f"wanted a grade of 1, 2 or 3, found {label.get('grade')}"
        section = sections.get((label["document"], label["heading"]))
        if section is not None and not question.sees(section):
            yield "relevant-is-hidden", f"{label['heading']!r} is not certain to be visible to the asker then: {_why(section)}"
    for label in question.said["forbidden"]:
        section = sections.get((label["document"], label["heading"]))
        if section is not None and not question.is_kept_from(section):
            yield "forbidden-is-visible", f"{label['heading']!r} may be visible to the asker then: {_why(section)}"


def _why(section: Section) -> str:
    return f"audience {', '.join(section.marks.audience)}; since {section.marks.since or 'always'}"


def _asks_with_too_little(world: World, question: Question) -> Iterator[str]:
    if "public" not in question.tokens:
        yield "whoever asks holds `public`: add it"
    for token in question.tokens:
        if token.startswith("npc:"):
            missing = {f"faction:{name}" for name in world.factions_of(token.removeprefix("npc:"))} - question.tokens
            if missing:
                yield f"{token} belongs to {', '.join(sorted(missing))} too: add it"


def _wrong_kind(question: Question) -> Iterator[tuple[str, str]]:
    kind, relevant, forbidden = question.said["kind"], question.said["relevant"], question.said["forbidden"]
    if kind not in LEAST:
        yield "kind", f"wanted one of {', '.join(LEAST)}, found {kind}"
    if kind == "negative" and relevant:
        yield "kind", "nothing answers a negative question: take its relevant sections out"
    if kind != "negative" and not relevant:
        yield "kind", "something has to answer it: name a relevant section, or call it negative"
    if kind == "multi-hop" and len(relevant) < 2:
        yield "kind", "a multi-hop question needs two relevant sections at least"
    if kind == "as-of" and not (question.moment("before") or question.moment("after")):
        yield "kind", "an as-of question says before or after what it is asked"
    if kind == "spoiler" and not forbidden:
        yield "kind", "a spoiler question names what must not be found"


def _wrong_together(questions: Sequence[Question]) -> Iterator[Finding]:
    kinds = Counter(question.said["kind"] for question in questions)
    for kind, least in LEAST.items():
        if kinds[kind] < least:
            yield Finding(FILE, 0, "too-few", f"wanted {least} questions of kind {kind} at least, found {kinds[kind]}")
    for key in ("id", "question"):
        for value, times in Counter(question.said[key] for question in questions).items():
            if times > 1:
                yield Finding(FILE, 0, "twice", f"the {key} {value!r} stands there {times} times")
