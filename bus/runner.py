"""The interpreter of one handler: it takes inputs from its partitions, lets each lane decide one after the other, and writes what they say.

    receive → which lanes → already answered? → decide → write under the fence → fold → settle

Lanes are independent: thousands are in flight at once, and a lane that waits (for an acknowledgement, for its history, for the next
attempt, behind a parked event) holds up no other. Nothing here is remembered that the log does not hold: after any crash or conflict a
lane is folded again and the input is looked at again, and what is already answered is recognised.

Whatever stops a lane stops that lane alone, and is in the log: an input that cannot be decided is parked, a lane whose state cannot be
folded here is quarantined (bus/quarantine.py), and so is one at which this code itself fails again and again. Only a log that cannot be
read is waited for (bus/patience.py).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Coroutine, Set
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import structlog

from bus.bundle import bundle, outputs_of
from bus.caution import Caution
from bus.decision import decide
from bus.event import Draft, Event
from bus.failing import Failing
from bus.handler import Subsystem
from bus.lane import Lane
from bus.lane_run import Entry, LaneRun, LaneStore, Limits, Tally
from bus.lane_writer import LaneWriter
from bus.patience import Patience
from bus.routing import CONTROL_EVENTS, lanes_or_place
from bus.skipping import Skips
from bus.turns import Turn, Turns
from bus.unfinished import Unfinished
from bus.watch import UNWATCHED, Watch
from bus.writes import Writes
from schemas.upcast import recorded_names

if TYPE_CHECKING:
    from bus.careful import Careful

S = TypeVar("S")
log = structlog.get_logger(__name__)

SLICE_S = 0.005  # the pump lets the event loop breathe after so long
LONGEST_PAUSE_S = 30.0  # between tries to get a lane on at which this code fails


class Runner(Generic[S]):
    """Runs one handler over the inputs that its sessions hand in. Not thread safe; lives on one event loop."""

    def __init__(
        self,
        handler: Subsystem,
        store: LaneStore,
        writes: Writes,
        *,
        partitions: int,
        limits: Limits | None = None,
        watch: Watch = UNWATCHED,
        known: Set[str] = frozenset(),
    ) -> None:
        """`known` are the names of all handlers of this bus, in whichever process they run: whatever others say comes from an edge."""
        self.handler = handler
        self.watch = watch
        self.store = store
        self.writes = writes
        self.partitions = partitions
        self.limits = limits or Limits()
        self.tally = Tally()
        self.skips = Skips(handler.name, known, self.tally)
        self.patience = Patience(handler.name, self.limits.first_retry_s)
        self.writer = LaneWriter(self)
        self.unfinished = Unfinished(self)
        self.failing = Failing(self)
        self.caution: Caution[S] = Caution(self)
        self.careful: Careful | None = None  # while the whole process decides one input at a time
        self.listens_to = recorded_names(handler.listens_to)
        self.lanes: dict[tuple[str, str], LaneRun[S]] = {}
        self.alone = False  # True while no other member runs this handler: nobody else writes to its lanes
        self._home = handler.at_home  # a lane's inputs all lie in its own partition: whoever holds that writes it alone
        self._ready: deque[LaneRun[S]] = deque()
        self._pumping = False
        self._tasks: set[asyncio.Task[None]] = set()
        self.turns: Turns | None = None  # lanes wait for their turn; None: all are in flight at once
        self.closed = False

    # -- receiving ---------------------------------------------------------------------------------------------------------------

    def receive(self, entry: Entry) -> None:
        """Put an input into the lanes that it concerns. Inputs of one partition must come in log order."""
        self.tally.received += 1
        entry.open = 1  # held until it is in all its lanes
        for world, entity in self.caution.lanes(entry.event):
            entry.open += 1
            if self.turns is not None:
                self._queue_in_turn(self._lane(world, entity), entry, self.turns)
            else:
                self.enter(world, entity, entry)
        entry.leave()

    def route(self, event: Event) -> list[tuple[str, str]]:
        """The lanes (world, entity) that an input will be put into, by its rules alone."""
        return lanes_or_place(self.handler, event, self.watch, skipped=self.skips.would_take)

    def enter(self, world: str, entity: str, entry: Entry) -> None:
        """Put an entry behind the others of one lane."""
        run = self._lane(world, entity)
        run.queue.append(entry)
        if not run.busy:
            self._wake(run)

    def _queue_in_turn(self, run: LaneRun[S], entry: Entry, turns: Turns) -> None:
        """By position, over all partitions, behind what is being decided."""
        begun = bool(run.queue) and turns.begun(self._turn(run, run.queue[0].event))
        place = next((n for n, one in enumerate(run.queue) if n >= begun and one.event.position > entry.event.position), len(run.queue))
        run.queue.insert(place, entry)
        if not run.busy:
            self._wake(run)
        elif place == 0:
            turns.expect(self._turn(run, entry.event), lambda: self.resume(run))

    def _lane(self, world: str, entity: str) -> LaneRun[S]:
        key = (world, entity)
        run = self.lanes.get(key)
        if run is None:
            if len(self.lanes) >= self.limits.max_lanes:
                self._evict()
            fault = self.caution.fault(world, entity)
            run = self.lanes[key] = LaneRun(Lane(self.handler.of(world), world, entity, self.partitions, watch=self.watch, fault=fault))
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
            self.resume(ready.popleft())
            if time.monotonic() > until:
                break
        if ready and not self.closed:
            asyncio.get_running_loop().call_soon(self._pump)
        else:
            self._pumping = False

    def resume(self, run: LaneRun[S]) -> None:
        """Go on with a lane; a fault of our own costs this lane a pause and the others nothing."""
        try:
            self.advance(run)
        except Exception as error:
            self.trouble(run, error)

    def advance(self, run: LaneRun[S]) -> None:
        """Take the lane as far as it goes without waiting."""
        while run.queue and not self.closed:
            entry = run.queue[0]
            if entry.stale:
                self.done(run)
                continue
            if self.turns is not None and not self.turns.begin(self._turn(run, entry.event), lambda: self.resume(run)):
                return
            if self.careful is not None and not self.careful.begin(self, run):
                return
            if run.must_load:
                self.spawn(run, self._load, run.lane.position)
                return
            if not self._look(run, entry.event):
                return
        run.busy = False

    def _look(self, run: LaneRun[S], event: Event) -> bool:
        """Decide the lane's first input; False when the lane now waits for something."""
        lane = run.lane
        if event.name in CONTROL_EVENTS:
            self.spawn(run, self.unfinished.control, event)
            return False
        if (lane.group is not None or lane.waiting) and lane.owes:
            self.spawn(run, self.unfinished.take_up)
            return False
        if lane.has_done(event.partition, event.position):
            self.tally.recognised += 1
            self.done(run)
            return True
        if lane.waiting or lane.fault is not None:
            return self._skip(run, event) or self.failing.put_aside(run, event)
        if self.caution.alarmed and self.caution.stops(run, event):
            return False
        if self._bundle(run):
            return False
        try:
            drafts = self._decide(lane, event)
            outputs = outputs_of(lane, event, drafts) if drafts else ()
        except Exception as error:
            return self._skip(run, event) or self.failing.failed(run, event, error)
        if outputs:
            self.writer.write(run, event, outputs, self.answered, self.failing.failed)
            return False
        if not lane.loaded or not (self.alone or self._home):
            # "Nothing to say" rests on a state that may be behind the log: an entity not seen here before, or one that another
            # member writes too, for inputs of other partitions. An output would have been fenced; silence is not, so look first.
            return self._confirm_silence(run, event)
        run.streak = 0
        self.done(run)
        return True

    def _skip(self, run: LaneRun[S], event: Event) -> bool:
        """Return whether the first input of a lane is garbage of an edge, and passed over."""
        if not self.skips.take(event):
            return False
        self.done(run)
        return True

    def _decide(self, lane: Lane[S], event: Event) -> list[Draft]:
        tally = self.tally
        tally.last, tally.last_ns = event.position, time.time_ns()
        began = tally.began()
        drafts = decide(lane, event)
        if began:
            tally.took(began)
        return drafts

    def done(self, run: LaneRun[S]) -> None:
        run.attempt = 0
        if run.troubles:
            self._recovered(run)
        entry = run.queue.popleft()
        run.lane.asked = 0
        if self.caution.alarmed:
            self.caution.over(entry.event)
        if self.careful is not None:
            self.careful.over(run, entry.event)
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

    def _bundle(self, run: LaneRun[S]) -> bool:
        """Answer many waiting inputs at once, where enough wait; False if they should be answered one by one."""
        lane, limits = run.lane, self.limits
        if not self.writer.may_bundle(run, len(run.queue)) or run.streak < limits.together_after or not lane.loaded:
            return False
        found = bundle(run, self._decide, limits.together_from or 0, self.caution)
        if found is None:
            run.streak = 0
            return False
        self.writer.write(run, run.queue[0].event, found.outputs, lambda run: self._answered_many(run, found.inputs), self.failing.failed)
        return True

    def _answered_many(self, run: LaneRun[S], inputs: int) -> None:
        for _ in range(inputs - 1):
            self.done(run)
        self.answered(run)

    def moved_on(self, run: LaneRun[S], found: int) -> None:
        """The lane's last event is at `found`, not where we thought."""
        lane = run.lane
        if run.blind:
            lane.position = found
            self.advance(run)
            return
        if found < lane.position:  # we know events that the log does not have: a snapshot of another log, say
            log.error("lane_ahead_of_the_log", handler=self.handler.name, lane=lane.entity, wanted=lane.position, found=found)
            self.forget(lane)
        self.spawn(run, self._load, found)

    @staticmethod
    def forget(lane: Lane[S]) -> None:
        """Have the lane folded from the log's beginning, without a snapshot."""
        lane.loaded = lane.snapshots = False
        lane.forget()

    # -- waiting -----------------------------------------------------------------------------------------------------------------

    def spawn(self, run: LaneRun[S], work: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> None:
        """Do `work(run, *args)`, which has to wait for the log; then it goes on with the lane."""

        async def guarded() -> None:
            try:
                await work(run, *args)
            except Exception as error:
                self.trouble(run, error)

        self._keep(asyncio.get_running_loop().create_task(guarded(), name=f"lane-{self.handler.name}"))

    def later(self, run: LaneRun[S], delay_s: float) -> None:
        asyncio.get_running_loop().call_later(delay_s * random.uniform(0.8, 1.2), self.resume, run)

    def trouble(self, run: LaneRun[S], error: Exception) -> None:
        """An error of ours: a pause, then the lane from the log and its first input once more; after some tries it is quarantined.

        Should that fail too, because its history cannot be read for such an error, what comes is put aside behind whatever position the
        fence names. Inputs that were answered before are put aside as well then, and are recognised when the lane is taken up.
        """
        run.troubles += 1
        lane, tries = run.lane, self.limits.attempts
        if run.troubles == 1:
            log.error("lane_failed", handler=self.handler.name, lane=lane.entity, exc_info=error)
        run.outputs.clear()
        run.blind = run.troubles > tries
        run.must_load = not run.blind
        if run.troubles >= tries:
            lane.fault = lane.fault or error
        if run.troubles > 2 * tries:
            self.patience.stuck(lane, error)
        self.later(run, min(self.limits.first_retry_s * 2 ** min(run.troubles - 1, 10), LONGEST_PAUSE_S))

    def _recovered(self, run: LaneRun[S]) -> None:
        if run.troubles > 2 * self.limits.attempts:
            self.patience.free(run.lane)
        run.troubles = 0

    async def _load(self, run: LaneRun[S], at_least: int) -> None:
        run.must_load = False
        await self.catch_up(run.lane, at_least)
        run.blind = False
        self.advance(run)

    async def catch_up(self, lane: Lane[S], at_least: int = 0) -> None:
        """Bring the lane up to date with the log, however long it takes to answer."""

        async def read() -> None:
            self.tally.loads += 1
            await self.store.load(lane, at_least=max(lane.position, at_least))
            lane.loaded = True

        await self.patience.until_read(lane, read)

    def _confirm_silence(self, run: LaneRun[S], event: Event) -> bool:
        lane = run.lane
        before = lane.position if lane.loaded else 0

        async def confirm(run: LaneRun[S]) -> None:
            await self.catch_up(lane)
            unmoved = lane.position == before and not lane.waiting and lane.fault is None
            if run.queue and run.queue[0].event is event and unmoved and not self.closed:
                self.done(run)  # nothing new in the log: the silence stands
            self.advance(run)

        self.spawn(run, confirm)
        return False

    def resume_quarantined(self, partition: int, session: Any) -> None:
        """Look for lanes of a partition that another release had to quarantine, and take up those that this one can fold."""

        async def resume() -> None:
            try:
                await self.unfinished.resume_quarantined(partition, session)
            except Exception as error:  # the next input of such a lane takes it up as well
                log.warning("quarantine_not_looked_at", handler=self.handler.name, partition=partition, error=repr(error))

        self.background(resume())

    def background(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something beside the lanes, which must raise nothing."""
        self._keep(asyncio.get_running_loop().create_task(work, name=f"beside-{self.handler.name}"))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

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
        self.closed = self.patience.closed = True
        for task in list(self._tasks):
            task.cancel()
        for run in self.lanes.values():
            if not run.busy and run.lane.unsnapped >= self.limits.snapshot_every // 8:
                self.store.save(run.lane)
