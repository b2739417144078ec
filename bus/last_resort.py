"""The end of a process in which no Python runs any more.

Code in C that neither lets go of the interpreter's lock nor looks for signals (`sum(range(10**12))`) stops every thread of Python, the
watchdog's too. Two timers of the system watch the *processor time* of the loop's thread, so a process that was stopped or starved does not
meet them: the first makes `faulthandler` write every thread's stack to stderr, the second calls `_exit`. Both are put off as long as the
watchdog's thread comes to run. Code that sleeps in C without letting go of the lock uses no processor time, and is not noticed.
"""

from __future__ import annotations

import ctypes
import faulthandler
import signal
import sys
import time
from typing import Any, Final

import structlog

_SIGEV_SIGNAL, _SIGEV_THREAD = 0, 2
_NANOS: Final = 1_000_000_000

logger = structlog.get_logger(__name__)


class _Event(ctypes.Structure):
    """`struct sigevent` of Linux: 64 bytes on every platform with 64-bit pointers."""

    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signal", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("function", ctypes.c_void_p),
        ("attributes", ctypes.c_void_p),
        ("rest", ctypes.c_int * 8),
    )


class _Spec(ctypes.Structure):
    """`struct itimerspec`: interval and first expiry, in seconds and nanoseconds."""

    _fields_ = (("interval_s", ctypes.c_long), ("interval_ns", ctypes.c_long), ("first_s", ctypes.c_long), ("first_ns", ctypes.c_long))


class LastResort:
    """Ends the process with `code` once the thread `thread` (Python's number of it) has used `after_s` seconds of processor time since the
    last `put_off`. Does nothing on systems without such timers."""

    def __init__(self, thread: int, after_s: float, code: int) -> None:
        self._after_s = after_s
        self._timers: list[ctypes.c_void_p] = []
        try:
            self._libc: Any = ctypes.CDLL(None, use_errno=True)
            clock = time.pthread_getcpuclockid(thread)
            dump = signal.SIGRTMAX - 1
            faulthandler.register(dump, file=sys.__stderr__ or sys.stderr, all_threads=True)
            self._make(clock, _Event(signal=dump, notify=_SIGEV_SIGNAL))
            leave = ctypes.cast(self._libc._exit, ctypes.c_void_p)
            self._make(clock, _Event(value=code, notify=_SIGEV_THREAD, function=leave.value))
        except (AttributeError, OSError, ValueError, RuntimeError) as error:
            logger.debug("no_last_resort", error=str(error))
            self.close()

    def put_off(self) -> None:
        """All is well, or at least somebody looks."""
        for timer, more_s in zip(self._timers, (0.0, 0.5), strict=False):
            self._set(timer, self._after_s + more_s)

    def close(self) -> None:
        """Take the timers away."""
        for timer in self._timers:
            self._libc.timer_delete(timer)
        self._timers.clear()

    def _make(self, clock: int, event: _Event) -> None:
        timer = ctypes.c_void_p()
        if self._libc.timer_create(clock, ctypes.byref(event), ctypes.byref(timer)):
            raise OSError(ctypes.get_errno(), "timer_create")
        self._timers.append(timer)

    def _set(self, timer: ctypes.c_void_p, seconds: float) -> None:
        whole = int(seconds)
        spec = _Spec(first_s=whole, first_ns=int((seconds - whole) * _NANOS))
        self._libc.timer_settime(timer, 0, ctypes.byref(spec), None)
