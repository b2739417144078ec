"""Notices that an event loop stands still in a handler's function, says where, and gets it out of there or ends the process.

A thread looks several times a second whether the loop has turned since. Where it has not, it counts the time that the loop's thread was
given (`bus.witness`), and beyond each budget does more:

    report_s      log `decision_hangs` with the stack, health turns red, a record for whoever takes over says `hanging`
    interrupt_s   an exception is raised in the call; its input is parked as `HANDLER_HUNG`, and everything else goes on
    exit_s        the record says `hung`, so that a successor quarantines the input, and the process ends with code 71

Where the loop runs in the main thread and nobody else uses SIGALRM, the exception comes from a handler of that signal: it reaches code that
sleeps, reads a socket or searches by a regular expression as well, and it runs while that holds the interpreter's lock, so that the thread
gets a turn. The timer of the signal is put off whenever the loop turns, never by a decision. Elsewhere the thread does what it can: an
exception that it throws arrives when Python code runs next.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
import time
from dataclasses import dataclass
from types import CodeType, FrameType, TracebackType
from typing import Final, Self

import structlog

from bus.errors import BadSettings
from bus.frames import stack_of
from bus.hangs import PATIENCE_S, Hang, Hangs
from bus.health import Health
from bus.last_resort import LastResort
from bus.stopping import EXIT_HUNG, TELL_S, end, tell, watching
from bus.watch import Call, Interrupted, Order, Watch
from bus.witness import Witness

SOURCE: Final = "watchdog"  # of a reason for red health
MOST_TICK_S: Final = 0.125
BLOCKED_S: Final = 5.0  # a loop that stands still outside of a handler's function is reported
STOP_AFTER_S: Final = 1.0  # a call that runs for so long when the process is told to end is given up
JOIN_S: Final = 3.0  # that its thread may take to end
_BREATH_S: Final = 0.1  # how long the signal handler lets the thread have the interpreter's lock, at most

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """Limits of a call of a handler's function, in seconds that its thread was given. Raises `BadSettings`."""

    report_s: float = 0.5  # before a pin runs out: whoever takes over has to find the record
    interrupt_s: float = 3.0
    exit_s: float = 6.0

    def __post_init__(self) -> None:
        if not 0 < self.report_s <= self.interrupt_s < self.exit_s:
            raise BadSettings(
                f"budgets of a decision: wanted 0 < report_s <= interrupt_s < exit_s, found {self.report_s:g}, {self.interrupt_s:g} and "
                f"{self.exit_s:g}"
            )

    @property
    def tick_s(self) -> float:
        """Between two looks."""
        return min(MOST_TICK_S, self.report_s / 4)


