"""Lanes that take turns, in the order of the log: with them the same inputs give the same log, byte for byte and position for position.

Without turns thousands of lanes are in flight at once and their outputs meet in the log as they come: the order within a lane is a promise,
the order between lanes is not. `Turns` makes it one, for one member on a log of its own: the lanes that an event concerns decide one after
the other, by the order of the handlers and of `entities`, and everything said at one position is heard before anything at the next. That
gives up all concurrency; it is for rehearsals that are to be repeated, not for players.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from bus.errors import WorldbusError
from schemas.upcast import recorded_names

if TYPE_CHECKING:
    from bus.event import Event
    from bus.runner import Runner


class Turn(NamedTuple):
    """One lane's decision on one input."""

    position: int
    handler: str
    world: str
    entity: str


class OutOfStep(WorldbusError):
    """An event that this process neither wrote nor knows to have written: the order of the log is not in its hands any more."""

    code = "OUT_OF_STEP"


class Turns:
    """The turns of all lanes. Attaches itself to the runners of one member; they must not have received anything yet.

    Whoever else speaks (the edges) does so between turns: `heard` its event once it is recorded, then wait until all is `settled`.
    """

    def __init__(self, runners: Iterable[Runner[Any]], last: int = 0, hear: Callable[[Event], None] = lambda _: None) -> None:
        self._runners = tuple(runners)
        self._also = hear  # told of everything that is heard, in log order
        self._hear = [(one, recorded_names(one.handler.listens_to)) for one in self._runners]
        self._last = last  # position
        self._turns: deque[Turn] = deque()
        self._open: set[Turn] = set()
        self._waiting: dict[Turn, Callable[[], None]] = {}
        self._changed = asyncio.Event()
        self._begun: Turn | None = None
        self._fault: OutOfStep | None = None
        self.taken = 0
        for runner in self._runners:
            runner.turns = self

    def begin(self, turn: Turn, resume: Callable[[], None]) -> bool:
        """Return whether the lane may go on now; if not, `resume` is called when it may. What comes again after its turn is let through."""
        if self._turns and self._turns[0] == turn:
            self._begun = turn
            return True
        if turn.position <= self._last and turn not in self._open:
            return True
        self._waiting[turn] = resume
        return False

    def expect(self, turn: Turn, resume: Callable[[], None]) -> None:
        """Wait for a later turn of the lane's own: `resume` is called when it has come, at once if it has."""
        self._waiting[turn] = resume
        if self._turns and self._turns[0] == turn:
            self._next()

    def begun(self, turn: Turn) -> bool:
        """Return whether the lane is at work on the input."""
        return self._begun == turn

    def over(self, turn: Turn) -> None:
        """The lane is done with the input."""
        if self._turns and self._turns[0] == turn:
            self._turns.popleft()
            self._open.discard(turn)
            self.taken += 1
            self._next()

    def heard(self, event: Event) -> None:
        """`event` is in the log: the lanes that it concerns get their turns. Events must come in log order, without a gap."""
        if event.position != self._last + 1:
            self._fault = OutOfStep(
                f"wanted position {self._last + 1} to be written next, found {event.position}: another process writes to this log, or an "
                "acknowledgement was lost; begin again on an empty data folder",
                position=event.position,
            )
        self._last = event.position
        self._also(event)
        idle = not self._turns
        for runner, names in self._hear:
            if event.name in names:
                turns = [Turn(event.position, runner.handler.name, world, entity) for world, entity in runner.route(event)]
                self._turns.extend(turns)
                self._open.update(turns)
        if idle:
            self._next()

    def _next(self) -> None:
        if not self._turns:
            self._changed.set()
            return
        resume = self._waiting.pop(self._turns[0], None)
        if resume is not None:
            asyncio.get_running_loop().call_soon(self._call, self._turns[0], resume)

    def _call(self, turn: Turn, resume: Callable[[], None]) -> None:
        if self._begun != turn:  # else the lane came to it by itself meanwhile
            resume()

    async def settled(self, within_s: float = 60.0) -> int:
        """Return the log's last position once every lane has had its turn. Raises `OutOfStep`, also when that takes longer."""
        while self._turns and self._fault is None:
            self._changed.clear()
            taken = self.taken
            try:
                async with asyncio.timeout(within_s):
                    await self._changed.wait()
            except TimeoutError as error:
                if self.taken == taken:
                    raise OutOfStep(f"nobody took a turn for {within_s:.0f} s: {self._turns[0]} is due") from error
        if self._fault is not None:
            raise self._fault
        return self._last
