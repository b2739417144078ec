"""The inputs of a handler that are not simply decided: those at which a process came to harm, and those that an operator gave up.

Harm is known from what other members left behind (`bus.hangs`), read when a partition is taken up. While another member may still get out
of its decision, the input waits here; once its process ended by it, it is quarantined: parked, with the stack, instead of decided.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

import structlog

from bus.bundle import outputs_of
from bus.connection import ApiError
from bus.decision import drop
from bus.errors import HandlerHung, LaneStopped, Stopped, WorldbusError
from bus.event import Event
from bus.hangs import Hang, Hangs
from bus.lane import Lane
from bus.lane_run import Entry, LaneRun
from bus.quarantine import hung
from bus.routing import lanes_of, place_of
from bus.suspects import Suspects
from schemas.gen.worldbus.runtime.v1.runtime_pb2 import LaneDropRequested

if TYPE_CHECKING:
    from bus.runner import Runner

S = TypeVar("S")
AGAIN_S = 30.0  # between two looks at records that concern nobody here at the moment
LOOK_S = 0.25  # between two looks at an input that waits for another member
DROP = LaneDropRequested.DESCRIPTOR.name
PATIENCE_S = 30.0  # that a request to drop waits for an input that is not parked yet

log = structlog.get_logger(__name__)


class Caution(Generic[S]):
    """The part of a runner that minds what harms. `alarmed` is False as long as all is well, and then nothing else is asked."""

    def __init__(self, runner: Runner[S], hangs: Hangs | None = None, me: str = "") -> None:
        self._runner = runner
        self._hangs = hangs
        self._me = me
        self.suspects = Suspects(me)
        self._given_up: dict[tuple[str, str, int], str] = {}
        self._astray: dict[int, Exception] = {}  # by position: inputs whose lanes could not be found here, and why not
        self._hung: dict[tuple[str, str, int], HandlerHung] = {}
        self._again: asyncio.TimerHandle | None = None
        self.alarmed = False

    async def recall(self) -> None:
        """Read what others left, and again after a while as long as there is something. Raises `Transient`."""
        if self._hangs is None:
            return
        self.suspects.learn(await self._hangs.read(self._runner.handler.name))
        for hang in self.suspects.outdated():
            self._served(hang)  # its process ended in some other way, and nobody takes it back
        self._look()
        if self.suspects.known and self._again is None:
            self._again = asyncio.get_running_loop().call_later(AGAIN_S, self._look_again)

    def _look_again(self) -> None:
        self._again = None
        if not self._runner.closed:
            self._runner.background(self._recall_if_possible())

    def _look(self) -> None:
        self.alarmed = bool(self.suspects.known or self._given_up or self._astray or self._hung)

    # -- lanes -------------------------------------------------------------------------------------------------------------------

    def lanes(self, event: Event) -> list[tuple[str, str]]:
        """The lanes that an input concerns. One of which `entities` gives none, but hangs or raises, is parked where its subject points."""
        if self.alarmed and self._unroutable(place_of(event), event.position) is not None:
            return [place_of(event)]
        try:
            lanes = lanes_of(self._runner.handler, event, self._runner.watch, skipped=self._runner.skips.take)
        except Stopped:
            raise
        except Exception as error:
            self._astray[event.position] = error
            self._look()
            return [place_of(event)]
        if event.subject.name == DROP and lanes:
            self._give_up(event)
        return lanes

    def over(self, event: Event) -> None:
        """The lane is done with an input. By one whose `entities` hangs nobody is harmed again: that is kept in mind."""
        if not isinstance(self._astray.get(event.position), HandlerHung | None):
            del self._astray[event.position]
            self._look()

    def _unroutable(self, place: tuple[str, str], position: int) -> Exception | None:
        """The error of asking for an input's lanes, here or where a process ended by it: nobody asks again."""
        hang = self.suspects.of_input(*place, position)
        asked = hang is not None and hang.step == "entities"
        return self._astray.get(position) or (self.suspects.verdict(hang) if hang is not None and asked else None)

    def fault(self, world: str, entity: str) -> Exception | None:
        """The reason for which a lane is not even to be folded, if there is one."""
        hang = self.suspects.of_lane(world, entity) if self.alarmed else None
        verdict = self.suspects.verdict(hang) if hang is not None else None
        if verdict is None:
            return None
        return hung(verdict, handler=self._runner.handler.name, entity=entity)

    # -- inputs in their turn ----------------------------------------------------------------------------------------------------

    def minds(self, lane: Lane[S], event: Event) -> bool:
        """Return whether an input needs a look of its own."""
        place = lane.world, lane.entity
        return (
            (*place, event.position) in self._given_up
            or event.position in self._astray
            or (*place, event.position) in self._hung
            or self.suspects.of_input(*place, event.position) is not None
        )

    def hung_ahead(self, lane: Lane[S], event: Event, error: HandlerHung) -> None:
        """An input hung while its lane decided ahead: in its own turn it is parked, and not decided once more."""
        self._hung[lane.world, lane.entity, event.position] = error
        self._look()

    def stops(self, run: LaneRun[S], event: Event) -> bool:
        """Return whether the lane's first input is not to be decided now; then it is seen to."""
        lane = run.lane
        if self.gives_up(run, event):
            return True
        place = lane.world, lane.entity
        known = self._hung.pop((*place, event.position), None) or self._unroutable(place, event.position)
        if known is not None:
            self._runner.failing.failed(run, event, known)
            return True
        hang = self.suspects.of_input(*place, event.position)
        if hang is None:
            return False
        if self.suspects.wait_s(hang) > 0:
            self._runner.spawn(run, self._wait)
            return True
        verdict = self.suspects.verdict(hang)
        if verdict is None:
            return False
        self._served(hang)
        self._runner.failing.failed(run, event, verdict)
        return True

    def gives_up(self, run: LaneRun[S], event: Event) -> bool:
        """Return whether an operator asked to give up this input, which is done then."""
        lane = run.lane
        reason = self._given_up.pop((lane.world, lane.entity, event.position), None)
        if reason is None:
            return False
        self._look()
        log.info("input_dropped", handler=lane.handler.name, lane=lane.entity, position=event.position, reason=reason)
        self._runner.writer.write(run, event, outputs_of(lane, event, drop(lane, event, reason)), self._runner.answered)
        return True

    async def _wait(self, run: LaneRun[S]) -> None:
        """Leave it to the member that is at work on it, as long as that may still come to an end."""
        lane, entry = run.lane, run.queue[0]
        log.info("input_waits", handler=lane.handler.name, lane=lane.entity, position=entry.event.position)
        while not entry.stale and not self._runner.closed:
            await asyncio.sleep(LOOK_S)
            await self._recall_if_possible()
            hang = self.suspects.of_input(lane.world, lane.entity, entry.event.position)
            if hang is None or not self.suspects.wait_s(hang):
                break
        run.must_load = True  # it may be answered, or parked
        self._runner.advance(run)

    async def _recall_if_possible(self) -> None:
        try:
            await self.recall()
        except (WorldbusError, ApiError) as error:
            log.debug("hangs_not_read", error=str(error))

    def _served(self, hang: Hang) -> None:
        self.suspects.drop(hang)
        self._look()
        if self._hangs is not None:
            self._runner.background(self._hangs.forget(hang))

    # -- what an operator asks for -----------------------------------------------------------------------------------------------

    async def heed(self, run: LaneRun[S], event: Event) -> HandlerHung | None:
        """The reason for which an input that waited is not to be taken up, if there is one; waits for another member that is at it."""
        lane = run.lane
        while self.alarmed:
            hang = self.suspects.of_request(lane.world, lane.entity, lane.asked) if lane.asked else None
            hang = hang or self.suspects.of_input(lane.world, lane.entity, event.position)
            if hang is None or (hang.asked == 0 and lane.asked):
                return None  # what harmed then may be mended: that is what the operator says
            if not self.suspects.wait_s(hang):
                verdict = self.suspects.verdict(hang)
                if verdict is not None:
                    self._served(hang)
                return verdict
            await asyncio.sleep(LOOK_S)
            await self._recall_if_possible()
        return None

    def forgive(self, lane: Lane[S]) -> None:
        """The lane could be folded again: whatever harmed is mended."""
        hang = self.suspects.of_lane(lane.world, lane.entity) if self.alarmed else None
        if hang is not None:
            self._served(hang)

    def _give_up(self, event: Event) -> None:
        request = event.data
        assert isinstance(request, LaneDropRequested)
        self._given_up[event.world, event.entity, request.position] = request.reason
        self._look()

    def decided(self, request: Event) -> None:
        """The request is settled, and so is its input."""
        if isinstance(request.data, LaneDropRequested):
            self._given_up.pop((request.world, request.entity, request.data.position), None)
            self._look()

    async def concerns(self, run: LaneRun[S], request: Event) -> bool:
        """Return whether the lane is still to decide the input that is to be dropped."""
        lane, data = run.lane, request.data
        if not isinstance(data, LaneDropRequested) or not 0 < data.position < request.position:
            return False
        event = await self._runner.unfinished.input(run, data.position)
        if event is None or lane.has_done(event.partition, event.position) or event.name not in self._runner.listens_to:
            return False
        return (lane.world, lane.entity) in self.lanes(event)

    def postpone(self, run: LaneRun[S]) -> None:
        """Take the request out of the lane's way until its input is parked or answered, for a while."""
        entry = run.queue.popleft()
        self._runner.background(self._await_parked(run.lane, entry))

    async def _await_parked(self, lane: Lane[S], entry: Entry) -> None:
        try:
            if not await self._parked_soon(lane, entry):
                self.decided(entry.event)
                entry.leave()
        except Exception as error:
            log.warning("request_given_up", handler=lane.handler.name, lane=lane.entity, position=entry.event.position, error=repr(error))
            entry.leave()

    async def _parked_soon(self, lane: Lane[S], entry: Entry) -> bool:
        """Hand the request to its lane again once its input is parked; False if that was answered, or nothing came of it."""
        data, runner, loop = entry.event.data, self._runner, asyncio.get_running_loop()
        assert isinstance(data, LaneDropRequested)
        event = await runner.store.input_at(data.position)
        until, pause_s = loop.time() + PATIENCE_S, LOOK_S
        while not entry.stale and not runner.closed and loop.time() < until:
            trial = Lane(lane.handler, lane.world, lane.entity, runner.partitions, watch=lane.watch, fault=_NOT_WANTED)
            await runner.catch_up(trial)
            if trial.waiting.has(data.position):
                runner.enter(lane.world, lane.entity, entry)
                return True
            if trial.has_done(event.partition, event.position):
                return False
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, 2.0)
        return False


_NOT_WANTED = LaneStopped("only what it waits for is wanted")
