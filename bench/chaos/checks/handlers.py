"""H1 and H2: every decision is in the log once, whole, in order, and is the one that the rules make of what stood before it.

The log alone is read: for each lane the handler's own events are walked in order, every group of answers is decided again by the pure
functions on the state before it, and every input without an answer must be one to which the rules had nothing to say at some moment at
which it may have been decided.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import Message

from bench.chaos.checks.poison import unreadable
from bench.chaos.history import History, Violation, id_of
from bus.errors import WorldbusError
from bus.event import Event, LaneMark, output_id
from bus.handler import Handler
from bus.lane import RUNTIME_EVENTS
from schemas.upcast import recorded_names

RUNTIME = frozenset(kind.DESCRIPTOR.name for kind in RUNTIME_EVENTS)
ASIDE = frozenset({"EventParked", "EventDeferred"})
LaneKey = tuple[str, str]  # world, entity
InputKey = tuple[int, int]  # partition, position


@dataclass(slots=True)
class _Lane:
    """The inputs and outputs of one handler about one entity."""

    handler: Handler[Any]
    key: LaneKey
    inputs: dict[int, Event] = field(default_factory=dict)
    said: list[tuple[Event, LaneMark]] = field(default_factory=list)
    # filled by the walk: the state after the nth group, whether the lane was parked then, and which inputs the groups answered
    states: list[Any] = field(default_factory=list)
    parked: list[bool] = field(default_factory=list)
    answered: list[InputKey] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)  # position of each group's last event

    @property
    def name(self) -> str:
        return f"{self.handler.name}/{'/'.join(self.key)}"


def check(history: History, handlers: Iterable[Handler[Any]]) -> list[Violation]:
    """H1 and H2 for every lane of every handler."""
    found: list[Violation] = []
    for handler in handlers:
        for lane in _lanes(history, handler).values():
            found += _walk(lane, history.by_position)
            found += _silences(lane)
    return found


def _lanes(history: History, handler: Handler[Any]) -> dict[LaneKey, _Lane]:
    names = recorded_names(handler.listens_to)
    lanes: dict[LaneKey, _Lane] = {}

    def lane(world: str, entity: str) -> _Lane:
        return lanes.setdefault((world, entity), _Lane(handler, (world, entity)))

    for event in history.events:
        if event.name in names:
            for entity in _entities(handler, event):
                lane(event.world, entity).inputs[event.position] = event
        if event.subsystem == handler.name and not unreadable(event) and (mark := event.lane) is not None:
            lane(event.world, event.entity).said.append((event, mark))
    return lanes


def _entities(handler: Handler[Any], event: Event) -> Sequence[str]:
    try:
        return list(dict.fromkeys(handler.entities(event)))
    except Exception:  # an input that cannot be routed concerns the lane its subject names
        return [event.entity]


def _groups(said: Sequence[tuple[Event, LaneMark]]) -> Iterator[list[tuple[Event, LaneMark]]]:
    """Runs of answers to one input; a new one begins with every step 0 and every other input."""
    group: list[tuple[Event, LaneMark]] = []
    for event, mark in said:
        if group and (mark[:2] != group[-1][1][:2] or mark.step == 0):
            yield group
            group = []
        group.append((event, mark))
    if group:
        yield group


def _walk(lane: _Lane, log: Mapping[int, Event]) -> list[Violation]:
    """Decide every group again; keep the states for `_silences`."""
    found: list[Violation] = []
    state, waiting = lane.handler.initial(lane.key[1]), dict[int, None]()
    highest: dict[int, int] = defaultdict(int)
    answered: set[int] = set()
    lane.states, lane.parked, lane.answered, lane.ends = [state], [False], [], []
    for group in _groups(lane.said):
        (first, mark), names = group[0], [event.name for event, _ in group]
        where = f"{lane.name} at {first.position}"
        if [one.step for _, one in group] != list(range(mark.steps)):
            found.append(
                Violation("H1", f"{where}: answers {[one.step for _, one in group]} to {mark.position}, wanted all of {mark.steps} once")
            )
        wanted = log.get(mark.position)
        if wanted is None or wanted.partition != mark.partition:
            found.append(Violation("H1", f"{where}: answers position {mark.position}, which is no such input"))
            continue
        again = bool({"LaneInputRetried", "LaneRetryFailed", "LaneInputDropped"} & set(names))
        if names == ["LaneInputDropped"] and not waiting and mark.position not in answered:
            again = False  # given up before it was parked
        if not again:
            if mark.position in answered:
                found.append(Violation("H1", f"{where}: input {mark.position} is answered twice"))
            if mark.position <= highest[mark.partition]:
                found.append(Violation("H2", f"{where}: input {mark.position} is answered after {highest[mark.partition]}"))
            highest[mark.partition] = max(highest[mark.partition], mark.position)
            answered.add(mark.position)
        elif next(iter(waiting), 0) != mark.position:
            found.append(Violation("D3", f"{where}: takes up {mark.position}, wanted {next(iter(waiting), 'none')} of those that wait"))
        if again or names != ["LaneInputDropped"]:
            found += _judge(lane, where, group, wanted, state, parked=bool(waiting))
        for event, _ in group:
            if event.name in ASIDE:
                waiting[mark.position] = None
            elif event.name not in RUNTIME:
                state = lane.handler.evolve(state, event)
        if "LaneInputRetried" in names or "LaneInputDropped" in names:
            waiting.pop(mark.position, None)
        lane.states.append(state)
        lane.ends.append(group[-1][0].position)
        lane.parked.append(bool(waiting))
        lane.answered.append((mark.partition, 0 if again else mark.position))
    return found


def _judge(lane: _Lane, where: str, group: Sequence[tuple[Event, LaneMark]], wanted: Event, state: Any, *, parked: bool) -> list[Violation]:
    """Is this what the rules say to this input on this state?"""
    names = [event.name for event, _ in group]
    own = [event for event, _ in group if event.name not in RUNTIME]
    if not own and "LaneInputRetried" not in names:
        return _judge_record(where, names, lane.handler, wanted, state, parked=parked)
    if parked and "LaneInputRetried" not in names:
        return [Violation("H2", f"{where}: input {wanted.position} overtakes those that wait behind a parked one")]
    try:
        said = list(lane.handler.decide(wanted, state))
    except Exception as error:
        return [Violation("H1", f"{where}: answers {wanted.position}, to which the rules raise {error!r}")]
    if [_bytes(event.data) for event in own] != [_bytes(message) for message in said]:
        return [
            Violation("H1", f"{where}: {[one.name for one in own]} is not what the rules say to {wanted.position} on the state before it")
        ]
    ids = [output_id(id_of(wanted), lane.handler.name, lane.key[1], index) for index in range(len(own))]
    if [event.id for event in own] != ids:
        return [Violation("H1", f"{where}: the answers to {wanted.position} have other ids than their input gives them")]
    return []


def _judge_record(where: str, names: Sequence[str], handler: Handler[Any], wanted: Event, state: Any, *, parked: bool) -> list[Violation]:
    """The runtime's own records."""
    if names == ["EventDeferred"]:
        return [] if parked else [Violation("D2", f"{where}: {wanted.position} was deferred, and nothing was parked before it")]
    if names == ["EventParked"]:
        if parked:
            return [Violation("D1", f"{where}: {wanted.position} was parked although the lane was parked already")]
        return [] if _raises(handler, wanted, state) else [Violation("D1", f"{where}: {wanted.position} was parked and can be decided")]
    if names in (["LaneRetryFailed"], ["LaneInputDropped"]):
        return [] if parked else [Violation("D3", f"{where}: {names[0]} for a lane in which nothing waits")]
    return [Violation("H1", f"{where}: {names} is no answer")]


