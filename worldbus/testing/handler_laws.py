"""The laws of handlers: what must be true of each, whatever its rules are.

It answers anything that it listens to, says nothing that it does not declare, and says the same bytes to the same event on the same state.
It leaves the event and the state as they were. Its state is the fold of what it said, wherever the fold is cut by a snapshot, and knows
neither the position nor the moment at which that was recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bus.errors import BadSubject, BrokenRule
from bus.event import Draft, Event, output_id
from bus.handler import MAX_OUTPUTS, Handler, Subsystem
from bus.subjects import check_token
from bus.testing import WORLD, recorded
from schemas.examples import example
from schemas.registry import subsystem
from worldbus.testing.drawing import messages

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from hypothesis.strategies import SearchStrategy

ENTITIES: Final = ("e1", "e2")
SPEAKERS: Final = ("game", "time", "operator")
NOON_NS: Final = 1_767_268_800_000_000_000  # 2026-01-01T12:00:00Z
MOST: Final = 8  # inputs of one example
CUTS: Final = 8  # of a history, each with a snapshot


@dataclass(frozen=True, slots=True)
class Input:
    """A message that somebody publishes about an entity. `time_ns`: nanoseconds since 1970, 0 for none."""

    message: Message
    entity: str = ENTITIES[0]
    speaker: str = SPEAKERS[0]
    time_ns: int = NOON_NS


def assert_handler_laws(
    handler: Subsystem, *, world: str = WORLD, history: Iterable[Event] = (), examples: int = 30, inputs: int = MOST
) -> None:
    """Raise `AssertionError` where the handler breaks one of the laws above in any of `examples` examples of up to `inputs` inputs.

    Each of its event types is also tried empty and with every field set, on a lane without history and on those that `history` leads to: a
    list of events such as the `log` of a `Rehearsal`, of which it hears those that it listens to. A `ByWorld` needs its content. What
    `decide` raises counts as a failure, `BrokenRule` apart.
    """
    rules = handler.of(world)
    past = list(history)
    for one in _each_type(rules, past):
        _Walk(rules, world).hear_all([one])
    _Walk(rules, world).remember(past).hear_all(_each_type(rules, past))

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(_inputs(rules, past), max_size=inputs), st.booleans())
    def any_inputs_keep_the_laws(drawn: list[Input], remembers: bool) -> None:
        _Walk(rules, world).remember(past if remembers else []).hear_all(drawn)

    any_inputs_keep_the_laws()


def _each_type(handler: Handler[Any], past: Sequence[Event]) -> Iterator[Input]:
    for kind in handler.listens_to:
        for message in (kind(), example(kind)):
            for speaker in dict.fromkeys((*SPEAKERS, *_speakers(kind, past))):
                yield Input(message, speaker=speaker)


def _inputs(handler: Handler[Any], past: Sequence[Event]) -> SearchStrategy[Input]:
    return st.sampled_from(handler.listens_to).flatmap(lambda kind: _of(kind, past))


def _of(kind: type[Message], past: Sequence[Event]) -> SearchStrategy[Input]:
    said = [event.data for event in past if type(event.data) is kind]
    known = (*ENTITIES, *sorted({event.entity for event in past}))
    speakers = tuple(dict.fromkeys((*_speakers(kind, past), *SPEAKERS)))
    return st.builds(
        Input,
        st.one_of(messages(kind), st.just(example(kind)), *([st.sampled_from(said)] if said else [])),
        st.sampled_from(known),
        st.sampled_from(speakers),
        st.one_of(st.sampled_from((NOON_NS, 0)), st.integers(0, 2 * NOON_NS)),
    )


def _speakers(kind: type[Message], past: Sequence[Event]) -> tuple[str, ...]:
    """The subsystem whose package declares the type, and those that were heard to say it."""
    owner = subsystem(kind)
    return tuple(dict.fromkeys((*([owner] if owner else []), *(event.subsystem for event in past if type(event.data) is kind))))


@dataclass(slots=True)
class _Lane:
    """One entity's state, the type as which its snapshots are read, and the handler's own events that led to it."""

    state: Any
    kind: type
    said: list[Event] = field(default_factory=list)


class _Walk:
    """A handler hears one event after the other; each decision and each step of a fold is held against the laws."""

    def __init__(self, handler: Handler[Any], world: str) -> None:
        self._handler = handler
        self._world = world
        self._lanes: dict[str, _Lane] = {}
        self._position = 0

    def remember(self, past: Sequence[Event]) -> _Walk:
        """Hear what others have recorded."""
        for event in past:
            if type(event.data) in self._handler.listens_to:
                self._hear(event)
        return self

    def hear_all(self, inputs: Iterable[Input]) -> None:
        """Hear these inputs in order, and hold every lane against its own history at the end."""
        for one in inputs:
            self._position += 1
            event = recorded(
                one.message, entity=one.entity, subsystem=one.speaker, world=self._world, position=self._position, time_ns=one.time_ns
            )
            self._hear(event)
        for entity, lane in self._lanes.items():
            self._folds_from_any_split(entity, lane)

    def _hear(self, event: Event) -> None:
        before = _bytes(event.data)
        concerned = tuple(self._handler.entities(event))
        assert concerned == tuple(self._handler.entities(event)), f"{self._handler.name} leads {event} to other entities the second time"
        for entity in dict.fromkeys(concerned):
            if not self._is_led(event, entity):
                break
            if entity not in self._lanes:
                first = self._handler.initial(entity)
                self._lanes[entity] = _Lane(first, type(first))
            self._decided(entity, self._lanes[entity], event)
        assert _bytes(event.data) == before, f"{self._handler.name} changed {event} in place"

    def _is_led(self, event: Event, entity: str) -> bool:
        """Return whether an input leads to an entity. One that others publish must; a subsystem's word of its own type is taken as meant,
        and one that it would never have said is parked."""
        try:
            check_token(entity, f"entity of {self._handler.name} for {event}")
        except BadSubject:
            if event.subsystem == subsystem(type(event.data)) and event.subsystem not in SPEAKERS:
                return False
            raise
        return True

    def _decided(self, entity: str, lane: _Lane, event: Event) -> None:
        handler, before = self._handler, _kept(lane.state)
        said = self._answer(event, lane.state)
        assert _texts(said) == _texts(self._answer(event, lane.state)), f"{handler.name} decides {event} differently the second time"
        assert _kept(lane.state) == before, f"decide of {handler.name} changed the state in place on {event}"
        assert len(said) <= MAX_OUTPUTS, f"{handler.name} said {len(said)} events to {event}, wanted at most {MAX_OUTPUTS}: split it"
        for index, message in enumerate(said):
            full_name = message.DESCRIPTOR.full_name
            assert type(message) in handler.emits, f"{handler.name} said {full_name} to {event}: add it to `emits`"
            draft = Draft(
                data=message,
                world=self._world,
                entity=entity,
                subsystem=handler.name,
                id=output_id(event.id, handler.name, entity, index),
                time_ns=event.time_ns,
                cause=event.id,
            )
            self._position += 1
            self._evolved(lane, _stored(draft, self._position))

    def _answer(self, event: Event, state: Any) -> tuple[Message, ...]:
        try:
            return tuple(self._handler.decide(event, state))
        except BrokenRule:
            return ()  # the input is parked, and the lane stays as it is

    def _evolved(self, lane: _Lane, event: Event) -> None:
        handler, before = self._handler, _kept(lane.state)
        after = handler.following(lane.state, event)
        assert _kept(lane.state) == before, f"evolve of {handler.name} changed the state in place on {event}"
        ahead = handler.following(lane.state, _stored_again(event, position=event.position + 1000))
        assert _same(after, ahead), f"evolve of {handler.name} looks at the position of {event} or at `recorded_ns`"
        assert _same(after, _restored(after, lane.kind)), f"a state of {handler.name} after {event} does not survive its snapshot: {after}"
        lane.said.append(event)
        lane.state = after

    def _folds_from_any_split(self, entity: str, lane: _Lane) -> None:
        handler, said = self._handler, lane.said
        assert _same(handler.fold(entity, said), lane.state), (
            f"{handler.name} folds the history of {entity} to another state the second time"
        )
        for cut in range(0, len(said), max(1, len(said) // CUTS)):
            state = _restored(handler.fold(entity, said[:cut]), lane.kind)
            for event in said[cut:]:
                state = handler.following(state, event)
            assert _same(state, lane.state), f"{handler.name} folds to another state from a snapshot behind {cut} of {len(said)} events"


def _stored(draft: Draft, position: int) -> Event:
    return Event(raw=draft.encode(), subject=draft.subject, partition=0, position=position, recorded_ns=draft.time_ns)


def _stored_again(event: Event, *, position: int) -> Event:
    return Event(raw=event.raw, subject=event.subject, partition=event.partition, position=position, recorded_ns=0)


def _bytes(message: Message) -> bytes:
    return message.SerializeToString(deterministic=True)


def _texts(said: Iterable[Message]) -> list[tuple[str, bytes]]:
    return [(message.DESCRIPTOR.full_name, _bytes(message)) for message in said]


def _kept(state: Any) -> bytes:
    """The bytes of a snapshot, which show every value in a state."""
    return msgspec.msgpack.encode(state)


def _restored(state: Any, kind: type) -> Any:
    return msgspec.msgpack.decode(_kept(state), type=kind)


def _same(one: Any, other: Any) -> bool:
    """Equal, or shown by the same words: a state that holds NaN is not equal to itself."""
    return bool(one == other) or repr(one) == repr(other)
