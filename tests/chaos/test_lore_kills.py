"""Whoever ingests lore is killed, in small; `python -m bench.chaos.lore` is the long run. And a proof that the checker can fail."""

from __future__ import annotations

import pytest

from bench.chaos import lore


@pytest.mark.timeout(300)
async def test_a_killed_ingest_leaves_every_document_before_or_after() -> None:
    found = await lore.run(kills=5, seed=20261122)

    assert found.violations == []
    assert found.kills == 5
    assert found.kills_before_the_end > 0
    assert found.looks > 10


def test_the_checker_notices() -> None:
    editions = [lore.edition(0), lore.edition(1)]
    old, new = editions[0]["moor"], editions[1]["moor"]

    assert lore.check({"moor": old}, editions, "now") == lore.check({"moor": new}, editions, "now") == []
    assert lore.check({"moor": [*new[:20], *old[20:]]}, editions, "now") != []
    assert lore.check({"moor": new[:-1]}, editions, "now") != []
