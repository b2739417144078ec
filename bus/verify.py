"""Deciding the log again: does every handler, as it is today, say what it said then?

A handler's lanes are folded over the log in order. When an answer comes, its input is decided again on the lane's state as it was
before the answer, and the bytes are compared. An input without an answer was met with silence: inputs of one partition reach a lane
in log order, so it was decided after the partition's answers before it and before the next one, on one of the lane's states in
between; silence is confirmed when today's rules are silent on one of them (usually there is exactly one).

Pure: events in, a report out. Inputs are kept for a while and asked for by position after that (`Verifier.missing`, `Verifier.stalled`).
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

import msgspec
from google.protobuf.json_format import MessageToDict

from bus.decision import CONTROL, decide
from bus.errors import BadEvent, BadSubject
from bus.event import Draft, Event, LaneMark
from bus.handler import Handler
from bus.lane import Lane
from bus.subjects import check_token
from bus.unreadable import from_edge, undecodable

KEPT = 50_000  # inputs held in memory; older ones are asked for again
KEPT_DIFFERENCES = 1000
INVALID = "invalid"  # the lane of inputs whose subject cannot name one, as the runner has it
_CONTROL_NAMES = frozenset(kind.DESCRIPTOR.name for kind in CONTROL)


Said = tuple[str, Any]  # simple name of an event, and its fields as JSON has them


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One decision that would be another one today. `recorded` and `today` are what was and would be said; empty: nothing."""

    handler: str
    world: str
    entity: str
    input: int
    type: str
    recorded: tuple[Said, ...]
    today: tuple[Said, ...]
    error: str = ""
    """Today's rules raise this instead of saying anything."""


@dataclass(slots=True, kw_only=True)
class Tally:
    """What came of one handler's decisions.

    decisions   inputs decided again, one count for each lane that an input concerns
    identical   of those, as recorded: same bytes, silence again, or parked and still impossible to decide
    different   of those, otherwise
    would_pass  of the identical ones: parked then, decided without an error today
    open        inputs that are not answered yet, and concern a lane whose handler has not come so far
    """

    decisions: int = 0
    identical: int = 0
    different: int = 0
    would_pass: int = 0
    open: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The outcome over all handlers. `differences` holds the first `KEPT_DIFFERENCES`."""

    events: int
    handlers: Mapping[str, Tally]
    differences: tuple[Difference, ...]

    @property
    def decisions(self) -> int:
        return sum(one.decisions for one in self.handlers.values())

    @property
    def identical(self) -> int:
        return sum(one.identical for one in self.handlers.values())

    @property
    def different(self) -> int:
        return sum(one.different for one in self.handlers.values())

    @property
    def would_pass(self) -> int:
        return sum(one.would_pass for one in self.handlers.values())

    @property
    def open(self) -> int:
        return sum(one.open for one in self.handlers.values())

    @property
    def percent(self) -> float:
        """Identical decisions in percent; 100 for a log without any. Never rounded up to 100."""
        if not self.decisions:
            return 100.0
        share = 100 * self.identical / self.decisions
        return share if share == 100 else min(round(share, 4), 99.9999)


@dataclass(slots=True)
class _Group:
    """The answer that is being compared: what today's rules say, what the log says so far."""

    position: int
    today: list[Draft]
    error: str
    same: bool = True
    recorded: list[Event] = field(default_factory=list)


class _Track:
    """One lane and its inputs without an answer, per partition in log order."""

    __slots__ = ("group", "lane", "waiting")

    def __init__(self, lane: Lane[Any]) -> None:
        self.lane = lane
        self.waiting: dict[int, deque[int]] = {}
        self.group: _Group | None = None


