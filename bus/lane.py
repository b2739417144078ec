"""A lane: everything one handler has emitted about one entity, folded. Pure; the interpreter around it is bus/runner.py.

Besides the handler's own state, the fold keeps what makes effects exactly-once, all of it read back from the handler's own events:

- `position`: its last event about this entity, which fences the next write;
- `done`: per partition, the highest input position that it has answered (inputs of one partition reach a lane in log order);
- `waiting`: inputs that are parked or deferred, in order; the lane is parked while there are any;
- `group`: a decision of several outputs of which not all are written yet.

All of that follows from subjects and `lane` attributes alone. Only the state needs payloads, and so a lane whose state cannot be folded
(`fault`: an event of a newer release, an `evolve` that raises) can still be fenced, parked, deferred and recognised exactly: it is
quarantined, and a release that can fold it takes it up where it was (docs/adr/0082).

An event without a `lane` attribute was written by nobody's handler: it moves the position, which the fence counts, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, Final, Generic, TypeVar

from bus.event import Event, LaneMark
from bus.handler import Handler
from bus.quarantine import QUARANTINE, cannot_begin, cannot_fold, code_of, mark_of
from bus.subjects import lane_filter, partition_of
from bus.waiting import WaitingInputs
from bus.watch import UNWATCHED, Watch
from schemas.gen.worldbus.runtime.v1.runtime_pb2 import EventDeferred, EventParked, LaneInputDropped, LaneInputRetried, LaneRetryFailed

S = TypeVar("S")

RUNTIME_EVENTS = (EventParked, EventDeferred, LaneInputDropped, LaneInputRetried, LaneRetryFailed)
RUNTIME_NAMES = frozenset(kind.DESCRIPTOR.name for kind in RUNTIME_EVENTS)
_PARKED = EventParked.DESCRIPTOR.name
_PUT_ASIDE = frozenset({_PARKED, EventDeferred.DESCRIPTOR.name})
_FAILED_AGAIN = LaneRetryFailed.DESCRIPTOR.name
_DROPPED = LaneInputDropped.DESCRIPTOR.name

NOT_FOLDED: Final[Any] = object()
"""In place of a state that is known in advance."""


def _initial(handler: Handler[S], entity: str) -> S:
    return handler.initial(entity)


@dataclass(frozen=True, slots=True)
class Group(Generic[S]):
    """A decision whose outputs are only partly in the log: `mark` is the last one written, `before` the state it was decided on.

    `retried`: it takes up an input that waited. `put_aside`: its input was parked, deferred or failed again since it began, so it is
    finished when that input is taken up.
    """

    mark: LaneMark
    before: S
    retried: bool
    put_aside: bool = False


class Lane(Generic[S]):
    """The fold of one handler's events about one entity. `loaded` is False while it is only assumed that there are none."""

    __slots__ = (
        "asked",
        "cause",
        "done",
        "entity",
        "fault",
        "filter",
        "group",
        "handler",
        "loaded",
        "partition",
        "position",
        "snapshots",
        "state",
        "unsnapped",
        "waiting",
        "watch",
        "world",
    )

    def __init__(
        self, handler: Handler[S], world: str, entity: str, partitions: int, *, watch: Watch = UNWATCHED, fault: Exception | None = None
    ) -> None:
        """`fault` is a reason not even to try to find its state, known beforehand."""
        self.handler = handler
        self.watch = watch
        self.world = world
        self.entity = entity
        self.partition = partition_of(world, entity, partitions)
        self.filter = lane_filter(self.partition, world, handler.name, entity)
        self.loaded = False
        self.snapshots = True  # whether a snapshot may stand for the beginning of the log
        self.asked = 0  # position of the operator's request that is at work in it, 0 if none
        self.forget(fault)

    def forget(self, fault: Exception | None = None) -> None:
        """Back to an entity about which nothing was emitted."""
        self.fault = fault  # why `state` is not known; its inputs are put aside meanwhile
        self.state: S = NOT_FOLDED
        try:
            if fault is None:
                self.state = self.watch.call("initial", self, None, _initial, self.handler, self.entity)
        except Exception as error:
            self.fault = cannot_begin(self.handler, self.entity, error)
        self.position = 0
        self.done: dict[int, int] = {}
        self.waiting = WaitingInputs()
        self.cause = ""  # code of the error for which the first of them waits
        self.group: Group[S] | None = None
        self.unsnapped = 0  # own events since the last snapshot

    def copy(self) -> Lane[S]:
        """A lane of its own in the same state."""
        other: Lane[S] = copy(self)
        other.done, other.waiting = dict(self.done), self.waiting.copy()
        return other

    @property
    def parked(self) -> bool:
        return bool(self.waiting)

    @property
    def owes(self) -> bool:
        """Return whether something is to be done before the next input: an interrupted decision, or inputs of a quarantine that is over."""
        if self.fault is not None:
            return False
        group = self.group
        return (group is not None and not group.put_aside) or (bool(self.waiting) and self.cause in QUARANTINE)

    def has_done(self, partition: int, position: int) -> bool:
        """Return whether the input at `position` was answered before. Inputs without an output are not recorded, and are decided again."""
        return position <= self.done.get(partition, 0)

    def extend(self, history: Iterable[Event]) -> None:
        """Fold the handler's own events, in log order; those at or below `position` are known already. Raises nothing about them."""
        for event in history:
            if event.position > self.position:
                self.apply(event, *mark_of(event))

    def apply(self, event: Event, mark: LaneMark | None, problem: Exception | None = None, *, state: S = NOT_FOLDED) -> None:
        """Fold one of the handler's own events; `mark` is its `lane` attribute, `state` the one behind it if that is known.

        `problem`: the envelope breaks a rule, although the mark could be read.
        """
        name = event.subject.name
        if mark is None:
            pass
        elif name in RUNTIME_NAMES:
            self._apply_runtime(event, name, mark)
        else:
            if mark.steps > 1 or self.group is not None:
                self._track_group(mark)
            if state is not NOT_FOLDED:
                self.state = state
            elif self.fault is None:
                self._fold(event, problem)
            if mark.step == mark.steps - 1:
                self.group = None
                self._done(mark)
        self.position = event.position
        self.unsnapped += 1

    def _fold(self, event: Event, problem: Exception | None) -> None:
        try:
            if problem is not None:
                raise problem
            self.state = self.watch.call("evolve", self, event, self.handler.following, self.state, event)
        except MemoryError:
            raise  # passes
        except Exception as error:
            self.fault = cannot_fold(self.handler, event, error)

    def _done(self, mark: LaneMark) -> None:
        if mark.position > self.done.get(mark.partition, 0):
            self.done[mark.partition] = mark.position

    def _track_group(self, mark: LaneMark) -> None:
        group = self.group
        if group is None or mark.step == 0 or group.mark.position != mark.position:
            if mark.steps > 1:
                self.group = Group(mark, self.state, retried=self.waiting.has(mark.position))
            return
        self.group = replace(group, mark=mark)
        if mark.step == mark.steps - 1 and not group.retried:
            self.waiting.answered(mark.position)  # it was put aside while its answer was half written

    def _apply_runtime(self, event: Event, name: str, mark: LaneMark) -> None:
        waiting, group = self.waiting, self.group
        mine = group is not None and group.mark.position == mark.position
        if name in _PUT_ASIDE:
            if name == _PARKED and not waiting:
                self.cause = code_of(event)
            answered = self.has_done(mark.partition, mark.position)  # put aside by a release that could not see its answer
            if not (answered and waiting.has(mark.position)):
                waiting.add(mark.partition, mark.position, answered=answered)
        elif name == _FAILED_AGAIN:
            if mine or not waiting or waiting[0].position == mark.position:
                self.cause = code_of(event)
        else:  # taken up, or given up
            waiting.remove(mark.position)
        if group is not None and mine:
            ended = name == _DROPPED or (name not in _PUT_ASIDE and name != _FAILED_AGAIN)
            self.group = None if ended else replace(group, put_aside=True)
        self._done(mark)
