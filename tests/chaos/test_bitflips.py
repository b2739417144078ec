"""Single bit flips in the log's files: noticed before wrong data is served, and mended from the archive."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from bench.chaos import bitflips


def test_a_flip_changes_one_bit(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(bytes(100))
    bitflips.flip(file, random.Random(1))

    assert sum(byte.bit_count() for byte in file.read_bytes()) == 1


@pytest.mark.timeout(400)
async def test_every_flip_is_noticed_or_harmless_and_every_damage_is_mended() -> None:
    found = await bitflips.run(12, 20261122, events=600)

    assert [str(violation) for violation in found.violations] == []
    assert found.noticed > 0
    assert found.repaired == found.noticed
