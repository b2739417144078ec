"""The debts of a lane: the rest of an interrupted decision, and the inputs that are parked or deferred in it.

They are taken up one after the other: first what is half written, then what waits, in its recorded order. That begins when an operator
asks for it, when an interrupted decision is found, and by itself when a lane that was quarantined can be folded again.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import structlog

from bus.bundle import outputs_of
from bus.decision import drop, park, reason_of, rest_of_group, retry_failed, taken_up
from bus.event import Draft, Event
from bus.failing import tell_parked
from bus.lane import Lane
from bus.lane_run import Entry, LaneRun
from bus.routing import CONTROL_EVENTS, lanes_of
from bus.subjects import Subject
from schemas.gen.worldbus.runtime.v1.runtime_pb2 import LaneDropRequested, LaneRetryRequested

if TYPE_CHECKING:
    from bus.runner import Runner

S = TypeVar("S")
OPERATOR = "operator"

log = structlog.get_logger(__name__)


class Unfinished(Generic[S]):
    """The part of a runner that settles what earlier moments left behind."""

    def __init__(self, runner: Runner[S]) -> None:
        self._runner = runner

    # -- taking up ---------------------------------------------------------------------------------------------------------------

    async def take_up(self, run: LaneRun[S]) -> None:
        """Go on with what is half written or waits, until nothing is left or something fails; then with the lane's inputs."""
        lane = run.lane
        if lane.group is not None:
            position = lane.group.mark.position
        elif lane.waiting:
            position = lane.waiting[0].position
        else:
            return self._runner.advance(run)
        event = await self.input(run, position)
        if event is None:
            return None
        if self._runner.caution.alarmed and (harm := await self._runner.caution.heed(run, event)) is not None:
            return self._fail(run, event, harm)
        try:
            drafts = rest_of_group(lane, event) if lane.group is not None else self._taken_up(lane, event)
            outputs = outputs_of(lane, event, drafts)
        except Exception as error:
            return self._fail(run, event, error)
        return self._runner.writer.write(run, event, outputs, self._go_on, self._fail)

    def _taken_up(self, lane: Lane[S], event: Event) -> list[Draft]:
        """The answer to the first input that waits. Raises what `entities` raises: then it waits here for want of its lanes."""
        answered = lane.waiting[0].answered
        if not answered:
            lanes_of(lane.handler, event, lane.watch)
        return taken_up(lane, event, answered=answered)

    def _go_on(self, run: LaneRun[S]) -> None:
        self._runner.spawn(run, self.take_up)

    def _fail(self, run: LaneRun[S], event: Event, error: Exception) -> None:
        """Record that a decision failed that was taken up, and leave it there: an operator has to look at it."""
        lane = run.lane
        if lane.waiting.has(event.position):
            log.warning("retry_failed", handler=lane.handler.name, lane=lane.entity, position=event.position, error=reason_of(error))
            self._record(run, event, retry_failed(lane, event, error), self._leave)
            return
        tell_parked(run, event, error)
        now = time.time_ns()
        self._record(run, event, park(lane, event, error, attempts=1, failed_ns=(now, now)), self._runner.advance)

    def _record(self, run: LaneRun[S], event: Event, drafts: list[Draft], then: Any) -> None:
        self._runner.writer.write(run, event, outputs_of(run.lane, event, drafts), then)

    def _leave(self, run: LaneRun[S]) -> None:
        """The request that began it is answered; any other input is still to be looked at."""
        if run.queue and run.queue[0].event.name in CONTROL_EVENTS:
            self._runner.answered(run)
        else:
            self._runner.advance(run)

    # -- requests ----------------------------------------------------------------------------------------------------------------

    async def control(self, run: LaneRun[S], request: Event) -> None:
        """An operator's request about this lane: take up the inputs that wait, one after the other, or give up the first one."""
        lane, runner = run.lane, self._runner
        by_hand = request.position > 0
        lane.asked = request.position
        harmed = runner.caution.alarmed and runner.caution.suspects.of_request(lane.world, lane.entity, lane.asked) is not None
        if not await self._looked_again(run, mended=by_hand and lane.fault is not None and not harmed):
            return None
        if lane.fault is None and lane.group is not None and not lane.group.put_aside:
            return await self.take_up(run)
        if not lane.waiting and await runner.caution.concerns(run, request):
            runner.caution.postpone(run)
            return runner.advance(run)
        if not lane.waiting or not (by_hand or lane.owes):
            runner.caution.decided(request)
            runner.done(run)
            return runner.advance(run)
        if isinstance(request.data, LaneDropRequested):
            return await self._drop(run, request.data)
        if lane.fault is None:
            log.info("lane_taken_up", handler=lane.handler.name, lane=lane.entity, waiting=len(lane.waiting), by_hand=by_hand)
            return await self.take_up(run)
        return await self._still_faulty(run)

    async def _looked_again(self, run: LaneRun[S], *, mended: bool) -> bool:
        """Bring the lane up to date; with `mended` from its beginning, since whatever its fault was may be gone. False: that ended it."""
        lane, runner, fault = run.lane, self._runner, run.lane.fault
        if mended:
            runner.forget(lane)
        elif lane.loaded and runner.alone:
            return True  # else the lane's inputs, and so what waits in it, may be another member's
        try:
            await runner.catch_up(lane)
        except Exception as error:
            if not mended:
                raise
            lane.fault = lane.fault or fault
            log.warning("retry_failed", handler=lane.handler.name, lane=lane.entity, error=repr(error))
            runner.done(run)
            runner.advance(run)
            return False
        run.blind = False
        if mended and lane.fault is None:
            runner.caution.forgive(lane)
        return not runner.closed

    async def _drop(self, run: LaneRun[S], request: LaneDropRequested) -> None:
        lane = run.lane
        half_written = lane.group is not None and lane.group.mark.position == request.position
        if request.position != lane.waiting[0].position and not half_written:
            self._runner.done(run)
            return self._runner.advance(run)
        event = await self.input(run, request.position)
        self._runner.caution.decided(run.queue[0].event)
        if event is not None:
            then = self._after_drop if lane.fault is None else self._after_drop_in_quarantine
            self._record(run, event, drop(lane, event, request.reason), then)
        return None

    def _after_drop(self, run: LaneRun[S]) -> None:
        self._go_on(run)

    def _after_drop_in_quarantine(self, run: LaneRun[S]) -> None:
        if run.lane.waiting:
            self._runner.spawn(run, self._still_faulty)
        else:
            self._runner.answered(run)

    async def _still_faulty(self, run: LaneRun[S]) -> None:
        """Tell, about the first input that waits, why the lane cannot be taken up here."""
        lane = run.lane
        event = await self.input(run, lane.waiting[0].position)
        if event is not None and lane.fault is not None:
            self._fail(run, event, lane.fault)

    # -- quarantines that are over -----------------------------------------------------------------------------------------------

    async def resume_quarantined(self, partition: int, session: Any) -> None:
        """Take up the lanes of a partition that were quarantined by a release which could not fold them, where this one can."""
        runner, epoch = self._runner, session.epoch
        for world, entity in await runner.store.quarantined(partition):
            trial = Lane(
                runner.handler.of(world), world, entity, runner.partitions, watch=runner.watch, fault=runner.caution.fault(world, entity)
            )
            await runner.catch_up(trial)
            if runner.closed or session.epoch != epoch:
                return
            if trial.owes:
                runner.enter(world, entity, Entry(_resumption(trial), b"", session, epoch, settle=_nothing, open=1))

    # -- reading -----------------------------------------------------------------------------------------------------------------

    async def input(self, run: LaneRun[S], position: int) -> Event | None:
        """The input at a position; None only when the runner was closed meanwhile."""
        found: list[Event] = []

        async def work() -> None:
            found.append(await self._runner.store.input_at(position))

        await self._runner.patience.until_read(run.lane, work)
        return found[0] if found else None


def _resumption(lane: Lane[Any]) -> Event:
    """A request to take up a lane that nobody made: it is not in the log, and has no position."""
    data = LaneRetryRequested(handler=lane.handler.name, reason="its history can be folded again")
    subject = Subject(lane.world, OPERATOR, lane.entity, data.DESCRIPTOR.name)
    return Event(raw=b"", subject=subject, partition=lane.partition, position=0, data=data)


def _nothing() -> None:
    """Settle nothing."""
