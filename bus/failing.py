"""Inputs that are not decided: tried again, parked with the reason, or deferred behind one that is parked."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Generic, TypeVar

import structlog

from bus.bundle import outputs_of
from bus.decision import code_of, defer, park, reason_of
from bus.errors import Rejected, Stopped
from bus.event import Event
from bus.frames import frames_of
from bus.lane_run import LaneRun

if TYPE_CHECKING:
    from bus.runner import Runner

S = TypeVar("S")
log = structlog.get_logger(__name__)


class Failing(Generic[S]):
    """The part of a runner that puts inputs aside."""

    def __init__(self, runner: Runner[S]) -> None:
        self._runner = runner

    def failed(self, run: LaneRun[S], event: Event, error: Exception) -> bool:
        """A decision failed: try again after a while if it may be a bug that a deploy mends, else park. False: the lane waits."""
        runner, limits = self._runner, self._runner.limits
        if isinstance(error, Stopped):  # the process ends, and whoever takes over decides it; what follows may hang as well
            runner.closed = runner.patience.closed = True
            return False
        if runner.caution.alarmed and runner.caution.gives_up(run, event):
            return False
        now = time.time_ns()
        run.attempt += 1
        run.first_failed_ns = run.first_failed_ns if run.attempt > 1 else now
        if not isinstance(error, Rejected) and run.attempt < limits.attempts:
            log.warning(
                "decision_failed", handler=runner.handler.name, position=event.position, attempt=run.attempt, error=reason_of(error)
            )
            runner.later(run, limits.first_retry_s * 2 ** (run.attempt - 1))
            return False
        tell_parked(run, event, error)
        runner.tally.parked += 1
        drafts = park(run.lane, event, error, attempts=run.attempt, failed_ns=(run.first_failed_ns, now))
        runner.writer.write(run, event, outputs_of(run.lane, event, drafts), runner.answered)
        return False

    def put_aside(self, run: LaneRun[S], event: Event) -> bool:
        """Park the first input of a lane whose state is not known, or defer one behind an input that waits already."""
        runner, lane = self._runner, run.lane
        if lane.waiting:
            drafts = defer(lane, event)
            runner.tally.deferred += 1
        else:
            assert lane.fault is not None
            log.error("lane_quarantined", handler=lane.handler.name, lane=lane.entity, position=event.position, error=reason_of(lane.fault))
            runner.tally.parked += 1
            now = time.time_ns()
            drafts = park(lane, event, lane.fault, attempts=max(1, run.troubles), failed_ns=(now, now))
        runner.writer.write(run, event, outputs_of(lane, event, drafts), runner.answered)
        return False


def tell_parked(run: LaneRun[S], event: Event, error: Exception) -> None:
    """Say once, in the log of the process, that an input is parked, and why."""
    log.error(
        "input_parked",
        handler=run.lane.handler.name,
        lane=run.lane.entity,
        position=event.position,
        code=code_of(error),
        error=type(error).__name__,
        reason=reason_of(error),
        frames=frames_of(error),
    )
