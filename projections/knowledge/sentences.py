"""The cross-check of a search: how near the nearest sentence of each passage is to the question.

A passage of some paragraphs has one vector for all of them; where one sentence answers, that vector says little of it. A passage's
sentences never change, so their vectors are remembered under the hash of its text: a second question about the same things costs little.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

import numpy as np

from projections.knowledge.embedders import EmbedderFailed, Vectors
from projections.knowledge.embedders.embedder import unit
from projections.knowledge.serving import Serving
from projections.knowledge.text import searched_text

REMEMBERED: Final = 4096  # passages; some 8 kB each
_SENTENCE: Final = re.compile(r"(?<=[.!?])\s+")

Passage = tuple[str, Sequence[str], str]  # content hash, headings, text


class Sentences:
    """Vectors of sentences, remembered. Belongs to one event loop."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._known: OrderedDict[tuple[str, str], Vectors] = OrderedDict()

    async def nearness(self, passages: Sequence[Passage], model: str, vector: Vectors) -> list[float] | None:
        """The cosine of the question's vector, made with `model`, and of the nearest sentence of each passage.

        None if that cannot be had now: the embedder fails, or searches were switched to another one.
        """
        wanted = {one[0]: one for one in passages}
        vectors = {name: known for name in wanted if (known := self._known.get((model, name))) is not None}
        missing = {name: _sentences(one) for name, one in wanted.items() if name not in vectors}
        if missing:
            try:
                made = unit(await self._serving.embed([text for texts in missing.values() for text in texts], "passage"))
            except EmbedderFailed:
                return None
            if self._serving.model != model:
                return None
            done = 0
            for name, texts in missing.items():
                vectors[name] = made[done : done + len(texts)].copy()
                done += len(texts)
        self._remember(model, vectors)
        return [float(np.max(vectors[one[0]] @ vector)) for one in passages]

    def _remember(self, model: str, used: dict[str, Vectors]) -> None:
        for name, vectors in used.items():
            self._known[model, name] = vectors
            self._known.move_to_end((model, name))
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)


def _sentences(passage: Passage) -> list[str]:
    """The sentences, each below the passage's own heading; one at least."""
    _, heading, text = passage
    return [searched_text(heading[-1:], one) for one in _SENTENCE.split(text) if one.strip()] or [searched_text(heading[-1:], text)]
