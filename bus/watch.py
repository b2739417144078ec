"""The present decision of an event loop, marked so that a watchdog can see it and take it back.

A handler's function (`decide`, `evolve`, `entities`, `initial`) is the game's own code: it may loop for ever, and while it runs nothing
else does. Every call of one goes through `Watch.call`, which stores what is called before and forgets it after. The watchdog reads that
from outside, and may order the call to end: an exception is then raised in the midst of it. The functions are pure, so nothing is half
done.

The exception must never be raised outside such a call, where it would tear the runtime itself apart. In the loop's own thread (a signal
handler) that is certain: the call is marked while the handler runs, or not. From another thread it is not, so `thrown` says beforehand that
one is on its way, and a call that ends meanwhile waits for it.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from bus.errors import BrokenRule, HandlerHung, Stopped, WorldbusError
from bus.frames import words_of

if TYPE_CHECKING:
    from bus.event import Event
    from bus.handler import Subsystem
    from bus.lane import Lane

A = TypeVar("A")
B = TypeVar("B")
T = TypeVar("T")
_NOT, _COMING, _SENT = range(3)  # of an exception that another thread throws


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One call of a handler's function: `step` is its name. `owner` is the lane, for `entities`, which no lane has yet, the handler.

    `event` is None of `initial`. `asked` is the position of the operator's request that it answers, 0 if none.
    """

    step: str
    owner: Lane[Any] | Subsystem
    event: Event | None
    asked: int

    def same(self, other: Call) -> bool:
        """Return whether both look like one call: the same step of the same lane on the same event."""
        return self.step == other.step and self.owner is other.owner and self.event is other.event

    @property
    def handler(self) -> str:
        """The name of the handler that is called."""
        owner: Any = self.owner
        return str(getattr(owner, "handler", owner).name)

    @property
    def lane(self) -> tuple[str, str]:
        """(world, entity): the lane's, or where an input without one points; empty if neither is known."""
        place: Any = self.owner if hasattr(self.owner, "entity") else self.event
        return (place.world, place.entity) if place is not None else ("", "")

    @property
    def position(self) -> int:
        """Of the event, 0 if there is none."""
        return self.event.position if self.event is not None else 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Order:
    """The watchdog's word that a call is to end: parked as hung, or only given up because the process is to `stop`."""

    call: Call
    seconds: float
    stack: str
    stop: bool = False

    def error(self) -> WorldbusError:
        """The error that the call raises instead of its result."""
        if self.stop:
            return Stopped("the process was told to end in the midst of this decision, which is made again by whoever takes over")
        return HandlerHung(
            f"`{self.call.step}` did not return within {self.seconds:.1f} s and was interrupted: look at the stack for what it waits for, "
            "mend the rules, then `worldbus parked retry`; or give the input up with `worldbus parked drop`",
            stack=self.stack,
        )


class Interrupted(BaseException):
    """Raised in the midst of a handler's function; not an `Exception`, so that rules which catch those do not keep it."""


class Watch:
    """The mark of one event loop. `step` is empty between calls."""

    __slots__ = ("event", "order", "owner", "step", "thrown")

    def __init__(self) -> None:
        self.step = ""
        self.owner: Lane[Any] | Subsystem | None = None
        self.event: Event | None = None
        self.order: Order | None = None
        self.thrown = _NOT

    def call(self, step: str, owner: Lane[Any] | Subsystem, event: Event | None, function: Callable[[A, B], T], first: A, second: B) -> T:
        """The result of `function(first, second)`. Raises whatever it raises, and `HandlerHung` or `Stopped` when it was interrupted.

        What it raises that is no `Exception` comes as `BrokenRule`: an exit, a cancellation, the panic of an extension in Rust.
        Called for every decision and every fold: it costs 70 ns more than the call itself.
        """
        self.owner, self.event = owner, event
        self.order = None
        try:
            try:
                self.step = step
                return function(first, second)
            finally:
                self.step = ""
                if self.thrown:
                    self._await_thrown()
        except Interrupted as interrupted:
            self.thrown = _NOT
            order = self.order or Order(call=Call(step, owner, event, 0), seconds=0.0, stack="")
            raise order.error().with_traceback(interrupted.__traceback__) from None
        except (Exception, KeyboardInterrupt):
            raise
        except BaseException as error:  # would pass by whoever handles errors here, and end or stop the whole loop
            raise _no_exception(step, error).with_traceback(error.__traceback__) from None

    @property
    def now(self) -> Call | None:
        """The call in progress, if there is one. For another thread: what it sees may have ended meanwhile."""
        step, owner, event = self.step, self.owner, self.event
        return Call(step, owner, event, getattr(owner, "asked", 0)) if step and owner is not None else None

    @property
    def ordered(self) -> bool:
        """Return whether the call in progress is one that was ordered to end."""
        order, call = self.order, self.now
        return order is not None and call is not None and order.call.same(call)

    def throw(self, order: Order, thread: int) -> None:
        """Raise `Interrupted` in the call, from another thread. It arrives when Python code runs there next: a call that waits in C code is
        not reached."""
        self.order = order
        self.thrown = _COMING  # before the look: a call that ends now sees it, or we see that it has ended
        if self.ordered:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(Interrupted))
            self.thrown = _SENT
        else:
            self.thrown = _NOT

    def _await_thrown(self) -> None:
        """Once it was sent, the exception arrives in the next line of Python, so here, unless it did before and the rules kept it."""
        while self.thrown == _COMING:
            time.sleep(0.0001)
        for _ in range(3):
            time.sleep(0)
        self.thrown = _NOT


def _no_exception(step: str, error: BaseException) -> BrokenRule:
    return BrokenRule(
        f"wanted messages or an exception from `{step}`, found {words_of(error)}, which would end the process: look at the frames for who "
        "raises it, mend the rules, then `worldbus parked retry`"
    )


class _Unwatched(Watch):
    """Calls that nobody watches: pure uses such as tests and folds outside of a runtime."""

    def call(self, step: str, owner: Lane[Any] | Subsystem, event: Event | None, function: Callable[[A, B], T], first: A, second: B) -> T:
        return function(first, second)


UNWATCHED: Final[Watch] = _Unwatched()
