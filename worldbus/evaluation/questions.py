"""Labelled questions: who asks, when, what answers them, and what must never be shown to who asks.

One JSON object per line:

    {"id": "silence-1", "kind": "paraphrase", "question": "who pays for silence?", "audience": ["public"], "as_of": null,
     "relevant": [{"document": "economy", "heading": "The Silence Toll", "grade": 3}], "forbidden": []}

`as_of` is null (before anything of the world's story has happened), {"before": CONDITION} or {"after": CONDITION}. A section is named by
its document and its last heading. A question of kind `negative` has nothing relevant: nothing written answers it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec

from bus.errors import BadSettings

Kind = Literal["paraphrase", "name", "multi-hop", "negative", "as-of", "spoiler"]
NEGATIVE: Final = "negative"
MAX_PROBLEMS: Final = 20


class Section(NamedTuple):
    """The place of an answer."""

    document: str
    heading: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question. `when` is `now`, `before` or `after`, of `condition`."""

    id: str
    kind: str
    text: str
    audience: tuple[str, ...]
    relevant: Mapping[Section, int]
    forbidden: frozenset[Section]
    when: str = "now"
    condition: str = ""


class _Judged(msgspec.Struct, forbid_unknown_fields=True):
    document: str
    heading: str
    grade: int = 1


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    kind: Kind
    question: str
    audience: list[str]
    as_of: dict[Literal["before", "after"], str] | None = None
    relevant: list[_Judged] = []
    forbidden: list[_Judged] = []


def load(path: Path) -> list[Question]:
    """The questions of a file; raises `BadSettings` with every problem and its line (twenty at most)."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise BadSettings(f"questions cannot be read from {path.name}: {error}") from error
    questions: list[Question] = []
    problems: list[str] = []
    known: set[str] = set()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            question = _question(msgspec.json.decode(line, type=_Line))
            if question.id in known:
                raise ValueError(f"there is another question {question.id!r}")
        except (msgspec.MsgspecError, ValueError) as error:
            problems.append(f"line {number}: {error}")
            continue
        known.add(question.id)
        questions.append(question)
    if problems or not questions:
        found = "; ".join(problems[:MAX_PROBLEMS]) or "no question"
        raise BadSettings(f"{path.name}: wanted a labelled question on each line, found {found}")
    return questions


def _question(line: _Line) -> Question:
    if not line.question.strip() or not line.audience:
        raise ValueError(f"question {line.id!r} wants words and an audience")
    if (line.kind == NEGATIVE) == bool(line.relevant):
        raise ValueError(f"question {line.id!r} of kind {line.kind} has {len(line.relevant)} relevant sections")
    if not all(1 <= one.grade <= 3 for one in line.relevant):
        raise ValueError(f"question {line.id!r} has a grade that is not 1 to 3")
    if line.as_of is not None and (len(line.as_of) != 1 or not all(line.as_of.values())):
        raise ValueError(f"question {line.id!r} wants before or after a condition")
    when, condition = next(iter(line.as_of.items())) if line.as_of else ("now", "")
    return Question(
        id=line.id,
        kind=line.kind,
        text=line.question,
        audience=tuple(line.audience),
        relevant={Section(one.document, one.heading): one.grade for one in line.relevant},
        forbidden=frozenset(Section(one.document, one.heading) for one in line.forbidden),
        when=when,
        condition=condition,
    )
