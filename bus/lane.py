"""A lane: everything one handler has said about one entity, folded. Pure; the interpreter around it is bus/runner.py.

Besides the handler's own state, the fold keeps what makes effects exactly-once, all of it read back from the handler's own events:

- `position`: its last event about this entity, which fences the next write;
- `done`: per partition, the highest input position that it has answered (inputs of one partition reach a lane in log order);
- `waiting`: inputs that are parked or deferred, in order; the lane is parked while there are any;
- `group`: a decision of several outputs of which not all are written yet.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from bus.event import Event, LaneMark
from bus.handler import Handler
from bus.subjects import lane_filter, partition_of
from bus.watch import UNWATCHED, Watch
from schemas.gen.worldbus.runtime.v1.runtime_pb2 import EventDeferred, EventParked, LaneInputDropped, LaneInputRetried, LaneRetryFailed

S = TypeVar("S")

RUNTIME_EVENTS = (EventParked, EventDeferred, LaneInputDropped, LaneInputRetried, LaneRetryFailed)
_RUNTIME_NAMES = frozenset(kind.DESCRIPTOR.name for kind in RUNTIME_EVENTS)
_PUT_ASIDE = frozenset({EventParked.DESCRIPTOR.name, EventDeferred.DESCRIPTOR.name})
_TAKEN_UP = frozenset({LaneInputDropped.DESCRIPTOR.name, LaneInputRetried.DESCRIPTOR.name})


class Waiting(NamedTuple):
    """One parked or deferred input of a lane."""

    partition: int
    position: int


@dataclass(frozen=True, slots=True)
class Group(Generic[S]):
    """A decision whose outputs are only partly in the log: `mark` is the last one written, `before` the state it was decided on."""

    mark: LaneMark
    before: S


class Lane(Generic[S]):
    """The fold of one handler's events about one entity. `loaded` is False while it is only assumed that there are none."""

    __slots__ = (
        "done",
        "entity",
        "filter",
        "group",
        "handler",
        "loaded",
        "partition",
        "position",
        "state",
        "unsnapped",
        "waiting",
        "watch",
        "world",
    )

    def __init__(self, handler: Handler[S], world: str, entity: str, partitions: int, *, watch: Watch = UNWATCHED) -> None:
        self.handler = handler
        self.watch = watch
        self.world = world
        self.entity = entity
        self.partition = partition_of(world, entity, partitions)
        self.filter = lane_filter(self.partition, world, handler.name, entity)
        self.loaded = False
        self.forget()

    def forget(self) -> None:
        """Back to an entity about which nothing was said."""
        self.state = self.watch.call("initial", self, None, self.handler.initial, self.entity)
        self.position = 0
        self.done: dict[int, int] = {}
        self.waiting: list[Waiting] = []
        self.group: Group[S] | None = None
        self.unsnapped = 0  # own events since the last snapshot

    def copy(self) -> Lane[S]:
        """A lane of its own in the same state."""
        other: Lane[S] = copy(self)
        other.done, other.waiting = dict(self.done), list(self.waiting)
        return other

    @property
    def parked(self) -> bool:
        return bool(self.waiting)

    def has_done(self, partition: int, position: int) -> bool:
        """Whether the input at `position` was answered before. Inputs without an output are not recorded, and are decided again."""
        return position <= self.done.get(partition, 0)

    def extend(self, history: Iterable[Event]) -> None:
        """Fold the handler's own events, in log order; those at or below `position` are known already."""
        for event in history:
            if event.position > self.position:
                self.apply(event, event.lane)

    def apply(self, event: Event, mark: LaneMark | None) -> None:
        """Fold one of the handler's own events; `mark` is its `lane` attribute."""
        name = event.subject.name
        if name in _RUNTIME_NAMES:
            self._apply_runtime(name, mark)
        else:
            self._track_group(mark)
            self.state = self.watch.call("evolve", self, event, self.handler.evolve, self.state, event)
        self.position = event.position
        self.unsnapped += 1
        if mark is not None and mark.step == mark.steps - 1:
            self.group = None
            if mark.position > self.done.get(mark.partition, 0):
                self.done[mark.partition] = mark.position

    def _track_group(self, mark: LaneMark | None) -> None:
        if mark is None or mark.steps == 1:
            return
        before = self.state if self.group is None or mark.step == 0 else self.group.before
        self.group = Group(mark, before)

    def _apply_runtime(self, name: str, mark: LaneMark | None) -> None:
        if mark is None:
            return
        if name in _PUT_ASIDE:
            self.waiting.append(Waiting(mark.partition, mark.position))
        elif name in _TAKEN_UP:
            self.waiting = [one for one in self.waiting if one.position != mark.position]
        self.group = None
