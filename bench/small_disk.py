"""Small disks of their own: what happens when they are full can be shown on no other."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from bench.chaos.disk import NoDisk

_PAGE: Final = 4096  # bytes


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A file system in memory of so many MB, mounted on `folder` for the block. Raises `NoDisk` where it may not be mounted."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=711", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode != 0:
        raise NoDisk("mounting a small disk needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def resize(folder: Path, megabytes: int) -> None:
    """Make the disk larger or smaller."""
    subprocess.run(["mount", "-o", f"remount,size={megabytes}m", str(folder)], check=True)


def fill(folder: Path, leave: int = 0) -> Path:
    """Write a file that takes all that is free but `leave` bytes, whoever else writes there; removing it makes room again."""
    ballast = folder / "ballast"
    with ballast.open("ab") as file:
        while (room := _free(folder) - leave) >= _PAGE:
            with suppress(OSError):  # somebody was quicker
                os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, room)
    return ballast


def _free(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize
