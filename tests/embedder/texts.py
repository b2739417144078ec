"""Texts to compare embedders by: every kind that lore, memories and questions are made of, and what people paste."""

from __future__ import annotations

import json
from pathlib import Path

WORLD = Path(__file__).parents[2] / "worlds" / "duskmarket"
ODD = [
    "?",
    "a",
    "Mira",
    "THE QUAY",
    "naïve café Ünterwelt",
    "Привет, мир",
    "你好,世界",
    "さようなら",
    "🦴🔔 bone bell",
    "e\u0301 composed",
    "  spaced   out  ",
    "line\nbreak\tand tab",
    "won't can't o'clock",
    "12,5 teeth = 3/4 crown (c. 340 B.C.)",
    "http://example.org/a?b=c#d",
    "x" * 300,
    "lantern " * 400,
    "[CLS] [SEP] [MASK]",
    "\u200bzero\u200bwidth",
    "\x07bell\x00nul",
    "ﬁligree ﬂood",
    "ﷺ",
    "A" * 120 + " " + "b" * 90,
    "…—“quotes”",
    "1 2 3 4 5 6 7 8 9 10",
]


def texts(count: int = 200) -> list[str]:
    """`count` texts, the same ones each time: odd ones, questions, and passages of up to more tokens than the model takes."""
    questions = [json.loads(line)["question"] for line in (WORLD / "questions.jsonl").read_text(encoding="utf-8").splitlines()]
    lore = [path.read_text(encoding="utf-8") for path in sorted((WORLD / "lore").glob("*.md"))]
    passages = [part.strip() for document in lore for part in document.split("\n## ")[1:]]
    long = ["\n\n".join(passages[at : at + 3]) for at in range(0, 30, 3)]
    found = [*ODD, *long, *questions[: (count - len(ODD) - len(long)) // 2]]
    return [*found, *passages[: count - len(found)]]
