"""SIGTERM, SIGINT and SIGHUP end a process within its grace time, also while its event loop stands still.

Handlers that belong to an event loop wait for it to turn, which one that stands still never does. These are Python's own: they run in the
midst of whatever the main thread executes. A healthy process gets its task cancelled and closes what it opened. Meanwhile a thread sees to
it that the loop turns: what is being decided is given up after a second, and a process in which nothing helps ends with code 71.
"""

from __future__ import annotations

import _thread
import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Final, Protocol, Self

import structlog

from bus.frames import stack_of

EXIT_HUNG: Final = 71
GRACE_S: Final = 4.0  # from the signal to the end of a process that stands still; a container gives 10
STILL_S: Final = 2.0  # without a turn, a loop stands still
TELL_S: Final = 0.5  # that a line of the log may take before the process ends without it
_LOOK_S: Final = 0.25

logger = structlog.get_logger(__name__)


class Watching(Protocol):
    """A watcher of an event loop that can get it out of a decision."""

    def stop_soon(self) -> None:
        """The process was told to end: a decision that runs for longer than a second is given up, its input not parked."""


watching: list[Watching] = []
"""Watches of this process."""


def end() -> None:
    """End the process at once, with the exit code that says that it stood still. Its children are told by the kernel."""
    os._exit(EXIT_HUNG)  # flushing could wait for ever, for a lock of whatever hangs; stderr is written line by line


class Stopping:
    """Cancels `task` at the first SIGTERM, SIGINT or SIGHUP, for a `with` block in the task's own loop. `asked` says that it happened.

    A second SIGINT raises `KeyboardInterrupt` where the process is. Outside of the main thread, which alone hears signals, nothing is done.
    """

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self._task = task
        self._loop = task.get_loop()
        self._before: dict[int, Any] = {}
        self._turned_at = 0.0
        self._over = threading.Event()
        self.asked = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            hung_up = [signal.SIGHUP] if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN else []  # ignored: `nohup` asks for that
            self._before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT, *hung_up)}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if signal.getsignal(signal.SIGALRM) is _breathe:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            return
        self.asked = True
        self._turned_at = time.monotonic()
        self._loop.call_soon_threadsafe(self._task.cancel)
        if signal.getsignal(signal.SIGALRM) is signal.SIG_DFL:
            signal.signal(signal.SIGALRM, _breathe)
            signal.setitimer(signal.ITIMER_REAL, _LOOK_S, _LOOK_S)
        # Not `threading.Thread`, whose start takes a lock that the interrupted code may hold.
        _thread.start_new_thread(self._see_to_it, ())

    def _see_to_it(self) -> None:
        asked_at = self._turned_at
        for watchdog in tuple(watching):
            watchdog.stop_soon()
        try:
            while not self._over.wait(_LOOK_S):
                now = time.monotonic()
                if now - asked_at >= GRACE_S and now - self._turned_at >= STILL_S:
                    self._end()
                self._loop.call_soon_threadsafe(self._turned)
        except RuntimeError:  # the loop is closed: all is well
            return

    def _turned(self) -> None:
        self._turned_at = time.monotonic()

    def _end(self) -> None:
        stack = stack_of(sys._current_frames().get(threading.main_thread().ident or 0))
        reason = "it was told to stop, and its event loop stands still"
        tell(logger.critical, "process_ends", code=EXIT_HUNG, reason=reason, stack=stack).join(TELL_S)
        end()


def tell(method: Callable[..., Any], event: str, **facts: object) -> threading.Thread:
    """Log from a thread of its own: whatever stands still may hold the lock of stderr, or its reader may read no more."""
    thread = threading.Thread(target=method, args=(event,), kwargs=facts, name="worldbus-tell", daemon=True)
    thread.start()
    return thread


def _breathe(number: int, frame: FrameType | None) -> None:
    """Let another thread have the interpreter's lock, which some code holds as long as it runs."""
    time.sleep(0.001)
