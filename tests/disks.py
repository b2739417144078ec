"""Small disks of a test's own (`bench.small_disk`)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import bench.small_disk
from bench.chaos.disk import NoDisk


@contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    """A file system in memory of so many MB. Skips the test where it may not be mounted."""
    folder = Path(tempfile.mkdtemp(prefix="wb-disk-"))
    try:
        with bench.small_disk.small_disk(folder, megabytes):
            yield folder
    except NoDisk as error:
        pytest.skip(str(error))
    finally:
        folder.rmdir()
