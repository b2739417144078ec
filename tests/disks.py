"""Small disks of a test's own: what happens when they are full can be shown on no other."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    """A file system in memory of so many MB. Skips the test where it may not be mounted."""
    folder = Path(tempfile.mkdtemp(prefix="wb-disk-"))
    size = f"size={megabytes}m,mode=711"
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)], check=False).returncode != 0:
        folder.rmdir()
        pytest.skip("needs root, to mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        folder.rmdir()


def resize(folder: Path, megabytes: int) -> None:
    """Make the disk larger or smaller."""
    subprocess.run(["mount", "-o", f"remount,size={megabytes}m", str(folder)], check=True)


def fill(folder: Path, leave: int = 0) -> Path:
    """Write a file that takes all that is free but `leave` bytes; removing it makes room again."""
    ballast = folder / "ballast"
    with ballast.open("ab") as file:
        free = os.statvfs(folder)
        os.posix_fallocate(file.fileno(), file.tell(), max(1, free.f_bavail * free.f_frsize - leave))
    return ballast
