"""What a lane still owes: the rest of an interrupted decision, and the inputs that are parked or deferred in it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Generic, TypeVar

from bus.decision import decide, drop, park, rest_of_group, retry_failed
from bus.event import Event
from bus.lane_run import LaneRun
from schemas.gen.worldbus.runtime.v1.runtime_pb2 import LaneDropRequested

if TYPE_CHECKING:
    from bus.runner import Runner

S = TypeVar("S")


class Unfinished(Generic[S]):
    """The part of a runner that settles what earlier moments left behind."""

    def __init__(self, runner: Runner[S]) -> None:
        self._runner = runner

    async def finish_group(self, run: LaneRun[S]) -> None:
        """Write the outputs that an interrupted decision still owes."""
        group = run.lane.group
        assert group is not None
        event = await self._input(run, group.mark.position)
        if event is None or run.lane.group is not group:
            return self._runner.advance(run)
        try:
            self._runner.write_all(run, event, rest_of_group(run.lane, event), self._runner.advance)
        except Exception as error:
            now = time.time_ns()
            drafts = park(run.lane, event, error, attempts=1, failed_ns=(now, now))
            self._runner.write_all(run, event, drafts, self._runner.advance)
        return None

    async def control(self, run: LaneRun[S], request: Event) -> None:
        """An operator's wish about this lane: take up the inputs that wait, one after the other, or give up the first one."""
        lane = run.lane
        if not lane.loaded or not self._runner.alone:  # the lane's inputs, and so what waits in it, may be another member's
            await self._runner.patiently(run, lambda: self._runner.catch_up(lane))
            if self._runner.closed or lane.group is not None:
                return self._runner.advance(run)
        if not lane.waiting:
            self._runner.done(run)
            return self._runner.advance(run)
        position = lane.waiting[0].position
        event = await self._input(run, position)
        if event is None or not lane.waiting or lane.waiting[0].position != position:
            return self._runner.advance(run)
        if isinstance(request.data, LaneDropRequested):
            self._drop(run, request.data, event)
        else:
            self._retry(run, event)
        return None

    def _drop(self, run: LaneRun[S], request: LaneDropRequested, event: Event) -> None:
        if request.position != event.position:
            self._runner.done(run)
            self._runner.advance(run)
            return
        self._runner.write_all(run, event, drop(run.lane, event, request.reason), self._go_on)

    def _go_on(self, run: LaneRun[S]) -> None:
        if run.lane.waiting:
            self._runner.spawn(self._next(run))
        else:
            self._runner.answered(run)

    async def _next(self, run: LaneRun[S]) -> None:
        position = run.lane.waiting[0].position
        event = await self._input(run, position)
        if event is None:
            return
        self._retry(run, event)

    def _retry(self, run: LaneRun[S], event: Event) -> None:
        lane = run.lane
        try:
            drafts = decide(lane, event, retried=True)
        except Exception as error:
            self._runner.write_all(run, event, retry_failed(lane, event, error), self._runner.answered)
            return
        self._runner.write_all(run, event, drafts, self._go_on)

    async def _input(self, run: LaneRun[S], position: int) -> Event | None:
        """The input at a position; None only when the runner was closed meanwhile."""
        found: list[Event] = []

        async def work() -> None:
            found.append(await self._runner.store.input_at(position))

        await self._runner.patiently(run, work)
        return found[0] if found else None
