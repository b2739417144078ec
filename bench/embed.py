"""`embed`: the default embedder, without torch: a question at a time, passages in batches, and what it takes of memory.

The limit beside it is the time that its matrix products alone take in NumPy, on this machine at this moment.
"""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median

import numpy as np

from bench.harness import Result, main
from bench.knowledge import sentences
from projections.knowledge.embedders.minilm import MiniLm

ASKED = 200
PASSAGE = 5  # sentences of one
PRODUCTS = 6 * [(384, 1152), (384, 384), (384, 1536), (1536, 384)]  # of six layers


def resident() -> float:
    """MB of this process in memory."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def products(rows: int) -> float:
    """Seconds that a text of so many tokens takes if nothing but its weights is multiplied."""
    weights = [np.zeros(shape, np.float32) for shape in PRODUCTS]
    inputs = {width: np.zeros((rows, width), np.float32) for width in (384, 1536)}
    times = []
    for _ in range(20):
        began = time.perf_counter()
        for weight in weights:
            _ = inputs[weight.shape[0]] @ weight
        times.append(time.perf_counter() - began)
    return median(times)


async def run(scale: float) -> list[Result]:
    """Ask, then embed."""
    lines = [text for _, text in sentences()]
    before = resident()
    embedder = MiniLm()
    took = resident() - before
    times = []
    for number in range(max(20, int(ASKED * scale))):
        began = time.perf_counter()
        await embedder.embed([f"who pays for silence at the harbour in year {number}?"], "query")
        times.append(time.perf_counter() - began)
    passages = [" ".join(lines[at : at + PASSAGE]) for at in range(0, max(40, int(len(lines) * scale)) // PASSAGE * PASSAGE, PASSAGE)]
    began = time.perf_counter()
    await embedder.embed(passages, "passage")
    rate = len(passages) / (time.perf_counter() - began)
    await embedder.aclose()
    limit = products(14)
    return [
        Result(
            name="question-p50",
            value=median(times) * 1000,
            unit="ms",
            against="its matrix products, in one piece",
            ratio=limit / median(times),
        ),
        Result(name="question-p95", value=sorted(times)[int(len(times) * 0.95)] * 1000, unit="ms", against="", ratio=None),
        Result(
            name="passages", value=rate, unit="/s", against=f"{sum(map(len, passages)) / len(passages):.0f} characters each", ratio=None
        ),
        Result(name="memory", value=took, unit="MB", against="weights of 87 MB as float32", ratio=None),
    ]


if __name__ == "__main__":
    main(run)
