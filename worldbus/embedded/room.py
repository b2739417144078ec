"""Room on the disk: what a world needs to start, and how much of it the log may take."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from bus.errors import Misuse

MB: Final = 1 << 20
FRESH_MB: Final = 160  # Postgres with its first write-ahead log takes 70, streams and snapshots some; the rest is for events
AGAIN_MB: Final = 24  # a world that is there: Postgres needs a piece of write-ahead log to start
KEPT_SHARE: Final = 8  # of what is free, one part in so many is left to Postgres and everybody else, at least KEPT_MB
KEPT_MB: Final = 16
FIRST_MB: Final = 96  # what a new Postgres beside the log is about to take


def free(folder: Path) -> int:
    """Bytes that we may still write on the disk of `folder`, which need not exist yet."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def used(folder: Path) -> int:
    """Bytes that the files in `folder` take; 0 if there is none."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(where) / name).lstat().st_blocks * 512
            except OSError:  # gone meanwhile
                continue
    return total


def require(folder: Path, *, fresh: bool) -> None:
    """Raise `Misuse`, before anything is started, where the disk of `folder` has too little room for a new world, or to go on with one."""
    wanted, found = FRESH_MB if fresh else AGAIN_MB, free(folder) // MB
    if found < wanted:
        raise Misuse(
            f"data folder {folder}: wanted {wanted} MB free on its disk to {'begin a world' if fresh else 'start'}, found {found} MB: "
            "make room, or choose a folder on another disk with --data-dir",
            wanted_mb=wanted,
            found_mb=found,
        )


def share_of_the_log(store: Path, *, beside_a_new_postgres: bool) -> int:
    """Bytes that JetStream may keep in `store`: what it has, and most of what is free.

    Its own default, three quarters of what is free at its start, would refuse every event once a long log has left less than it takes.
    """
    there = free(store) - (FIRST_MB * MB if beside_a_new_postgres else 0)
    return used(store) + max(there - max(there // KEPT_SHARE, KEPT_MB * MB), MB)
