"""The game goes first: on a machine that carries game and bus, the bus takes what processors the game leaves.

Linux shares processors out by session first (`autogroup`), and within a session by niceness: both are set. Elsewhere niceness alone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

TRIES = 5
AGAIN_S = 0.12  # the kernel takes one change of a session in a tenth of a second from who is not root


@contextmanager
def stepped_back(pids: Iterable[int], nice: int) -> Iterator[None]:
    """Give this process, `pids` and their children the niceness `nice` (0: leave them). The session of this process, which may be a
    person's terminal, gets its own back at the end. Takes up to some seconds; what the system does not allow is left.
    """
    if not nice:
        yield
        return
    own = Path("/proc/self/autogroup")
    before = _nice_of(own)
    for process in {os.getpid(), *(one for pid in pids for one in _family(pid))}:
        _step_back(process, nice)
    try:
        yield
    finally:
        if before is not None:
            _write(own, before)


def _step_back(process: int, nice: int) -> None:
    for thread in _names(Path(f"/proc/{process}/task")) or [process]:
        with suppress(OSError):  # it ended meanwhile, or is another user's
            os.setpriority(os.PRIO_PROCESS, thread, max(nice, os.getpriority(os.PRIO_PROCESS, thread)))
    _write(Path(f"/proc/{process}/autogroup"), nice)


def _write(group: Path, nice: int) -> None:
    for _ in range(TRIES):
        try:
            group.write_text(str(nice))
        except BlockingIOError:
            time.sleep(AGAIN_S)
        except OSError:  # no Linux, or no such sharing out
            return
        else:
            return


def _nice_of(group: Path) -> int | None:
    """Read the niceness of a group from a text such as `/autogroup-1085 nice 0`."""
    try:
        return int(group.read_text().rsplit(maxsplit=1)[1])
    except (OSError, IndexError, ValueError):
        return None


def _family(process: int) -> Iterator[int]:
    """A process and all that it started."""
    yield process
    for thread in _names(Path(f"/proc/{process}/task")):
        with suppress(OSError):
            for child in Path(f"/proc/{process}/task/{thread}/children").read_text().split():
                yield from _family(int(child))


def _names(folder: Path) -> list[int]:
    try:
        return [int(one.name) for one in folder.iterdir()]
    except OSError:
        return []
