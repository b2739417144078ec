"""Plain BM25, by hand."""

from __future__ import annotations

import math

import pytest

from handlers.time_manager.calendar import load
from tests.duskmarket import FOLDER
from worldbus.edges.lore import document
from worldbus.evaluation.bm25 import PlainBM25

CALENDAR = load(FOLDER / "calendar.toml")


def test_it_is_the_formula() -> None:
    texts = {"a.md": "eels eels stones", "b.md": "eels", "c.md": "stones and weed on the quay"}
    index = PlainBM25([(name, chunk) for name, text in texts.items() for chunk in document(name, text.encode(), CALENDAR).chunks])

    found = index.search("Eels!", lambda name, chunk: True, 5)

    rarity = math.log(1 + 1.5 / 2.5)
    usual = 10 / 3
    wanted = {
        "a.md": rarity * 2 * 2.2 / (2 + 1.2 * (0.25 + 0.75 * 3 / usual)),
        "b.md": rarity * 1 * 2.2 / (1 + 1.2 * (0.25 + 0.75 * 1 / usual)),
    }
    assert {name: score for name, _, score in found} == pytest.approx(wanted)
    assert [score for *_, score in found] == sorted(wanted.values(), reverse=True)
    assert [name for name, *_ in index.search("eels", lambda name, chunk: name != "a.md", 5)] == ["b.md"]
    assert index.search("narwhal", lambda name, chunk: True, 5) == []
