"""The material of a runner: inputs on their way, lanes with their queues, limits and counts."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from bus.event import Draft, Event, LaneMark
from bus.lane import Lane

S = TypeVar("S")

ALL_MEASURED = 256  # decisions of a handler that are timed; after these every sixteenth is


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on a runner's tries and on what it holds."""

    attempts: int = 5  # of an input whose decision fails by a bug, before it is parked
    first_retry_s: float = 0.05  # doubles each time, with jitter
    max_lanes: int = 20_000  # folded lanes kept in memory
    snapshot_every: int = 256  # own events of a lane
    together_after: int = 4  # inputs in a row that were answered with something, before a lane decides ahead
    together_from: int | None = None  # outputs of a lane that travel as one atomic batch rather than one by one; None: never


class LaneStore(Protocol):
    """The source of lanes that are not in memory: the log and the snapshots beside it."""

    async def load(self, lane: Lane[Any], *, at_least: int) -> None:
        """Bring `lane` up to date with the log, at least to the position `at_least`."""

    async def quarantined(self, partition: int) -> list[tuple[str, str]]:
        """The lanes (world, entity) of a partition in which an input was last parked because its lane could not be folded."""

    async def input_at(self, position: int) -> Event:
        """The event at a position of the log."""

    def save(self, lane: Lane[Any]) -> None:
        """Keep a snapshot; losing it loses nothing."""


@dataclass(slots=True, eq=False)
class Entry:
    """An input on its way through its lanes; settled when no lane is left."""

    event: Event
    reply: bytes
    session: Any
    epoch: int
    settle: Callable[[], None]
    open: int = 0

    def leave(self) -> None:
        """One lane is done with it."""
        self.open -= 1
        if self.open == 0:
            self.settle()

    @property
    def stale(self) -> bool:
        """The partition was lost since: whoever has it now gets this input again."""
        return bool(self.session.epoch != self.epoch)


@dataclass(slots=True)
class Tally:
    """Counts of a runner since it started."""

    received: int = 0
    decided: int = 0
    emitted: int = 0
    recognised: int = 0
    conflicts: int = 0
    parked: int = 0
    deferred: int = 0
    skipped: int = 0  # inputs of edges that nobody can ever decide
    loads: int = 0
    last: int = 0  # position of the input that was decided last
    last_ns: int = 0  # when that was, Unix time
    decide_ns: list[int] = field(default_factory=list)  # a sample, newest last

    def began(self) -> int:
        """Count a decision; the processor time of this thread now if it is one of those that are measured, else 0.

        Only this thread's: what else the machine does is not the rules' doing.
        """
        self.decided += 1
        return 0 if self.decided & 15 and self.decided > ALL_MEASURED else time.thread_time_ns()

    def took(self, began: int) -> None:
        """Note what a decision took that is over."""
        if len(self.decide_ns) > 4096:
            del self.decide_ns[:2048]
        self.decide_ns.append(time.thread_time_ns() - began)


class Output(NamedTuple):
    """One event that is about to be written, and the lane's state behind it. `event` gets its position when it is stored."""

    draft: Draft
    raw: bytes
    subject: bytes
    mark: LaneMark
    event: Event
    state: Any


class LaneRun(Generic[S]):
    """One lane and the inputs that wait for it."""

    __slots__ = (
        "attempt",
        "blind",
        "busy",
        "event",
        "failed",
        "fence",
        "first_failed_ns",
        "lane",
        "must_load",
        "outputs",
        "queue",
        "single",
        "streak",
        "then",
        "troubles",
    )

    def __init__(self, lane: Lane[S]) -> None:
        self.lane = lane
        self.fence = lane.filter.encode()
        self.queue: deque[Entry] = deque()
        self.busy = False
        self.must_load = False  # what is in memory may be behind the log
        self.attempt = 0
        self.first_failed_ns = 0
        self.streak = 0  # inputs in a row that were answered with something
        self.single = False  # a batch was refused: write one by one until the next answer
        self.event: Event | None = None  # the input that is being answered
        self.outputs: deque[Output] = deque()
        self.then: Callable[[LaneRun[S]], None] | None = None  # after the last output is stored
        self.failed: Callable[[LaneRun[S], Event, Exception], object] | None = None  # when the log can never take an output
        self.troubles = 0  # errors of ours since it last went on
        self.blind = False  # its history cannot be read for such an error: what comes is put aside behind whatever the fence says