class Verifier:
    """Takes the log in order, from its first event on."""

    def __init__(self, handlers: Iterable[Handler[Any]], *, partitions: int = 8, kept: int = KEPT, known: Iterable[str] = ()) -> None:
        """`known` are the names of all handlers of the bus, if `handlers` are not all: what others said comes from edges."""
        self._handlers = {handler.name: handler for handler in handlers}
        self._known = frozenset(known) | self._handlers.keys()
        self._partitions = partitions
        self._kept = kept
        self._listeners: dict[str, list[Handler[Any]]] = {}
        for handler in self._handlers.values():
            for name in {kind.DESCRIPTOR.name for kind in handler.listens_to}:
                self._listeners.setdefault(name, []).append(handler)
        self._tracks: dict[tuple[str, str, str], _Track] = {}
        self._inputs: OrderedDict[int, Event] = OrderedDict()
        self._tallies = {name: Tally() for name in self._handlers}
        self._differences: list[Difference] = []
        self._stalled: list[tuple[_Track, int]] = []
        self.events = 0

    # -- the log, event by event -------------------------------------------------------------------------------------------------

    def missing(self, event: Event) -> list[int]:
        """Positions of inputs that `take(event)` will look at and that are not in memory any more: hand them to `recall` first."""
        mark = self._mark(event)
        if mark is None:
            return []
        track = self._tracks.get((event.subsystem, event.world, event.entity))
        wanted = {mark.position}
        if track is not None:
            for queue in track.waiting.values():
                wanted.update(takewhile(lambda position: position < mark.position, queue))
        return sorted(position for position in wanted if position not in self._inputs)

    def stalled(self) -> list[int]:
        """Positions of inputs that the last `take` or `resume` could not look at: hand them to `recall`, then `resume`, until there
        are none."""
        return sorted({queue[0] for track, partition in self._stalled if (queue := track.waiting.get(partition))} - self._inputs.keys())

    def resume(self) -> None:
        """Go on with what stalled."""
        stalled, self._stalled = self._stalled, []
        for track, partition in stalled:
            self._settle(track, partition)

    def recall(self, event: Event) -> None:
        """Hold an input again that was asked for."""
        self._inputs[event.position] = event

    def take(self, event: Event) -> None:
        """The next event of the log."""
        self.events += 1
        mark = self._mark(event)
        if mark is not None:
            self._answer(event, mark)
        self._hear(event)
        while len(self._inputs) > self._kept:
            self._inputs.popitem(last=False)

    def finish(self, settled: Callable[[str, int], int] | None = None) -> Report:
        """What came of it. `settled(handler, partition)` is how far a handler has come; inputs behind that are open, those before it
        silent.

        Without it, every input that is still to be answered counts as open.
        """
        for (name, _, _), track in self._tracks.items():
            for partition, queue in track.waiting.items():
                for position in queue:
                    if settled is not None and position <= settled(name, partition):
                        self._differ(track, position, [])
                    else:
                        self._tallies[name].open += 1
            if track.group is not None:
                self._tallies[name].open += 1
        return Report(events=self.events, handlers=dict(self._tallies), differences=tuple(self._differences))

    def _mark(self, event: Event) -> LaneMark | None:
        if event.subsystem not in self._handlers:
            return None
        try:
            return event.lane
        except BadEvent:
            return None  # not written by a handler of ours: they write marks that can be read

    # -- inputs ------------------------------------------------------------------------------------------------------------------

    def _hear(self, event: Event) -> None:
        if event.name in _CONTROL_NAMES:
            return
        for handler in self._listeners.get(event.name, ()):
            for world, entity in lanes_of(handler, event):
                self._inputs[event.position] = event
                track = self._track(handler, world, entity)
                queue = track.waiting.setdefault(event.partition, deque())
                queue.append(event.position)
                if len(queue) == 1:
                    self._settle(track, event.partition)

    def _track(self, handler: Handler[Any], world: str, entity: str) -> _Track:
        key = (handler.name, world, entity)
        track = self._tracks.get(key)
        if track is None:
            track = self._tracks[key] = _Track(Lane(handler, world, entity, self._partitions))
        return track

    def _settle(self, track: _Track, partition: int) -> None:
        """Strike out the first inputs of a partition as far as the lane, in its present state, is silent about them."""
        queue = track.waiting.get(partition)
        while queue and track.group is None and not track.lane.parked:
            event = self._inputs.get(queue[0])
            if event is None:
                self._stalled.append((track, partition))
                return
            if not self._silent(track, event):
                return
            queue.popleft()
            self._count_silence(track)

    def _silent(self, track: _Track, event: Event) -> bool:
        """Whether there is nothing to say to it: the rules say nothing, or a runner skips it."""
        drafts, error = self._today(track, event)
        return not drafts and (not error or self._skipped(event))

    def _skipped(self, event: Event) -> bool:
        return from_edge(event, self._known) and undecodable(event) is not None

    def _count_silence(self, track: _Track) -> None:
        tally = self._tallies[track.lane.handler.name]
        tally.decisions += 1
        tally.identical += 1

    # -- answers -----------------------------------------------------------------------------------------------------------------

    def _answer(self, event: Event, mark: LaneMark) -> None:
        handler = self._handlers[event.subsystem]
        track = self._track(handler, event.world, event.entity)
        if event.name == "LaneInputDropped":
            track.group = None
        elif event.name == "EventDeferred":
            self._begin(track, mark)
            self._judge(track, mark.position, same=track.lane.parked, recorded=[event], today=[])
        elif event.name in ("EventParked", "LaneRetryFailed"):
            self._aside(track, event, mark)
        else:
            self._compare(track, event, mark)
        track.lane.apply(event, mark)
        if track.group is None:
            for partition in track.waiting:
                self._settle(track, partition)

    def _begin(self, track: _Track, mark: LaneMark) -> None:
        """An answer to the input at `mark`: those of its partition before it were met with silence, and it is not waiting any more."""
        queue = track.waiting.get(mark.partition, deque())
        while queue and queue[0] < mark.position:
            self._differ(track, queue.popleft(), [])
        if queue and queue[0] == mark.position:
            queue.popleft()
        elif not any(one.position == mark.position for one in track.lane.waiting) and self._heard(track, mark.position):
            tally = self._tallies[track.lane.handler.name]  # it was struck out as silent, too early
            tally.decisions -= 1
            tally.identical -= 1

    def _heard(self, track: _Track, position: int) -> bool:
        event = self._inputs.get(position)
        return event is not None and (track.lane.world, track.lane.entity) in lanes_of(track.lane.handler, event)

    def _aside(self, track: _Track, event: Event, mark: LaneMark) -> None:
        """Parked, or failed again: that was the answer then, whatever today's rules make of the input."""
        if event.name == "EventParked":
            self._begin(track, mark)
        cause = self._inputs.get(mark.position)
        passes = cause is not None and not self._today(track, cause)[1]
        track.group = None
        tally = self._tallies[track.lane.handler.name]
        tally.decisions += 1
        tally.identical += 1
        tally.would_pass += passes

    def _compare(self, track: _Track, event: Event, mark: LaneMark) -> None:
        group = track.group
        if group is None or group.position != mark.position:
            retried = any(one.position == mark.position for one in track.lane.waiting)
            if not retried:
                self._begin(track, mark)
            cause = self._inputs.get(mark.position)
            drafts, error = self._today(track, cause, retried=retried) if cause is not None else ([], "its input is not in the log")
            group = track.group = _Group(mark.position, drafts, error)
        group.recorded.append(event)
        group.same &= len(group.today) == mark.steps and same(event, group.today[mark.step])
        if mark.step == mark.steps - 1:
            track.group = None
            self._judge(track, mark.position, same=group.same, recorded=group.recorded, today=group.today, error=group.error)

    def _today(self, track: _Track, event: Event, *, retried: bool = False) -> tuple[list[Draft], str]:
        """What the lane would say to `event` now, and the error if it would raise one."""
        try:
            return decide(track.lane, event, retried=retried), ""
        except Exception as error:  # whatever the rules raise is what a runner would park
            return [], f"{type(error).__name__}: {error}"

    # -- verdicts ----------------------------------------------------------------------------------------------------------------

    def _differ(self, track: _Track, position: int, recorded: list[Event]) -> None:
        """There is no answer on record, and today there would be one."""
        cause = self._inputs.get(position)
        drafts, error = self._today(track, cause) if cause is not None else ([], "")
        if error and cause is not None and self._skipped(cause):
            return self._count_silence(track)
        return self._judge(track, position, same=False, recorded=recorded, today=drafts, error=error)

    def _judge(
        self, track: _Track, position: int, *, same: bool, recorded: Sequence[Event], today: Sequence[Draft], error: str = ""
    ) -> None:
        tally = self._tallies[track.lane.handler.name]
        tally.decisions += 1
        if same:
            tally.identical += 1
            return
        tally.different += 1
        if len(self._differences) < KEPT_DIFFERENCES:
            cause = self._inputs.get(position)
            self._differences.append(
                Difference(
                    handler=track.lane.handler.name,
                    world=track.lane.world,
                    entity=track.lane.entity,
                    input=position,
                    type=cause.name if cause is not None else "",
                    recorded=tuple((event.name, _fields(event)) for event in recorded),
                    today=tuple((draft.data.DESCRIPTOR.name, _fields(draft)) for draft in today),
                    error=error,
                )
            )


