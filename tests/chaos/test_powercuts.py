"""Power cuts: the disk really forgets, and nothing that was acknowledged under the shipped durability is forgotten with it."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest

from bench.chaos import powercuts
from bench.chaos.disk import Disk, NoDisk, own_mounts


def _forget(folder: Path) -> tuple[bool, bool]:
    """(is what was synced there, is what was not synced there) after a cut."""
    own_mounts()
    disk = Disk(folder)
    with (disk.path / "synced").open("wb") as file:
        file.write(b"x" * 5000)
        file.flush()
        os.fsync(file.fileno())
    (disk.path / "unsynced").write_bytes(b"x" * 5000)
    disk.cut()
    disk.restore()
    there = (disk.path / "synced").exists(), (disk.path / "unsynced").exists()
    disk.close()
    return there


def _child(folder: Path, answer: multiprocessing.SimpleQueue[tuple[bool, bool] | str]) -> None:
    try:
        answer.put(_forget(folder))
    except NoDisk as error:
        answer.put(str(error))


@pytest.fixture
def after_a_cut(tmp_path: Path) -> tuple[bool, bool]:
    """In a process of its own, for mounts of its own."""
    context = multiprocessing.get_context("spawn")
    answer: multiprocessing.SimpleQueue[tuple[bool, bool] | str] = context.SimpleQueue()
    child = context.Process(target=_child, args=(tmp_path, answer))
    child.start()
    child.join(60)
    found = answer.get()
    if isinstance(found, str):
        pytest.skip(f"no power cuts on this machine: {found}")
    return found


def test_a_cut_forgets_what_was_not_synced_and_only_that(after_a_cut: tuple[bool, bool]) -> None:
    assert after_a_cut == (True, False)


@pytest.mark.timeout(400)
async def test_nothing_acknowledged_is_lost_to_a_power_cut() -> None:
    found = await powercuts.run(3, 20261122)
    if found.skipped:
        pytest.skip(found.skipped)

    assert [str(violation) for violation in found.violations] == []
    assert found.cuts == 3
    assert found.acked > 50
