"""One input at a time, each written down before it is decided: how a process goes on where others died without a word.

A crash, a lack of memory or a probe that kills leaves nobody to say which input it was. Once members died again and again at the same place
of a partition (`bus.succession`), the whole process lets its lanes decide one after the other, and notes each input, acknowledged, before
it does. Whoever finds such a note at an input knows that a process died of it, and after the second quarantines it (`bus.caution`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import structlog

from bus.connection import ApiError
from bus.errors import WorldbusError
from bus.hangs import Hang, Hangs

if TYPE_CHECKING:
    from bus.event import Event
    from bus.lane_run import LaneRun
    from bus.runner import Runner

OPERATOR: Final = "operator"
INPUTS: Final = 4500  # of a partition that are decided carefully: as many as a member may have been given, and not settled
QUIET_S: Final = 2.0  # without an input: whatever was to be feared is over
PASS_ON_S: Final = 1.0  # a lane that waits for longer than this, for the log or its next try, is not about to harm

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Feared:
    """A partition that needs care."""

    survived: Callable[[], None]  # to be called when it was long enough
    left: int = INPUTS
    used_at: float = 0.0  # when one of its inputs last had a turn


class Careful:
    """The turns of one process. `on` as long as any of its partitions needs care."""

    def __init__(self, hangs: Hangs, me: str, runners: Callable[[], Iterable[Runner[Any]]]) -> None:
        self._hangs = hangs
        self._me = me
        self._runners = runners
        self._feared: dict[str, _Feared] = {}  # by consumer
        self._queue: dict[LaneRun[Any], Runner[Any]] = {}  # in order
        self._turn: LaneRun[Any] | None = None
        self._of: Runner[Any] | None = None  # whose lane that is
        self._note: Hang | None = None  # what is written down about it
        self._noted = False
        self._quiet: asyncio.TimerHandle | None = None
        self._passing: asyncio.TimerHandle | None = None

    def begin_with(self, consumer: str, survived: Callable[[], None]) -> None:
        """Go on carefully because of a partition; `survived` is called when that was long enough."""
        log.warning("goes_on_carefully", consumer=consumer, inputs=INPUTS)
        self._feared[consumer] = _Feared(survived, used_at=asyncio.get_running_loop().time())
        for runner in self._runners():
            runner.careful = self
        if self._quiet is None:
            self._look()

    def end_with(self, consumer: str) -> None:
        """The partition is another member's, or needs no more care."""
        if self._feared.pop(consumer, None) is not None and not self._feared:
            log.info("careless_again")
            for runner in self._runners():
                runner.careful = None
            waiting, self._queue = self._queue, {}
            if self._turn is not None:
                self._pass_on(self._turn)
            for run, runner in waiting.items():
                runner.resume(run)

    # -- turns -------------------------------------------------------------------------------------------------------------------

    def begin(self, runner: Runner[Any], run: LaneRun[Any]) -> bool:
        """Return whether the lane may decide its first input now. If not, the lane goes on when its turn has come."""
        if run is self._turn and self._noted:
            return True
        if run is not self._turn:
            self._queue[run] = runner
            self._next()
        return False

    def over(self, run: LaneRun[Any], event: Event) -> None:
        """The lane is done with its first input, `event`."""
        if run is self._turn:
            self._count(_consumer(run, event))
            self._pass_on(run)

    def _next(self) -> None:
        if self._turn is not None or not self._queue:
            return
        self._turn = run = next(iter(self._queue))
        self._of = runner = self._queue.pop(run)
        self._noted = False
        runner.background(self._write_down(runner, run))

    async def _write_down(self, runner: Runner[Any], run: LaneRun[Any]) -> None:
        while run is self._turn and run.queue and not runner.closed:
            note = self._about(runner, run)
            try:
                await self._hangs.note(note)
            except (WorldbusError, ApiError) as error:
                log.debug("not_written_down", error=str(error))
                await asyncio.sleep(0.1)
                continue
            self._note, self._noted = note, True
            self._passing = asyncio.get_running_loop().call_later(PASS_ON_S, self._pass_on, run)
            break
        else:
            self._pass_on(run)
        runner.resume(run)

    def _about(self, runner: Runner[Any], run: LaneRun[Any]) -> Hang:
        """The note about the decision that is to begin, with the number of those who died of it before."""
        lane, event = run.lane, run.queue[0].event
        asked = event.position if event.subsystem == OPERATOR else 0
        suspects = runner.caution.suspects
        before = (
            suspects.of_request(lane.world, lane.entity, asked) if asked else suspects.of_input(lane.world, lane.entity, event.position)
        )
        return Hang(
            handler=runner.handler.name,
            world=lane.world,
            entity=lane.entity,
            step="decide",
            position=event.position,
            asked=asked,
            state="deciding",
            deaths=before.deaths + 1 if before is not None and before.state == "deciding" else 0,
            member=self._me,
        )

    def _pass_on(self, run: LaneRun[Any]) -> None:
        if run is not self._turn:
            return
        if self._passing is not None:
            self._passing.cancel()
            self._passing = None
        if self._note is not None and self._of is not None:
            note, self._note = self._note, None
            self._of.background(self._hangs.forget(note))
        self._turn = None
        self._next()

    # -- the end of care ---------------------------------------------------------------------------------------------------------

    def _count(self, consumer: str) -> None:
        feared = self._feared.get(consumer)
        if feared is None:
            return
        feared.left -= 1
        feared.used_at = asyncio.get_running_loop().time()
        if not feared.left:
            feared.survived()
            self.end_with(consumer)

    def _look(self) -> None:
        """Partitions that have had nothing to decide for a while have nothing to fear."""
        now = asyncio.get_running_loop().time()
        turns = [run for run in (self._turn, *self._queue) if run is not None and run.queue]
        waiting = {_consumer(run, run.queue[0].event) for run in turns}
        for consumer, feared in list(self._feared.items()):
            if now - feared.used_at > QUIET_S and consumer not in waiting:
                feared.survived()
                self.end_with(consumer)
        self._quiet = asyncio.get_running_loop().call_later(QUIET_S / 2, self._look) if self._feared else None


def _consumer(run: LaneRun[Any], event: Event) -> str:
    return f"{run.lane.handler.label}_{OPERATOR if event.subsystem == OPERATOR else event.partition}"
