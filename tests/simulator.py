"""A log, members and a network that misbehave on purpose, for the laws of the handler runtime.

Real: `Runner`, `Lane`, decisions, envelopes. Simulated: the stream (an ordered list that refuses a wrong expected sequence),
acknowledgements that get lost or come late, members that die or fall asleep at any step and wake up believing they still own their
partition. One seed, one run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from random import Random
from types import SimpleNamespace
from typing import Any

from bus.errors import Conflict, Rejected, Transient, Unknown
from bus.event import Draft, Event
from bus.handler import Handler
from bus.lane import Lane
from bus.lane_run import Entry, Limits
from bus.quarantine import QUARANTINE, code_of
from bus.runner import Runner
from bus.subjects import Subject, partition_of
from bus.writes import OnRefused, OnStored, Written
from schemas.upcast import recorded_names

PARTITIONS = 4
Events = Sequence[tuple[Subject, bytes]]
WORLD = "sim"


class SimulatedLog:
    """What the stream promises: positions 1, 2, 3 …, and a fence by expected sequence."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def publish(self, draft: Draft) -> Event:
        return self._append(draft.subject, draft.encode())

    def _append(self, subject: Subject, raw: bytes) -> Event:
        partition = partition_of(subject.world, subject.entity, PARTITIONS)
        event = Event(raw=raw, subject=subject, partition=partition, position=len(self.events) + 1)
        self.events.append(event)
        return event

    def append_fenced(self, events: Events, expected: int) -> int:
        """Store all of `events`, which are of one lane, or none; the position of the last one."""
        subject = events[0][0]
        found = max((event.position for event in self.of_lane(subject.subsystem, subject.entity)), default=0)
        if found != expected:
            raise Conflict(f"wrong last sequence: {found}", found=found)
        return [self._append(subject, raw) for subject, raw in events][-1].position

    def of_lane(self, handler: str, entity: str) -> list[Event]:
        return [event for event in self.events if event.subsystem == handler and event.entity == entity]


class SimulatedWrites:
    """Writes whose acknowledgements may be late, lost, or lost although the write landed; some land long after their writer gave up."""

    def __init__(self, log: SimulatedLog, random: Random, trouble: float) -> None:
        self._log, self._random, self._trouble = log, random, trouble

    room_for_together = True

    def write(self, subject: bytes, fence: bytes, expected: int, payload: bytes, on_stored: OnStored, on_refused: OnRefused) -> None:
        self._write([(Subject(*subject.decode().split(".")[1:]), payload)], expected, on_stored, on_refused)

    def write_together(self, events: Sequence[Written], fence: bytes, expected: int, on_stored: OnStored, on_refused: OnRefused) -> None:
        if self._random.random() < self._trouble / 4:
            self._soon(lambda: on_refused(Rejected("the server holds too many batches")))
            return
        self._write([(Subject(*one.subject.decode().split(".")[1:]), one.raw) for one in events], expected, on_stored, on_refused)

    def _write(self, events: Events, expected: int, on_stored: OnStored, on_refused: OnRefused) -> None:
        fate = self._random.random() / self._trouble if self._trouble else 1.0
        lost = Unknown("the acknowledgement was lost")
        if fate < 0.25:  # stored, but nobody hears of it
            self._soon(lambda: (self._land(events, expected), on_refused(lost)))
        elif fate < 0.5:  # never arrives
            self._soon(lambda: on_refused(lost))
        elif fate < 0.75:  # arrives after its writer has given up
            self._soon(lambda: on_refused(lost))
            self._soon(lambda: self._land(events, expected), steps=30)
        else:
            self._soon(lambda: self._answer(events, expected, on_stored, on_refused))

    def _land(self, events: Events, expected: int) -> None:
        with suppress(Conflict):  # the fence did its work; the writer is not listening any more
            self._log.append_fenced(events, expected)

    def _answer(self, events: Events, expected: int, on_stored: OnStored, on_refused: OnRefused) -> None:
        try:
            position = self._log.append_fenced(events, expected)
        except Conflict as error:
            on_refused(error)
            return
        on_stored(position)

    def _soon(self, act: Any, steps: int = 4) -> None:
        later(act, self._random.randrange(1, steps + 1))


class SimulatedStore:
    """Lanes from the simulated log, now and then out of reach."""

    def __init__(self, log: SimulatedLog, random: Random, trouble: float) -> None:
        self._log, self._random, self._trouble = log, random, trouble

    async def load(self, lane: Lane[Any], *, at_least: int) -> None:
        await self._wait()
        lane.extend(self._log.of_lane(lane.handler.name, lane.entity))

    async def quarantined(self, partition: int) -> list[tuple[str, str]]:
        await self._wait()
        last: dict[tuple[str, str, str], Event] = {
            event.subject[:3]: event for event in self._log.events if event.partition == partition and event.name == "EventParked"
        }
        return [(world, entity) for (world, _, entity), event in last.items() if code_of(event) in QUARANTINE]

    async def input_at(self, position: int) -> Event:
        await self._wait()
        return self._log.events[position - 1]

    def save(self, lane: Lane[Any]) -> None:
        """Snapshots are an optimisation; the simulator goes without."""

    async def _wait(self) -> None:
        for _ in range(self._random.randrange(3)):
            await asyncio.sleep(0)
        if self._random.random() < self._trouble / 2:
            raise Transient("the log cannot be read at the moment")


