"""The default embedder gives the original's vectors. Needs sentence-transformers: `make embedder-check` makes the environment for it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from projections.knowledge.embedders.minilm import MiniLm, weights
from tests.embedder.texts import texts

sentence_transformers = pytest.importorskip(
    "sentence_transformers", reason="the original is in an environment of its own: make embedder-check"
)
REFERENCE = Path(__file__).parent / "original.json"
KEPT = 40
pytestmark = pytest.mark.filterwarnings("default")


def test_every_vector_is_the_original_s() -> None:
    """200 texts; the cosine of every pair is above 1 - 1e-4. With EMBEDDER_REFERENCE=write, some are kept for tests without torch."""
    wanted = texts(200)
    original = sentence_transformers.SentenceTransformer(str(weights()), device="cpu").encode(wanted, normalize_embeddings=True)
    if os.environ.get("EMBEDDER_REFERENCE") == "write":
        kept = {text: [round(float(number), 6) for number in vector] for text, vector in zip(wanted[:KEPT], original, strict=False)}
        REFERENCE.write_text(json.dumps(kept, ensure_ascii=True, indent=0) + "\n", encoding="utf-8")

    ours = asyncio.run(_embed(wanted))

    cosines = np.einsum("ij,ij->i", ours, original)
    worst = int(cosines.argmin())
    sys.stdout.write(f"{len(wanted)} texts: worst cosine 1 - {1 - cosines[worst]:.1e}, that of {wanted[worst][:60]!r}\n")
    assert cosines.min() > 1 - 1e-4, wanted[worst]


async def _embed(wanted: list[str]) -> np.ndarray:
    embedder = MiniLm()
    try:
        return await embedder.embed(wanted, "passage")
    finally:
        await embedder.aclose()
