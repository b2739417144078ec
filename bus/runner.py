"""The interpreter of one handler: it takes inputs from its partitions, lets each lane decide one after the other, and writes what they say.

    receive → which lanes → already answered? → decide → write under the fence → fold → settle

Lanes are independent: thousands are in flight at once, and a lane that waits (for an acknowledgement, for its history, for the next
attempt, behind a parked event) holds up no other. Nothing here is remembered that the log does not hold: after any crash or conflict a
lane is folded again and the input is looked at again, and what is already answered is recognised.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Set
from typing import Any, Generic, TypeVar

import structlog

from bus.bundle import as_event, bundle, outputs_of
from bus.decision import CONTROL, decide, defer, park
from bus.errors import BadSubject, Conflict, Disconnected, Rejected, Unknown, WorldbusError
from bus.event import Draft, Event
from bus.handler import Handler, of_subject
from bus.lane import Lane
from bus.lane_run import Entry, LaneRun, LaneStore, Limits, Output, Tally
from bus.skipping import Skips
from bus.subjects import check_token
from bus.turns import Turn, Turns
from bus.unfinished import Unfinished
from bus.writes import Writes

S = TypeVar("S")
log = structlog.get_logger(__name__)

ALL_MEASURED = 256  # decisions of a handler that are timed; after these every sixteenth is
SLICE_S = 0.005  # the pump lets the event loop breathe after so long
INVALID = "invalid"  # lane of inputs whose subject cannot name one
CONTROL_EVENTS = frozenset(kind.DESCRIPTOR.name for kind in CONTROL)


class Runner(Generic[S]):
    """Runs one handler over the inputs that its sessions hand in. Not thread safe; lives on one event loop."""

    def __init__(
        self,
        handler: Handler[S],
        store: LaneStore,
        writes: Writes,
        *,
        partitions: int,
        limits: Limits | None = None,
        known: Set[str] = frozenset(),
    ) -> None:
        """`known` are the names of all handlers of this bus, in whichever process they run: whatever others say comes from an edge."""
        self.handler = handler
        self.store = store
        self.writes = writes
        self.partitions = partitions
        self.limits = limits or Limits()
        self.tally = Tally()
        self._skips = Skips(handler.name, known, self.tally)
        self._unfinished = Unfinished(self)
        self.lanes: dict[tuple[str, str], LaneRun[S]] = {}
        self.alone = False  # True while no other member runs this handler: nobody else writes to its lanes
        self._home = handler.entities is of_subject  # a lane's inputs all lie in its own partition: whoever holds that writes it alone
        self._ready: deque[LaneRun[S]] = deque()
        self._pumping = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._loads = asyncio.Semaphore(32)
        self.turns: Turns | None = None  # lanes wait for their turn; None: all are in flight at once
        self.closed = False

    # -- receiving ---------------------------------------------------------------------------------------------------------------

    def receive(self, entry: Entry) -> None:
        """Put an input into the lanes that it concerns. Inputs of one partition must come in log order."""
        self.tally.received += 1
        entry.open = 1  # held until it is in all its lanes
        for world, entity in self.route(entry.event):
            run = self._lane(world, entity)
            entry.open += 1
            if self.turns is not None:
                self._queue_in_turn(run, entry, self.turns)
                continue
            run.queue.append(entry)
            if not run.busy:
                self._wake(run)
        entry.leave()

    def _queue_in_turn(self, run: LaneRun[S], entry: Entry, turns: Turns) -> None:
        """By position, over all partitions, behind what is being decided."""
        begun = bool(run.queue) and turns.begun(self._turn(run, run.queue[0].event))
        place = next((n for n, one in enumerate(run.queue) if n >= begun and one.event.position > entry.event.position), len(run.queue))
        run.queue.insert(place, entry)
        if not run.busy:
            self._wake(run)
        elif place == 0:
            turns.expect(self._turn(run, entry.event), lambda: self._resume(run))

    def route(self, event: Event) -> list[tuple[str, str]]:
        """The lanes (world, entity) that an input concerns, each once."""
        try:
            if event.name in CONTROL_EVENTS:
                return [(event.world, event.entity)] if getattr(event.data, "handler", "") == self.handler.name else []
            lanes = dict.fromkeys(self.handler.entities(event))
            return [(check_token(event.world, "world"), check_token(entity, "entity")) for entity in lanes]
        except Exception as error:  # whatever `entities` raises, the input is parked where its subject points
            if self._skips.take(event):
                return []
            log.warning("unroutable_input", handler=self.handler.name, position=event.position, error=str(error))
            try:
                return [(check_token(event.world, "world"), check_token(event.entity, "entity"))]
            except BadSubject:
                return [(INVALID, INVALID)]

    def _lane(self, world: str, entity: str) -> LaneRun[S]:
        key = (world, entity)
        run = self.lanes.get(key)
        if run is None:
            if len(self.lanes) >= self.limits.max_lanes:
                self._evict()
            run = self.lanes[key] = LaneRun(Lane(self.handler, world, entity, self.partitions))
        return run

    def _evict(self) -> None:
        """Drop idle lanes, those that have been in memory longest first, to an eighth below the limit, so that it happens seldom."""
        goal = len(self.lanes) - self.limits.max_lanes * 7 // 8
        idle = [key for key, run in self.lanes.items() if not run.busy and not run.queue][:goal]
        for key in idle:
            lane = self.lanes.pop(key).lane
            if lane.unsnapped >= self.limits.snapshot_every // 8:
                self.store.save(lane)

    # -- the pump ----------------------------------------------------------------------------------------------------------------

    def _wake(self, run: LaneRun[S]) -> None:
        run.busy = True
        self._ready.append(run)
        if not self._pumping:
            self._pumping = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        until = time.monotonic() + SLICE_S
        ready = self._ready
        while ready:
            self._resume(ready.popleft())
            if time.monotonic() > until:
                break
        if ready and not self.closed:
            asyncio.get_running_loop().call_soon(self._pump)
        else:
            self._pumping = False

    def _resume(self, run: LaneRun[S]) -> None:
        """Go on with a lane; a fault of our own costs this lane a pause and the others nothing."""
        try:
            self.advance(run)
        except Exception:
            log.exception("lane_failed", handler=self.handler.name, lane=run.lane.entity)
            run.must_load = True
            self._later(run, 1.0)

    def advance(self, run: LaneRun[S]) -> None:
        """Take the lane as far as it goes without waiting."""
        while run.queue and not self.closed:
            entry = run.queue[0]
            if entry.stale:
                self.done(run)
                continue
            if self.turns is not None and not self.turns.begin(self._turn(run, entry.event), lambda: self._resume(run)):
                return
            if run.must_load:
                self.spawn(self._load(run, run.lane.position))
                return
            if not self._look(run, entry.event):
                return
        run.busy = False

    def _look(self, run: LaneRun[S], event: Event) -> bool:
        """Decide the lane's first input; False when the lane now waits for something."""
        lane = run.lane
        if lane.group is not None:
            self.spawn(self._unfinished.finish_group(run))
            return False
        if event.name in CONTROL_EVENTS:
            self.spawn(self._unfinished.control(run, event))
            return False
        if lane.has_done(event.partition, event.position):
            self.tally.recognised += 1
            self.done(run)
            return True
        if self._bundle(run):
            return False
        if lane.parked and self._skips.take(event):
            self.done(run)
            return True
        try:
            drafts = defer(lane, event) if lane.parked else self._decide(lane, event)
        except Exception as error:
            if self._skips.take(event):
                self.done(run)
                return True
            return self._failed(run, event, error)
        if drafts:
            self.tally.deferred += lane.parked
            self.write_all(run, event, drafts, self.answered)
            return False
        if not lane.loaded or not (self.alone or self._home):
            # "Nothing to say" rests on a state that may be behind the log: an entity not seen here before, or one that another
            # member writes too, for inputs of other partitions. An output would have been fenced; silence is not, so look first.
            return self._confirm_silence(run, event)
        run.streak = 0
        self.done(run)
        return True

    def _decide(self, lane: Lane[S], event: Event) -> list[Draft]:
        tally = self.tally
        tally.decided += 1
        if tally.decided & 15 and tally.decided > ALL_MEASURED:
            return decide(lane, event)
        began = time.thread_time_ns()  # of this decision's own; what else the machine does is not its rules' doing
        drafts = decide(lane, event)
        if len(tally.decide_ns) > 4096:
            del tally.decide_ns[:2048]
        tally.decide_ns.append(time.thread_time_ns() - began)
        return drafts

    def done(self, run: LaneRun[S]) -> None:
        run.attempt = 0
        entry = run.queue.popleft()
        if self.turns is not None and not entry.stale:
            self.turns.over(self._turn(run, entry.event))
        entry.leave()

    def _turn(self, run: LaneRun[S], event: Event) -> Turn:
        return Turn(event.position, self.handler.name, run.lane.world, run.lane.entity)

    def answered(self, run: LaneRun[S]) -> None:
        run.streak += 1
        run.single = False
        self.done(run)
        if run.lane.unsnapped >= self.limits.snapshot_every:
            self.store.save(run.lane)
        self.advance(run)

    # -- writing -----------------------------------------------------------------------------------------------------------------

    def write_all(self, run: LaneRun[S], event: Event, drafts: list[Draft], then: Callable[[LaneRun[S]], None]) -> None:
        """Write the answers to `event` one after the other, each fenced by the one before; then go on with `then`."""
        run.event, run.then = event, then
        try:
            run.outputs = deque(outputs_of(event, drafts))
        except Rejected as error:
            self._failed(run, event, error)
            return
        if self._may_bundle(run, len(run.outputs)):
            self._write_together(run)
        else:
            self._write_next(run)

    def _may_bundle(self, run: LaneRun[S], count: int) -> bool:
        enough = self.limits.together_from
        return enough is not None and count >= enough and not run.single and self.turns is None and self.writes.room_for_together

    def _bundle(self, run: LaneRun[S]) -> bool:
        """Answer many waiting inputs at once, where enough wait; False if they should be answered one by one."""
        lane, limits = run.lane, self.limits
        if not self._may_bundle(run, len(run.queue)) or run.streak < limits.together_after or lane.parked or not lane.loaded:
            return False
        found = bundle(run, self._decide, limits.together_from or 0)
        if found is None:
            run.streak = 0
            return False
        run.event, run.outputs = run.queue[0].event, deque(found.outputs)
        run.then = lambda run: self._answered_many(run, found.inputs)
        self._write_together(run)
        return True

    def _answered_many(self, run: LaneRun[S], inputs: int) -> None:
        for _ in range(inputs - 1):
            self.done(run)
        self.answered(run)

    def _write_together(self, run: LaneRun[S]) -> None:
        outputs = list(run.outputs)

        def stored(last: int) -> None:
            for position, output in enumerate(outputs, last - len(outputs) + 1):
                run.lane.apply(as_event(output, run.lane, position), output.mark)
            run.lane.loaded = True
            self.tally.emitted += len(outputs)
            run.outputs.clear()
            if run.then is not None:
                run.then(run)

        def refused(error: WorldbusError) -> None:
            if not isinstance(error, Conflict | Unknown | Disconnected):
                log.info("batch_refused", handler=self.handler.name, lane=run.lane.entity, error=str(error))
                run.single = True  # whatever is wrong with it, each event gets its own answer
                run.outputs.clear()
                self._later(run, 0.0)
                return
            self._refused(run, error)

        self.writes.write_together(outputs, run.fence, run.lane.position, stored, refused)

    def _write_next(self, run: LaneRun[S]) -> None:
        output = run.outputs[0]

        def stored(position: int) -> None:
            self._stored(run, output, position)

        def refused(error: WorldbusError) -> None:
            self._refused(run, error)

        self.writes.write(output.subject, run.fence, run.lane.position, output.raw, stored, refused)

    def _stored(self, run: LaneRun[S], output: Output, position: int) -> None:
        lane = run.lane
        lane.loaded = True  # the fence held, so nothing was there that we do not know
        event = as_event(output, lane, position)
        lane.apply(event, output.mark)
        if self.turns is not None:
            self.turns.heard(event)
        self.tally.emitted += 1
        run.outputs.popleft()
        if run.outputs:
            self._write_next(run)
        elif run.then is not None:
            run.then(run)

    def _refused(self, run: LaneRun[S], error: WorldbusError) -> None:
        run.outputs.clear()
        if isinstance(error, Conflict):
            self.tally.conflicts += 1
            self.spawn(self._load(run, int(str(error.facts.get("found", 0)))))
        elif isinstance(error, Rejected) and run.event is not None and run.attempt <= self.limits.attempts:
            self._failed(run, run.event, error)
        else:  # unknown outcome: it may be in the log, so fold again before anything else
            run.must_load = True
            self._later(run, self.limits.first_retry_s)

    # -- waiting -----------------------------------------------------------------------------------------------------------------

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name=f"lane-{self.handler.name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _later(self, run: LaneRun[S], delay_s: float) -> None:
        asyncio.get_running_loop().call_later(delay_s * random.uniform(0.8, 1.2), self._resume, run)

    async def patiently(self, run: LaneRun[S], work: Callable[[], Awaitable[None]]) -> None:
        """Repeat `work` until the log answers, then go on with the lane. A lane that cannot be read must not be guessed."""
        delay_s = self.limits.first_retry_s
        while not self.closed:
            try:
                async with self._loads:
                    await work()
                break
            except (Rejected, OSError, WorldbusError) as error:
                log.warning("lane_waits_for_the_log", handler=self.handler.name, lane=run.lane.entity, error=str(error))
                await asyncio.sleep(delay_s)
                delay_s = min(delay_s * 2, 2.0)

    async def _load(self, run: LaneRun[S], at_least: int) -> None:
        async def work() -> None:
            self.tally.loads += 1
            await self.store.load(run.lane, at_least=at_least)
            run.lane.loaded, run.must_load = True, False

        await self.patiently(run, work)
        self.advance(run)

    async def catch_up(self, lane: Lane[S]) -> None:
        self.tally.loads += 1
        await self.store.load(lane, at_least=lane.position)
        lane.loaded = True

    def _confirm_silence(self, run: LaneRun[S], event: Event) -> bool:
        before = run.lane.position if run.lane.loaded else -1

        async def confirm() -> None:
            await self.patiently(run, lambda: self.catch_up(run.lane))
            if run.queue and run.queue[0].event is event and run.lane.position == max(before, 0) and not run.lane.waiting:
                self.done(run)  # nothing new in the log: the silence stands
            self.advance(run)

        self.spawn(confirm())
        return False

    def _failed(self, run: LaneRun[S], event: Event, error: BaseException) -> bool:
        """A decision failed: try again after a while if it may be a bug that a deploy mends, else park. False: the lane waits."""
        now = time.time_ns()
        run.attempt += 1
        run.first_failed_ns = run.first_failed_ns if run.attempt > 1 else now
        if not isinstance(error, Rejected) and run.attempt < self.limits.attempts:
            log.warning("decision_failed", handler=self.handler.name, position=event.position, attempt=run.attempt, error=repr(error))
            self._later(run, self.limits.first_retry_s * 2 ** (run.attempt - 1))
            return False
        log.error("input_parked", handler=self.handler.name, lane=run.lane.entity, position=event.position, error=repr(error))
        self.tally.parked += 1
        drafts = park(run.lane, event, error, attempts=run.attempt, failed_ns=(run.first_failed_ns, now))
        self.write_all(run, event, drafts, self.answered)
        return False

    def distrust(self, partition: int | None = None) -> None:
        """Others may have written meanwhile: every lane (of a partition) is brought up to date before its next decision."""
        for run in self.lanes.values():
            if partition is None or run.lane.partition == partition:
                run.must_load = True

    # -- the end -----------------------------------------------------------------------------------------------------------------

    async def quiesce(self, within_s: float) -> bool:
        """Wait until no lane is busy; False if some still are after `within_s`."""
        until = time.monotonic() + within_s
        while any(run.busy for run in self.lanes.values()):
            if time.monotonic() > until:
                return False
            await asyncio.sleep(0.01)
        return True

    async def aclose(self) -> None:
        """Stop deciding; keep snapshots of what is in memory."""
        self.closed = True
        for task in list(self._tasks):
            task.cancel()
        for run in self.lanes.values():
            if not run.busy and run.lane.unsnapped >= self.limits.snapshot_every // 8:
                self.store.save(run.lane)
