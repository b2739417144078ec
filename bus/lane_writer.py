"""Writing what a lane emits: each event fenced by the one before it, or all of them as one atomic batch under one fence."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

import structlog

from bus.errors import Conflict, Disconnected, Rejected, Unknown, WorldbusError
from bus.event import Event
from bus.lane_run import LaneRun, Output

if TYPE_CHECKING:
    from bus.runner import Runner

S = TypeVar("S")
log = structlog.get_logger(__name__)


class LaneWriter(Generic[S]):
    """The part of a runner that writes. One decision of a lane is on its way at a time; what the log answers goes on with the lane."""

    def __init__(self, runner: Runner[S]) -> None:
        self._runner = runner
        self._writes = runner.writes
        self._tally = runner.tally

    def write(
        self,
        run: LaneRun[S],
        event: Event,
        outputs: Sequence[Output],
        then: Callable[[LaneRun[S]], None],
        failed: Callable[[LaneRun[S], Event, Exception], object] | None = None,
    ) -> None:
        """Write the answers to `event`, then go on with `then`.

        `failed` is called when the log can never take one of them; without it, for the runtime's own records, that is an error of ours.
        """
        run.event, run.then, run.failed = event, then, failed
        run.outputs = deque(outputs)
        if self.may_bundle(run, len(run.outputs)):
            self._write_together(run)
        else:
            self._write_next(run)

    def may_bundle(self, run: LaneRun[S], count: int) -> bool:
        """Return whether so many outputs of the lane may travel as one atomic batch now."""
        runner, enough = self._runner, self._runner.limits.together_from
        if enough is None or count < enough or run.single or runner.turns is not None or runner.careful is not None:
            return False
        return self._writes.room_for_together

    def _write_together(self, run: LaneRun[S]) -> None:
        outputs = list(run.outputs)

        def stored(last: int) -> None:
            try:
                self._stored_together(run, outputs, last)
            except Exception as error:
                self._runner.trouble(run, error)

        def refused(error: WorldbusError) -> None:
            if not isinstance(error, Conflict | Unknown | Disconnected):
                log.info("batch_refused", handler=run.lane.handler.name, lane=run.lane.entity, error=str(error))
                run.single = True  # whatever is wrong with it, each event gets its own answer
                run.outputs.clear()
                self._runner.later(run, 0.0)
                return
            self._refused(run, error)

        self._writes.write_together(outputs, run.fence, run.lane.position, stored, refused)

    def _write_next(self, run: LaneRun[S]) -> None:
        output = run.outputs[0]

        def stored(position: int) -> None:  # called from inside the parser, which would only note an error
            try:
                self._stored(run, output, position)
            except Exception as error:
                self._runner.trouble(run, error)

        def refused(error: WorldbusError) -> None:
            self._refused(run, error)

        self._writes.write(output.subject, run.fence, run.lane.position, output.raw, stored, refused)

    def _stored_together(self, run: LaneRun[S], outputs: Sequence[Output], last: int) -> None:
        run.outputs.clear()
        for position, output in enumerate(outputs, last - len(outputs) + 1):
            self._fold(run, output, position)
        if run.then is not None:
            run.then(run)

    def _stored(self, run: LaneRun[S], output: Output, position: int) -> None:
        run.outputs.popleft()
        self._fold(run, output, position)
        if self._runner.turns is not None:
            self._runner.turns.heard(output.event)
        if run.outputs:
            self._write_next(run)
        elif run.then is not None:
            run.then(run)

    def _fold(self, run: LaneRun[S], output: Output, position: int) -> None:
        lane = run.lane
        lane.loaded = not run.blind  # the fence held, so nothing was there that we do not know
        output.event.position = position
        lane.apply(output.event, output.mark, state=output.state)
        self._tally.emitted += 1

    def _refused(self, run: LaneRun[S], error: WorldbusError) -> None:
        try:
            self._on_refusal(run, error)
        except Exception as ours:
            self._runner.trouble(run, ours)

    def _on_refusal(self, run: LaneRun[S], error: WorldbusError) -> None:
        run.outputs.clear()
        if isinstance(error, Conflict):
            self._tally.conflicts += 1
            self._runner.moved_on(run, int(str(error.facts.get("found", 0))))
        elif not isinstance(error, Rejected):  # unknown outcome: it may be in the log, so fold again before anything else
            run.must_load = True
            self._runner.later(run, self._runner.limits.first_retry_s)
        elif run.failed is not None and run.event is not None:
            run.failed(run, run.event, error)
        else:
            self._runner.trouble(run, error)
