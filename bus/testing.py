"""Given / when / then for one lane, and a rehearsal for several handlers: pure, in memory, the same words as production.

    given(weather, SpellBegan(sky="rain"), entity="harbour").when(WakeFired(entity="harbour")).then(SpellBegan(sky="clear"))

`given` is what the handler itself said before; `when` is what happens now; several `when`s may follow each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from bus.event import EDGE, Draft, Event, LaneMark, output_id
from bus.handler import MAX_DEPTH, MAX_OUTPUTS, Handler, Subsystem

S = TypeVar("S")
WORLD = "testworld"


def recorded(
    message: Message, *, entity: str = "e1", subsystem: str = EDGE, world: str = WORLD, position: int = 1, time_ns: int = 0, id: str = ""
) -> Event:
    """`message` as if the log held it at `position`."""
    draft = Draft(data=message, world=world, entity=entity, subsystem=subsystem, id=id or f"test-{position}", time_ns=time_ns)
    return Event(raw=draft.encode(), subject=draft.subject, partition=0, position=position, recorded_ns=time_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case(Generic[S]):
    """One lane of a handler at some moment, and what it said last."""

    handler: Handler[S]
    entity: str
    state: S
    position: int = 0
    said: tuple[Message, ...] = field(default=())

    def when(
        self, message: Message, *, entity: str | None = None, subsystem: str = EDGE, world: str = WORLD, time_ns: int = 0, id: str = ""
    ) -> Case[S]:
        """`message` happens; it must concern this lane, else nothing is decided (as in production)."""
        event = recorded(
            message, entity=entity or self.entity, subsystem=subsystem, world=world, position=self.position + 1, time_ns=time_ns, id=id
        )
        assert type(message) in self.handler.listens_to, f"{self.handler.name} does not listen to {message.DESCRIPTOR.name}"
        if self.entity not in tuple(self.handler.entities(event)):
            return replace(self, position=self.position + 1, said=())
        said = tuple(self.handler.decide(event, self.state))
        case = replace(self, position=self.position + 1, said=said)
        return case._evolve(said, world, time_ns)

    def _evolve(self, said: Iterable[Message], world: str, time_ns: int) -> Case[S]:
        state, position = self.state, self.position
        for message in said:
            assert type(message) in self.handler.emits, f"{self.handler.name} does not declare {message.DESCRIPTOR.name} in emits"
            position += 1
            state = self.handler.evolve(
                state, recorded(message, entity=self.entity, subsystem=self.handler.name, world=world, position=position, time_ns=time_ns)
            )
        return replace(self, state=state, position=position)

    def then(self, *expected: Message) -> Case[S]:
        """The last `when` said exactly this, in this order."""
        assert list(expected) == list(self.said)
        return self

    def then_nothing(self) -> Case[S]:
        """The last `when` said nothing."""
        return self.then()

    def then_types(self, *expected: type[Message]) -> Case[S]:
        """The last `when` said events of these types, in this order."""
        assert [kind.__name__ for kind in expected] == [type(message).__name__ for message in self.said]
        return self

    def then_state(self, **expected: Any) -> Case[S]:
        """Expect these values in these fields of the state."""
        assert expected == {name: getattr(self.state, name) for name in expected}
        return self


def given(handler: Handler[S], *history: Message, entity: str = "e1", world: str = WORLD) -> Case[S]:
    """A lane of `handler` after it said `history` about `entity`."""
    case = Case(handler=handler, entity=entity, state=handler.initial(entity))
    return case._evolve(history, world, 0)


def play(handler: Handler[S], inputs: Sequence[tuple[str, Message]], *, world: str = WORLD) -> dict[str, Case[S]]:
    """Run (subject entity, message) pairs through every lane they concern; the lanes at the end, by entity."""
    lanes: dict[str, Case[S]] = {}
    for position, (entity, message) in enumerate(inputs, start=1):
        event = recorded(message, entity=entity, world=world, position=position)
        for lane in dict.fromkeys(handler.entities(event)):
            case = lanes.get(lane) or given(handler, entity=lane, world=world)
            lanes[lane] = case.when(message, entity=entity, world=world, id=event.id)
    return lanes


class Rehearsal:
    """Several handlers on a log in memory: everything said is heard by whoever listens, in order, until nobody has more to say.

        town = Rehearsal(time, weather)
        town.say(ZoneDeclared(climate="harbour"), entity="quay")
        assert town.said(WeatherBegan, entity="quay")

    The order of the log is the order of saying; ids, causes, times and limits are those of production. Everything is deterministic.
    """

    def __init__(self, *handlers: Subsystem, world: str = WORLD) -> None:
        self.handlers = {handler.name: handler.of(world) for handler in handlers}
        self.world = world
        self.log: list[Event] = []
        self._states: dict[tuple[str, str], Any] = {}
        self._heard = 0  # how much of the log has been heard by everybody

    def say(
        self, message: Message, *, entity: str, subsystem: str = EDGE, time_ns: int = 0, id: str = "", hear: bool = True
    ) -> tuple[Message, ...]:
        """An edge says something; returns what the handlers said then, in log order. With `hear=False` they hear it at the next `say`."""
        assert subsystem not in self.handlers, f"only the handler {subsystem} speaks as {subsystem}"
        after = len(self.log) + 1
        name = id or f"said-{after}"
        self._append(Draft(data=message, world=self.world, entity=entity, subsystem=subsystem, id=name, time_ns=time_ns))
        if hear:
            self._hear()
        return tuple(event.data for event in self.log[after:])

    def said(self, *types: type[Message], entity: str | None = None) -> tuple[Any, ...]:
        """Every message of these types in the log, about one entity if named."""
        return tuple(event.data for event in self.log if isinstance(event.data, types) and entity in (None, event.entity))

    def state(self, handler: Handler[S], entity: str) -> S:
        """The state of `handler` about `entity` now."""
        state: S = self._states.get((handler.name, entity), handler.initial(entity))
        return state

    def refold(self) -> dict[tuple[str, str], Any]:
        """Every lane's state folded afresh from the log, by (handler, entity); equal to what `state` gives."""
        lanes: dict[tuple[str, str], list[Event]] = {}
        for event in self.log:
            if event.subsystem in self.handlers:
                lanes.setdefault((event.subsystem, event.entity), []).append(event)
        return {(name, entity): self.handlers[name].fold(entity, events) for (name, entity), events in lanes.items()}

    def _append(self, draft: Draft) -> Event:
        position = len(self.log) + 1
        event = Event(raw=draft.encode(), subject=draft.subject, partition=0, position=position, recorded_ns=draft.time_ns)
        self.log.append(event)
        return event

    def _hear(self) -> None:
        while self._heard < len(self.log):
            event = self.log[self._heard]
            self._heard += 1
            for handler in self.handlers.values():
                if type(event.data) in handler.listens_to:
                    for entity in dict.fromkeys(handler.entities(event)):
                        self._decide(handler, entity, event)

    def _decide(self, handler: Handler[Any], entity: str, cause: Event) -> None:
        state = self.state(handler, entity)
        said = tuple(handler.decide(cause, state))
        assert len(said) <= MAX_OUTPUTS, f"{handler.name} said {len(said)} events at once, at most {MAX_OUTPUTS} are allowed"
        assert cause.depth < MAX_DEPTH, f"a chain of {MAX_DEPTH} events from one root: do two handlers answer each other for ever?"
        for index, message in enumerate(said):
            assert type(message) in handler.emits, f"{handler.name} does not declare {message.DESCRIPTOR.name} in emits"
            draft = Draft(
                data=message,
                world=self.world,
                entity=entity,
                subsystem=handler.name,
                id=output_id(cause.id, handler.name, entity, index),
                time_ns=cause.time_ns,
                cause=cause.id,
                correlation=cause.correlation,
                lane=str(LaneMark(cause.partition, cause.position, index, len(said))),
                depth=cause.depth + 1,
            )
            state = handler.evolve(state, self._append(draft))
        self._states[handler.name, entity] = state
