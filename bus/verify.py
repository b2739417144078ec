"""Deciding the log again: does every handler, as it is today, say what it said then?

A handler's lanes are folded over the log in order. When an answer comes, its input is decided again on the lane's state as it was
before the answer, and the bytes are compared. An input without an answer was met with silence: inputs of one partition reach a lane
in log order, so it was decided after the partition's answers before it and before the next one, on one of the lane's states in
between; silence is confirmed when today's rules are silent on one of them (usually there is exactly one).

Pure: events in, a report out. Inputs are kept for a while and asked for by position after that (`Verifier.missing`, `Verifier.stalled`).
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from itertools import takewhile
from typing import Any

import msgspec
from google.protobuf.json_format import MessageToDict

from bus.decision import decide, taken_up
from bus.errors import BadEvent, HandlerHung
from bus.event import Draft, Event, LaneMark
from bus.frames import words_of
from bus.handler import Handler, Subsystem
from bus.lane import Lane
from bus.quarantine import QUARANTINE, code_of, mark_of
from bus.routing import CONTROL_EVENTS, lanes_of, place_of
from bus.rules import producer
from bus.unreadable import from_edge, undecodable
from bus.verify_report import Difference, Report, Since, Tally
from bus.verify_track import Group, Track
from bus.watch import UNWATCHED, Watch
from schemas.upcast import recorded_names

__all__ = ["Difference", "Report", "Since", "Tally", "Verifier", "same", "verify"]

KEPT = 50_000  # inputs held in memory; older ones are asked for again
KEPT_DIFFERENCES = 1000
_HUNG = "it does not return"


class Verifier:
    """Takes the log in order, from its first event on, or from the beginning of a window (`since`)."""

    def __init__(
        self,
        handlers: Iterable[Subsystem],
        *,
        partitions: int = 8,
        kept: int = KEPT,
        watch: Watch = UNWATCHED,
        known: Iterable[str] = (),
        since: int = 0,
    ) -> None:
        """`watch` is that of a watchdog, which gets us out of a decision that hangs, as it did then. `known` are the names of all handlers
        of the bus, if `handlers` are not all: what others said comes from edges.

        `since` is the position behind which the events are taken: answers to inputs up to there are folded and not compared, and each lane
        has to be given its history up to there when it first comes up (`unfolded`).
        """
        self._begins = since
        self._watch = watch
        self._never: dict[tuple[str, str, str, int], str] = {}  # decisions that are not tried again, and why not
        self._handlers = {handler.name: handler for handler in handlers}
        self._known = frozenset(known) | self._handlers.keys()
        self._partitions = partitions
        self._kept = kept
        self._listeners: dict[str, list[Subsystem]] = {}
        for handler in self._handlers.values():
            for name in recorded_names(handler.listens_to):
                self._listeners.setdefault(name, []).append(handler)
        self._tracks: dict[tuple[str, str, str], Track] = {}
        self._inputs: OrderedDict[int, Event] = OrderedDict()
        self._tallies = {name: Tally() for name in self._handlers}
        self._differences: list[Difference] = []
        self._since: dict[str, Since] = {}
        self._stalled: list[tuple[Track, int]] = []
        self.events = 0

    # -- the log, event by event -------------------------------------------------------------------------------------------------

    def missing(self, event: Event) -> list[int]:
        """Positions of inputs that `take(event)` will look at and that are not in memory any more: hand them to `recall` first."""
        mark, _ = self._mark(event)
        if mark is None or mark.position <= self._begins:
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

    def unfolded(self, event: Event) -> list[Lane[Any]]:
        """The lanes that `take(event)` will look at for the first time, in a window: extend each with its history up to `since`."""
        if not self._begins:
            return []
        concerned = [(handler, *lane) for handler in self._hearers(event) for lane in self._lanes_of(handler, event)]
        if self._mark(event)[0] is not None:
            concerned.append((self._handlers[event.subsystem], event.world, event.entity))
        fresh = [track for one in concerned if not (track := self._track(*one)).folded]
        for track in fresh:
            track.folded = True
        return list({id(track): track.lane for track in fresh}.values())

    def recall(self, event: Event) -> None:
        """Hold an input again that was asked for."""
        self._inputs[event.position] = event

    def take(self, event: Event) -> None:
        """The next event of the log."""
        self.events += 1
        mark, problem = self._mark(event)
        if mark is not None and mark.position > self._begins:
            self._answer(event, mark, problem)
        elif mark is not None:
            self._answer_from_before(event, mark, problem)
        self._hear(event)
        while len(self._inputs) > self._kept:
            self._inputs.popitem(last=False)

    def finish(self, settled: Callable[[str, int], int] | None = None) -> Report:
        """The outcome. `settled(handler, partition)` is how far a handler has come; inputs behind that are open, those before it
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
        return Report(events=self.events, handlers=dict(self._tallies), differences=tuple(self._differences), since=dict(self._since))

    def _mark(self, event: Event) -> tuple[LaneMark | None, Exception | None]:
        handler = self._handlers.get(event.subsystem)
        return mark_of(event) if handler is not None and handler.played.has(event.world) else (None, None)

    # -- inputs ------------------------------------------------------------------------------------------------------------------

    def _hearers(self, event: Event) -> list[Subsystem]:
        if event.name in CONTROL_EVENTS:
            return []
        return [handler for handler in self._listeners.get(event.name, ()) if handler.played.has(event.world)]

    def _hear(self, event: Event) -> None:
        for handler in self._hearers(event):
            for world, entity in self._lanes_of(handler, event):
                self._inputs[event.position] = event
                track = self._track(handler, world, entity)
                queue = track.waiting.setdefault(event.partition, deque())
                queue.append(event.position)
                if len(queue) == 1:
                    self._settle(track, event.partition)

    def _lanes_of(self, handler: Subsystem, event: Event) -> list[tuple[str, str]]:
        astray = (handler.name, "", "", event.position)
        if astray not in self._never:
            try:
                return lanes_of(handler, event, self._watch, skipped=self._skipped)
            except HandlerHung:
                self._never[astray] = _HUNG
            except Exception as error:
                self._never[astray] = words_of(error)
        self._never[handler.name, *place_of(event), event.position] = self._never[astray]  # it was parked there
        return [place_of(event)]

    def _track(self, handler: Subsystem, world: str, entity: str) -> Track:
        key = (handler.name, world, entity)
        track = self._tracks.get(key)
        if track is None:
            track = self._tracks[key] = Track(Lane(handler.of(world), world, entity, self._partitions, watch=self._watch))
        return track

    def _settle(self, track: Track, partition: int) -> None:
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

    def _silent(self, track: Track, event: Event) -> bool:
        """Return whether there is nothing to say to it: the rules say nothing, or a runner skips it."""
        drafts, error = self._today(track, event)
        return not drafts and (not error or self._skipped(event))

    def _skipped(self, event: Event) -> bool:
        return from_edge(event, self._known) and undecodable(event) is not None

    def _count_silence(self, track: Track) -> None:
        tally = self._tallies[track.lane.handler.name]
        tally.decisions += 1
        tally.identical += 1

    # -- answers -----------------------------------------------------------------------------------------------------------------

    def _answer(self, event: Event, mark: LaneMark, problem: Exception | None) -> None:
        track = self._track(self._handlers[event.subsystem], event.world, event.entity)
        if event.name == "LaneInputDropped":
            track.group = None
            if not self._begun(track, mark):  # given up before it was parked
                self._begin(track, mark)
                self._judge(track, mark.position, same=True, recorded=[event], today=[])
        elif event.name == "EventDeferred":
            self._begin(track, mark)
            self._judge(track, mark.position, same=track.lane.parked, recorded=[event], today=[])
        elif event.name in ("EventParked", "LaneRetryFailed"):
            self._aside(track, event, mark)
        else:
            self._compare(track, event, mark)
        track.lane.apply(event, mark, problem)
        if track.group is None:
            self._settle_all(track)

    def _answer_from_before(self, event: Event, mark: LaneMark, problem: Exception | None) -> None:
        """An answer to an input that came before the window: it moves the lane, and nothing is compared."""
        track = self._track(self._handlers[event.subsystem], event.world, event.entity)
        track.lane.apply(event, mark, problem)
        if track.lane.group is None:  # else the state is one in the midst of a decision
            self._settle_all(track)

    def _settle_all(self, track: Track) -> None:
        for partition in track.waiting:
            self._settle(track, partition)

    def _begin(self, track: Track, mark: LaneMark) -> None:
        """An answer to the input at `mark`: those of its partition before it were met with silence, and it is not waiting any more."""
        queue = track.waiting.get(mark.partition, deque())
        while queue and queue[0] < mark.position:
            self._differ(track, queue.popleft(), [])
        if queue and queue[0] == mark.position:
            queue.popleft()
        elif not self._begun(track, mark) and self._heard(track, mark.position):
            tally = self._tallies[track.lane.handler.name]  # it was struck out as silent, too early
            tally.decisions -= 1
            tally.identical -= 1

    def _begun(self, track: Track, mark: LaneMark) -> bool:
        """Return whether the input had an answer before: it waits, its answer is half written, or was not seen by whoever put it aside."""
        lane = track.lane
        half_written = lane.group is not None and lane.group.mark.position == mark.position
        return half_written or lane.waiting.has(mark.position) or lane.has_done(mark.partition, mark.position)

    def _heard(self, track: Track, position: int) -> bool:
        event = self._inputs.get(position)
        return event is not None and (track.lane.world, track.lane.entity) in self._lanes_of(track.lane.handler, event)

    def _aside(self, track: Track, event: Event, mark: LaneMark) -> None:
        """Parked, or failed again: that was the answer then, whatever today's rules make of the input."""
        if event.name == "EventParked":
            self._begin(track, mark)
        cause = self._inputs.get(mark.position)
        passes = cause is not None and code_of(event) not in QUARANTINE and not self._today(track, cause)[1]
        tally = self._tallies[track.lane.handler.name]
        tally.decisions += 1
        tally.identical += 1
        tally.would_pass += passes

    def _compare(self, track: Track, event: Event, mark: LaneMark) -> None:
        group = track.group
        if group is None or group.position != mark.position or mark.step == 0:
            waits = track.lane.waiting.get(mark.position)
            if waits is None:
                self._begin(track, mark)
            elif waits.answered:  # its answer was compared before
                return
            cause = self._inputs.get(mark.position)
            drafts, error = (
                self._today(track, cause, retried=waits is not None) if cause is not None else ([], "its input is not in the log")
            )
            group = track.group = Group(mark.position, drafts, error)
        group.recorded.append(event)
        group.same &= len(group.today) == mark.steps and same(event, group.today[mark.step])
        if mark.step == mark.steps - 1:
            track.group = None
            self._judge(track, mark.position, same=group.same, recorded=group.recorded, today=group.today, error=group.error)

    def _today(self, track: Track, event: Event, *, retried: bool = False) -> tuple[list[Draft], str]:
        """The lane's answer to `event` by today's rules, and the error if they raise one."""
        lane = track.lane
        if lane.fault is not None:
            return [], words_of(lane.fault)
        decision = (lane.handler.name, lane.world, lane.entity, event.position)
        if decision in self._never:
            return [], self._never[decision]
        try:
            return (taken_up(lane, event, answered=False) if retried else decide(lane, event)), ""
        except Exception as error:  # whatever the rules raise is what a runner would park
            if isinstance(error, HandlerHung):
                self._never[decision] = _HUNG
            return [], words_of(error)

    # -- verdicts ----------------------------------------------------------------------------------------------------------------

    def _differ(self, track: Track, position: int, recorded: list[Event]) -> None:
        """Report an input that has no answer on record, and would have one today."""
        cause = self._inputs.get(position)
        drafts, error = self._today(track, cause) if cause is not None else ([], "")
        if error and cause is not None and self._skipped(cause):
            return self._count_silence(track)
        return self._judge(track, position, same=False, recorded=recorded, today=drafts, error=error)

    def _judge(
        self, track: Track, position: int, *, same: bool, recorded: Sequence[Event], today: Sequence[Draft], error: str = ""
    ) -> None:
        tally = self._tallies[track.lane.handler.name]
        tally.decisions += 1
        if same:
            tally.identical += 1
            return
        tally.different += 1
        cause = self._inputs.get(position)
        by = _release(recorded[0]) if recorded else ""
        self._note_since(track.lane.handler, position, recorded[0] if recorded else cause, by)
        if len(self._differences) < KEPT_DIFFERENCES:
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
                    by=by,
                )
            )

    def _note_since(self, handler: Handler[Any], position: int, at: Event | None, by: str) -> None:
        known = self._since.get(handler.name)
        if known is None or position < known.input:
            recorded_ns = at.recorded_ns if at is not None else 0
            self._since[handler.name] = Since(input=position, recorded_ns=recorded_ns, by=by, today=producer(handler))


def verify(
    handlers: Iterable[Subsystem], events: Iterable[Event], *, partitions: int = 8, settled: Callable[[str, int], int] | None = None
) -> Report:
    """Decide a log that is at hand again; `events` are all of it, in order."""
    verifier = Verifier(handlers, partitions=partitions, kept=1 << 62)
    for event in events:
        verifier.take(event)
    return verifier.finish(settled)


def same(recorded: Event, draft: Draft) -> bool:
    """Return whether a draft is what was recorded, byte for byte; which version of the code said it may differ."""
    if recorded.subject != draft.subject:
        return False
    try:
        if recorded.raw == draft.encode():
            return True
        return recorded.raw == msgspec.structs.replace(draft, producer_version=recorded.producer_version).encode()
    except BadEvent:
        return False


def _release(event: Event) -> str:
    try:
        return event.producer_version
    except BadEvent:
        return ""


def _fields(said: Event | Draft) -> Any:
    try:
        return MessageToDict(said.data, preserving_proto_field_name=True)
    except BadEvent as error:
        return f"unreadable: {error}"