def _raises(handler: Handler[Any], event: Event, state: Any) -> bool:
    try:
        list(handler.entities(event))
        event.id, event.depth  # noqa: B018 - an envelope that cannot be read raises here
        handler.decide(event, state)
    except Exception:
        return True
    return False


def _bytes(message: Message) -> bytes:
    return message.DESCRIPTOR.full_name.encode() + message.SerializeToString(deterministic=True)


def _silences(lane: _Lane) -> list[Violation]:
    """H1 the other way round: an input without an answer had none coming."""
    answered = {position for _, position in lane.answered if position}
    found = []
    for position, event in lane.inputs.items():
        if position in answered or unreadable(event):  # whether that has a record, checks.poison says
            continue
        begin, end = _window(lane, event)
        if not any(_silent(lane.handler, event, lane.states[at]) for at in range(begin, end + 1) if not lane.parked[at]):
            found.append(Violation("H1", f"{lane.name}: input {position} ({event.name}) has no answer, and the rules have one"))
    return found


def _window(lane: _Lane, event: Event) -> tuple[int, int]:
    """Between which groups the input was decided: behind what was recorded before it and behind the answers to earlier ones of its
    partition, before the answers to later ones."""
    begin, end = bisect_left(lane.ends, event.position), len(lane.states) - 1
    for index, (partition, position) in enumerate(lane.answered):
        if partition != event.partition or not position:
            continue
        if position < event.position:
            begin = max(begin, index + 1)
        else:
            end = index
            break
    return begin, end


def _silent(handler: Handler[Any], event: Event, state: Any) -> bool:
    try:
        return not handler.decide(event, state)
    except (WorldbusError, ValueError, ArithmeticError, LookupError, TypeError, AttributeError, AssertionError):
        return False
