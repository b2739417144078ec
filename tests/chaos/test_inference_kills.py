"""Workers killed while they speak, in small; `python -m bench.chaos.inference` is the long run. And a proof that the checker can fail."""

from __future__ import annotations

from collections import Counter

import pytest

from bench.chaos import inference
from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceCompleted
from schemas.gen.worldbus.inference.v1.types_pb2 import TokensDelivered


@pytest.mark.timeout(200)
async def test_a_killed_worker_neither_loses_nor_repeats_an_answer() -> None:
    found = await inference.run(kills=4, seed=20261122)

    assert found.violations == []
    assert found.kills == 4
    assert found.asked > 10


def _chunks(*numbers: int, attempt: int = 1) -> list[TokensDelivered]:
    return [TokensDelivered(request_id="a", sequence=number, text="x", attempt=attempt) for number in numbers]


@pytest.mark.parametrize(
    ("ends", "chunks", "text"),
    [
        (Counter(), _chunks(0), "x"),
        (Counter(a=2), _chunks(0), "x"),
        (Counter(a=1), _chunks(0, 0), "xx"),
        (Counter(a=1), _chunks(0, 2), "xx"),
        (Counter(a=1), [*_chunks(0, attempt=2), *_chunks(1, attempt=1)], "xx"),
        (Counter(a=1), _chunks(0), "other"),
    ],
)
def test_the_checker_notices(ends: Counter[str], chunks: list[TokensDelivered], text: str) -> None:
    answers = {"a": InferenceCompleted(request_id="a", text=text)}

    assert inference.check(["a"], Counter(a=1), {"a": InferenceCompleted(text="x")}, {"a": _chunks(0)}) == []
    assert inference.check(["a"], ends, answers, {"a": chunks}) != []
