"""Pausing a server so that it really stands still."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path


def pause(pid: int | None) -> None:
    """SIGSTOP; returns when every thread has stopped: until then one of them may still answer what was sent after the signal."""
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    while not all(_state(task) in "TZ" for task in Path(f"/proc/{pid}/task").iterdir()):
        time.sleep(0.001)


def _state(task: Path) -> str:
    try:
        stat = (task / "stat").read_text()
    except OSError:
        return "Z"  # it has ended meanwhile
    return stat[stat.rindex(")") + 2]
