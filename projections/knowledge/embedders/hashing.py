"""Words and runs of three letters, hashed to 256 numbers.

It knows no meaning: texts are near when they share words or spellings. It needs no weights and takes microseconds, which is enough where a
package cannot be installed, and in tests that are about everything else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

import numpy as np

from projections.knowledge.embedders.embedder import Kind, Vectors, unit

DIMENSION: Final = 256
_WORD: Final = re.compile(r"\w+")


class Hashing:
    """See the module. Deterministic everywhere: no floats are summed in an order that varies."""

    model = f"hashing-{DIMENSION}"
    dimension = DIMENSION
    query_prefix = ""
    passage_prefix = ""

    async def embed(self, texts: Sequence[str], kind: Kind) -> Vectors:
        return np.concatenate([_vector(text) for text in texts]) if texts else np.empty((0, DIMENSION), np.float32)

    async def aclose(self) -> None:
        """Do nothing: no resource is held."""


def _vector(text: str) -> Vectors:
    counts = np.zeros((1, DIMENSION), np.float32)
    for word in _WORD.findall(text.lower()):
        padded = f"<{word}>"
        for piece in (padded, *(padded[at : at + 3] for at in range(len(padded) - 2))):
            digest = int.from_bytes(blake2b(piece.encode("utf-8", "replace"), digest_size=4).digest(), "big")
            counts[0, digest % DIMENSION] += 1.0 if digest & 0x8000_0000 else -1.0
    signed: Vectors = np.sign(counts) * np.sqrt(np.abs(counts))
    return unit(signed)
