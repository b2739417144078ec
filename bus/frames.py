"""The words and origin of an error, and the stack of a thread, as short texts for records and logs."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import PurePath
from types import CodeType, FrameType, TracebackType
from typing import Final

from bus.bounded import excerpt

MAX_FRAMES: Final = 20
MAX_FRAME: Final = 255  # bytes
MAX_STACK: Final = 8192  # bytes
_WATCHDOG: Final = "bus/watchdog.py"  # it raises in the midst of whatever hangs
_OURS: Final = frozenset(
    f"bus/{name}.py"
    for name in ("bundle", "caution", "decision", "handler", "lane", "lane_writer", "routing", "runner", "unfinished", "watch")
)


def words_of(error: BaseException) -> str:
    """An error's class and message. A game's own exception may have any `__str__`: of one that raises, the class alone."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return type(error).__name__


def frames_of(error: BaseException) -> list[str]:
    """The last frames of an error's traceback, innermost last: `file:line function`.

    The runtime's own frames, through which every decision is called, are left out at the beginning.
    """
    traced = ((_relative(code.co_filename), line, code.co_qualname) for code, line in _traced(error.__traceback__))
    found = [frame for frame in traced if frame[0] != _WATCHDOG]
    first = next((number for number, (file, _, _) in enumerate(found) if file not in _OURS), 0)
    return [excerpt(f"{file}:{line} {name}", MAX_FRAME) for file, line, name in found[max(first, len(found) - MAX_FRAMES) :]]


def stack_of(frame: FrameType | None, *, below: CodeType | None = None) -> str:
    """The stack of a thread, innermost frame last, with the lines of source; the outermost frames go first where it is too long.

    `frame` is the innermost one. Left out are frames from the one that executes the code object `below` on outwards, and the watchdog's.
    """
    lines: list[str] = []
    while frame is not None and frame.f_code is not below:
        code = frame.f_code
        if _relative(code.co_filename) == _WATCHDOG:
            frame = frame.f_back
            continue
        source = linecache.getline(code.co_filename, frame.f_lineno).strip()
        lines.append(f"{_relative(code.co_filename)}:{frame.f_lineno} {code.co_qualname}" + (f"\n    {source}" if source else ""))
        frame = frame.f_back
    return excerpt("\n".join(reversed(lines)), MAX_STACK, end=True)


def _traced(trace: TracebackType | None) -> Iterator[tuple[CodeType, int]]:
    while trace is not None:
        yield trace.tb_frame.f_code, trace.tb_lineno
        trace = trace.tb_next


@lru_cache(maxsize=1024)
def _relative(file: str) -> str:
    """The path below the folder that its package was imported from; else its last three parts."""
    roots = [root for root in sys.path if root and file.startswith(root.rstrip("/") + "/")]
    if roots:
        return file[len(max(roots, key=len).rstrip("/")) + 1 :]
    return "/".join(PurePath(file).parts[-3:])