class Watchdog:
    """Watches the running event loop for a `with` block, entered and left in that loop's thread."""

    def __init__(self, watch: Watch, health: Health, hangs: Hangs | None, budgets: Budgets, member: str = "") -> None:
        """Without `hangs` nothing is left for others: of a process that only looks, such as `verify`."""
        self._watch = watch
        self._health = health
        self._hangs = hangs
        self._budgets = budgets
        self._member = member
        self._beats = 0  # turns of the loop that were counted
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="worldbus-watchdog", daemon=True)
        # the loop's thread
        self._loop_thread = threading.current_thread()
        self._beating: asyncio.TimerHandle | None = None
        self._signals = False
        self._last_resort: LastResort | None = None
        # the thread's own
        self._witness: Witness | None = None  # while the loop stands still
        self._seen = 0
        self._looks = 0
        self._blocked_s = 0.0
        self._call: Call | None = None
        self._call_s = 0.0
        self._told: Hang | None = None  # the record that was left about the call
        self._reported = False
        self._interrupted = False
        self._stop_at = 0.0  # the process is to end; monotonic seconds

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGALRM) is signal.SIG_DFL:
            signal.signal(signal.SIGALRM, self._on_alarm)
            self._signals = True
            self._last_resort = LastResort(threading.get_ident(), self._budgets.exit_s + 1.0, EXIT_HUNG)
        self._beat()
        self._thread.start()
        watching.append(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        watching.remove(self)
        self._closed.set()
        self._thread.join(JOIN_S)  # it may be about to send the signal that nobody handles from here on, and which would kill
        if self._beating is not None:
            self._beating.cancel()
        if self._last_resort is not None:
            self._last_resort.close()
        if self._signals:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
        self._health.clear(SOURCE)

    def stop_soon(self) -> None:
        """The process was told to end: a call that runs for longer than a second is given up, its input not parked."""
        self._stop_at = self._stop_at or time.monotonic()

    # -- in the loop -------------------------------------------------------------------------------------------------------------

    def _beat(self) -> None:
        self._beats += 1
        self._beating = asyncio.get_running_loop().call_later(self._budgets.tick_s, self._beat)
        if self._signals:
            signal.setitimer(signal.ITIMER_REAL, 2 * self._budgets.tick_s)

    def _on_alarm(self, number: int, frame: FrameType | None) -> None:
        """The loop is late: let the thread look, even if the interrupted code never lets go of the lock, and do what it says."""
        if self._watch.step or self._stop_at:
            looks, until = self._looks, time.monotonic() + _BREATH_S
            while self._looks == looks and not self._watch.ordered and time.monotonic() < until:
                time.sleep(0.001)
        signal.setitimer(signal.ITIMER_REAL, self._budgets.tick_s)
        if self._watch.ordered:
            raise Interrupted

    # -- in the thread -----------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closed.wait(self._budgets.tick_s):
            try:
                self._look()
            except Exception as error:  # whatever it is, the next look may be the one that matters
                tell(log.error, "watchdog_failed", exc_info=error)

    def _look(self) -> None:
        if self._last_resort is not None:
            self._last_resort.put_off()
        if self._beats != self._seen:
            self._seen = self._beats
            if self._witness is not None:
                self._over()
        elif self._witness is None:
            self._witness = Witness(self._loop_thread.native_id or 0, most_s=2 * self._budgets.tick_s)
            self._call = self._watch.now
        else:
            self._count(self._witness.passed())
        self._looks += 1

    def _count(self, passed_s: float) -> None:
        """The loop stands still, and its thread was given so much more time."""
        self._blocked_s += passed_s
        call = self._watch.now
        if call is None or self._call is None or not call.same(self._call):
            self._returned()
            self._call = call
        else:
            self._call_s += passed_s
            self._judge(call)
        if call is None and self._blocked_s - passed_s < BLOCKED_S <= self._blocked_s:
            stack = self._stack()
            tell(log.error, "loop_blocked", seconds=round(self._blocked_s, 1), stack=stack)
            self._health.red(SOURCE, f"the event loop stands still for {self._blocked_s:.1f} s outside of a handler: {_innermost(stack)}")

    def _judge(self, call: Call) -> None:
        if self._call_s >= self._budgets.report_s and not self._reported:
            self._reported = True
            try:
                self._report(call)
            except Exception as error:  # what matters more comes after it
                tell(log.error, "watchdog_failed", exc_info=error)
        if self._call_s >= self._budgets.exit_s:
            self._exit(call)
        elif self._call_s >= self._budgets.interrupt_s:
            self._interrupt(call, stop=False)
        elif self._stop_at and self._call_s >= min(STOP_AFTER_S, self._budgets.interrupt_s) and call.step == "decide":
            self._interrupt(call, stop=True)

    def _report(self, call: Call) -> None:
        stack = self._stack()
        self._told = self._hang(call, stack)
        world, entity = call.lane
        about = {"handler": call.handler, "step": call.step, "world": world, "entity": entity, "position": call.position}
        tell(log.error, "decision_hangs", **about, seconds=round(self._call_s, 1), stack=stack)
        self._health.red(
            SOURCE,
            f"{call.handler}/{entity}: `{call.step}` of the event at position {call.position} does not return, "
            f"{self._call_s:.1f} s so far: {_innermost(stack)}",
        )
        if self._hangs is not None:
            self._hangs.leave(self._told)

    def _interrupt(self, call: Call, *, stop: bool) -> None:
        order = Order(call=call, seconds=self._call_s, stack=self._stack(), stop=stop)
        if not self._interrupted:
            self._interrupted = True
            tell(log.warning, "decision_interrupted", handler=call.handler, step=call.step, position=call.position, stop=stop)
        if self._signals:
            self._watch.order = order
            signal.pthread_kill(self._loop_thread.ident or 0, signal.SIGALRM)
        else:
            self._watch.throw(order, self._loop_thread.ident or 0)

    def _exit(self, call: Call) -> None:
        try:
            self._last_words(call)
        finally:
            end()

    def _last_words(self, call: Call) -> None:
        stack = self._stack()
        sys.setswitchinterval(0.0005)  # what blocks the loop is about to end anyway; the record is what counts now
        left = self._hangs is not None and self._hangs.leave(self._hang(call, stack, over=True)).wait(PATIENCE_S + 0.5)
        facts = {"handler": call.handler, "position": call.position, "seconds": round(self._call_s, 1), "recorded": left, "stack": stack}
        tell(log.critical, "process_ends", code=EXIT_HUNG, **facts).join(TELL_S)

    def _hang(self, call: Call, stack: str, *, over: bool = False) -> Hang:
        world, entity = call.lane
        return Hang(
            handler=call.handler,
            world=world,
            entity=entity,
            step=call.step,
            position=call.position,
            asked=call.asked,
            state="hung" if over else "hanging",
            seconds=round(self._call_s, 1),
            settled_s=max(0.0, self._budgets.exit_s - self._call_s) + 2 * PATIENCE_S,
            stack=stack,
            member=self._member,
        )

    def _returned(self) -> None:
        """The call came to its end, one way or another."""
        if self._told is not None:
            tell(log.info, "decision_returned", handler=self._told.handler, position=self._told.position, seconds=round(self._call_s, 1))
            if self._hangs is not None:
                self._hangs.take_back(self._told)
        self._call, self._call_s, self._told = None, 0.0, None
        self._reported = self._interrupted = False

    def _over(self) -> None:
        """The loop turns again."""
        self._returned()
        self._witness, self._blocked_s = None, 0.0
        self._health.clear(SOURCE)

    def _stack(self) -> str:
        return stack_of(sys._current_frames().get(self._loop_thread.ident or 0), below=_CALL)


_CALL: Final[CodeType] = Watch.call.__code__


def _innermost(stack: str) -> str:
    """The line of source that a stack ends with."""
    return stack.rpartition("\n")[2].strip()
