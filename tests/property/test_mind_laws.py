"""What comes to a character's mind is what the score's definition says, read naively, in whatever cuts its memories came in."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projections.knowledge.minds import FOREVER, Asked, Mind

WORDS = ["orla", "ledger", "board", "sister", "the", "said", "ferry", "name"]
DIMENSION = 4
HOUR_MS = 3_600_000
texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join)
vectors = st.lists(st.integers(-4, 4), min_size=DIMENSION, max_size=DIMENSION).map(
    lambda one: np.array(one, np.float32) / max(1.0, math.hypot(*one))
)
players = st.sampled_from(["", "mira", "tam"])
memories = st.lists(
    st.fixed_dictionaries(
        {
            "body": texts, "player": players, "salience": st.integers(1, 1000), "formed_ms": st.integers(0, 1000 * HOUR_MS),
            "added": st.integers(1, 40), "ended": st.none() | st.integers(1, 60), "vector": st.none() | vectors,
        }
    ),
    max_size=12,
)  # fmt: skip
questions = st.builds(
    Asked, texts, st.none() | vectors, st.integers(0, 60), st.integers(0, 1000 * HOUR_MS), players, st.integers(1, 6),
    st.frozensets(st.integers(0, 11).map(lambda number: f"memory:hask:{number}"), max_size=3),
)  # fmt: skip
forgettings = st.lists(st.tuples(st.sampled_from(["mira", "tam"]), st.integers(1, 60)), max_size=3)


def row(number: int, one: dict[str, Any]) -> dict[str, Any]:
    """A memory as `passages` has it; vectors travel as Postgres sends half numbers."""
    sent = None if one["vector"] is None else b"\x00\x04\x00\x00" + one["vector"].astype(">f2").tobytes()
    whose = {
        "id": f"memory:hask:{number}",
        "tags": ["talk"],
        "content_hash": f"h{number}",
        "position": max(one["added"], one["ended"] or 0),
    }
    return {**one, **whose, "vector": sent}


def naive(rows: list[dict[str, Any]], asked: Asked, strangers: list[tuple[str, int]]) -> dict[str, float]:
    """Score by id of everything that may come to mind, straight from the definition."""

    def words(text: str) -> set[str]:
        return set(re.findall(r"\w{2,}", text))

    def rarity(word: str) -> float:
        having = sum(word in words(one["body"]) for one in rows)
        return math.log1p(len(rows) / having) if having else math.log1p(len(rows))

    scores = {}
    for one in rows:
        unknown = one["added"] > asked.position or (one["ended"] is not None and one["ended"] <= asked.position)
        unknown |= any(player == one["player"] and one["added"] < since <= asked.position for player, since in strangers)
        if unknown or one["id"] in asked.exclude:
            continue
        wanted = words(asked.words)
        relevance = 0.8 * sum(map(rarity, wanted & words(one["body"]))) / sum(map(rarity, wanted))
        if asked.vector is not None:
            vector = np.zeros(DIMENSION) if one["vector"] is None else np.frombuffer(one["vector"], ">f2", offset=4).astype(float)
            relevance = max(relevance, float(vector @ asked.vector))
        if relevance >= 1 / 6:
            recency = 0.995 ** (max(0, asked.world_ms - one["formed_ms"]) / HOUR_MS)
            about = 0.1 if asked.player and asked.player == one["player"] else 0.0
            scores[one["id"]] = relevance + 0.25 * one["salience"] / 1000 + 0.25 * recency + about
    return scores


@given(memories, questions, forgettings, st.integers(0, 12))
@settings(deadline=None)
def test_what_comes_to_mind_is_what_the_definition_says(
    given_: list[dict[str, Any]], asked: Asked, strangers: list[tuple[str, int]], cut: int
) -> None:
    rows = [row(number, one) for number, one in enumerate(given_)]
    mind = Mind(DIMENSION)
    mind.take(rows[:cut])
    mind.take(rows[cut:])
    found, scores = mind.recall(asked, strangers), naive(rows, asked, strangers)

    border = [one for one in scores if abs(scores[one] - 1 / 6) < 1e-4]  # float32 may see them on the other side
    assert {one.id for one in found} <= set(scores) | set(border)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert [one.score for one in found] == pytest.approx(sorted(scores.values(), reverse=True)[: asked.most], abs=1e-3)
    for one in found:
        assert one.score == pytest.approx(scores[one.id], abs=1e-3)


@given(memories, questions)
@settings(deadline=None)
def test_a_mind_that_learns_later_of_ends_and_vectors_is_the_same(given_: list[dict[str, Any]], asked: Asked) -> None:
    rows = [row(number, one) for number, one in enumerate(given_)]
    at_once, later = Mind(DIMENSION), Mind(DIMENSION)
    at_once.take(rows)
    later.take({**one, "ended": None, "vector": None, "position": one["added"]} for one in rows)
    assert set(later.blank) == {one["id"] for one in rows}
    later.take(rows)

    assert later.recall(asked) == at_once.recall(asked)
    assert set(later.blank) == {one["id"] for one in rows if one["vector"] is None}
    assert later.seen == at_once.seen == max((one["position"] for one in rows), default=0)


def test_a_mind_grows_beyond_its_first_room() -> None:
    mind = Mind(DIMENSION)
    base = {"player": "", "salience": 500, "formed_ms": 0, "added": 1, "ended": None, "vector": np.array([1, 0, 0, 0], np.float32)}
    mind.take(row(number, {**base, "body": f"thing{number} happened"}) for number in range(1000))
    (found, *_) = mind.recall(Asked("what of thing777?", None, 5, 0, most=3))

    assert len(mind) == 1000
    assert (found.id, found.importance, found.recency) == ("memory:hask:777", 0.5, 1.0)
    assert mind.recall(Asked("thing777", None, FOREVER - 1, 0, exclude=frozenset({"memory:hask:777"}))) == []