def verify(
    handlers: Iterable[Handler[Any]], events: Iterable[Event], *, partitions: int = 8, settled: Callable[[str, int], int] | None = None
) -> Report:
    """Decide a log that is at hand again; `events` are all of it, in order."""
    verifier = Verifier(handlers, partitions=partitions, kept=1 << 62)
    for event in events:
        verifier.take(event)
    return verifier.finish(settled)


def same(recorded: Event, draft: Draft) -> bool:
    """Whether a draft is what was recorded, byte for byte; which version of the code said it may differ."""
    if recorded.subject != draft.subject:
        return False
    try:
        if recorded.raw == draft.encode():
            return True
        attributes = recorded.envelope.attributes
        version = attributes["producerversion"].ce_string if "producerversion" in attributes else ""
        return recorded.raw == msgspec.structs.replace(draft, producer_version=version).encode()
    except BadEvent:
        return False


def lanes_of(handler: Handler[Any], event: Event) -> list[tuple[str, str]]:
    """The lanes (world, entity) that an event concerns, as the runner finds them."""
    try:
        return [(check_token(event.world, "world"), check_token(entity, "entity")) for entity in dict.fromkeys(handler.entities(event))]
    except Exception:  # whatever `entities` raises, the runner parks the input where its subject points
        try:
            return [(check_token(event.world, "world"), check_token(event.entity, "entity"))]
        except BadSubject:
            return [(INVALID, INVALID)]


def _fields(said: Event | Draft) -> Any:
    try:
        return MessageToDict(said.data, preserving_proto_field_name=True)
    except BadEvent as error:
        return f"unreadable: {error}"
