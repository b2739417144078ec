"""Plain BM25, the peer of search by words: a textbook's formula over everything that the asker may know, sharing nothing with the search.

Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), with k = 1.2 and b = 0.75, over words in small
letters, of headings and text alike, as Lucene counts rarity.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final

from worldbus.edges.lore import Chunk

K: Final = 1.2
B: Final = 0.75
_WORD: Final = re.compile(r"\w+")


class PlainBM25:
    """An index of passages, each with its document's name."""

    def __init__(self, passages: Sequence[tuple[str, Chunk]]) -> None:
        self._passages = passages
        self._holding: dict[str, dict[int, int]] = defaultdict(dict)  # word, passage: how often
        self._lengths: list[int] = []
        for number, (_, chunk) in enumerate(passages):
            words = _WORD.findall(" ".join([*chunk.heading, chunk.text]).lower())
            self._lengths.append(len(words))
            for word, times in Counter(words).items():
                self._holding[word][number] = times
        self._usual = sum(self._lengths) / max(1, len(passages))

    def search(self, question: str, visible: Callable[[str, Chunk], bool], most: int) -> list[tuple[str, Chunk, float]]:
        """The passages that have words of the question and may be known, best first, with its score."""
        scores: dict[int, float] = defaultdict(float)
        for word in set(_WORD.findall(question.lower())):
            holding = self._holding.get(word, {})
            rarity = math.log(1 + (len(self._passages) - len(holding) + 0.5) / (len(holding) + 0.5))
            for number, times in holding.items():
                damp = K * (1 - B + B * self._lengths[number] / self._usual)
                scores[number] += rarity * times * (K + 1) / (times + damp)
        best = sorted(scores.items(), key=lambda one: (-one[1], one[0]))
        known = ((*self._passages[number], score) for number, score in best if visible(*self._passages[number]))
        return list(islice(known, most))