def later(act: Any, steps: int) -> None:
    """Call `act` after so many turns of the event loop."""
    loop = asyncio.get_running_loop()
    loop.call_soon(act) if steps <= 1 else loop.call_soon(later, act, steps - 1)


class Member:
    """A process that runs one handler on some partitions, from the ack floor on. Dead members' writes may still land."""

    def __init__(self, world: World, partitions: Sequence[int], handler: Handler[Any] | None = None) -> None:
        self.world = world
        self.partitions = list(partitions)
        handler = handler or world.handler
        store = SimulatedStore(world.log, world.random, world.trouble)
        writes: Any = SimulatedWrites(world.log, world.random, world.trouble)
        self.runner = Runner(handler, store, writes, partitions=PARTITIONS, limits=world.limits)
        self.runner.alone = False
        self._sessions = {partition: SimpleNamespace(epoch=0) for partition in range(PARTITIONS)}
        self._next = {partition: world.floor.get(partition, 0) for partition in self.partitions}
        self._open: dict[int, list[Entry]] = {partition: [] for partition in self.partitions}
        for partition in self.partitions:
            self.runner.resume_quarantined(partition, self._sessions[partition])

    def hold(self, partition: int) -> None:
        """Get a partition, and read it from the ack floor on; whoever held it before wrote to its lanes."""
        self.partitions.append(partition)
        self._next[partition], self._open[partition] = self.world.floor.get(partition, 0), []
        self.runner.distrust(partition)

    def release(self, partition: int) -> None:
        """Lose a partition: what was received of it is somebody else's."""
        self.partitions.remove(partition)
        self._sessions[partition].epoch += 1

    def company(self, *, alone: bool) -> None:
        """Hear who else is there, as bus/runtime.py does."""
        if alone and not self.runner.alone:
            self.runner.distrust()
        self.runner.alone = alone

    def read(self, partition: int, count: int) -> int:
        """Deliver the next `count` inputs of a partition; how many there were."""
        names = recorded_names(self.world.handler.listens_to) | {"LaneRetryRequested", "LaneDropRequested"}
        fresh = [event for event in self.world.log.events[self._next[partition] :] if event.partition == partition and event.name in names][
            :count
        ]
        for event in fresh:
            self._next[partition] = event.position
            session = self._sessions[partition]
            epoch = session.epoch
            entry = Entry(event, b"", session, epoch, settle=lambda partition=partition, epoch=epoch: self._settle(partition, epoch))
            self._open[partition].append(entry)
            self.runner.receive(entry)
        return len(fresh)

    def _settle(self, partition: int, epoch: int) -> None:
        if self._sessions[partition].epoch != epoch:
            return  # a session that lost its hold acknowledges nothing any more
        opened = self._open[partition]
        while opened and not opened[0].open:
            settled = opened.pop(0).event.position
            # What the server does with the acknowledgement of a member that was taken for dead: it believes it.
            self.world.floor[partition] = max(self.world.floor.get(partition, 0), settled)

    async def die(self) -> None:
        """SIGKILL: no goodbye."""
        await self.runner.aclose()

    def sleep_over(self) -> None:
        """SIGSTOP, then SIGCONT after somebody else took over: what it has in its queues is not its any more, its writes go on."""
        for session in self._sessions.values():
            session.epoch += 1
        self.runner.distrust()


class World:
    """One handler, one log, members that come and go."""

    def __init__(self, handler: Handler[Any], seed: int, trouble: float) -> None:
        self.handler = handler
        self.random = Random(seed)
        self.trouble = trouble
        self.log = SimulatedLog()
        self.floor: dict[int, int] = {}
        # Half of the worlds decide ahead as soon as two inputs wait, so that small histories meet batches too.
        self.limits = Limits(
            first_retry_s=0.0, attempts=2, together_after=self.random.choice((0, 4)), together_from=self.random.choice((2, 16))
        )

    async def turn(self, steps: int = 1) -> None:
        for _ in range(steps):
            await asyncio.sleep(0)

    async def settle(self) -> None:
        """A last, undisturbed member finishes whatever is left."""
        self.trouble = 0.0
        await self.turn(40)  # writes of the dead that are still on their way
        member = Member(self, range(PARTITIONS))
        while True:
            read = sum(member.read(partition, 1000) for partition in range(PARTITIONS))
            assert await member.runner.quiesce(20.0), "the runtime did not come to rest"
            if not read and not member.runner._tasks:
                break
            await self.turn()
        await member.die()
