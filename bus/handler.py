"""A subsystem of the game: a frozen value of pure functions.

    ticking = Handler(
        name="weather", listens_to=(WakeFired,), emits=(WeatherChanged,),
        initial=Weather, decide=decide, evolve=evolve, entities=lambda event: (event.data.entity,),
    )

`decide` and `evolve` must be pure: no clock, no randomness, no I/O, no mutation of what they are given. Time, dice, prices and model
answers arrive inside events, so that a replay sees the same world. A "no" from the game is an event (`PurchaseDeclined`), not an exception;
`decide` raises `BrokenRule` only for input that should be impossible, and that input is parked.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from bus.errors import BadSettings, UnknownType
from bus.event import Event
from bus.played import EVERYTHING, Played
from bus.subjects import check_token

S = TypeVar("S")
C = TypeVar("C")

MAX_OUTPUTS = 64  # events from one decision
MAX_DEPTH = 64  # hops from a root event


def of_subject(event: Event) -> Sequence[str]:
    """The usual routing: an event concerns the entity in its subject."""
    return (event.entity,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subsystem:
    """The part of a subsystem that is the same in every world, whatever its rules there.

    name         the subsystem token of everything it says, and in the names of its consumers: renaming it makes it read the whole log again
    listens_to   message types it wants to see, from whichever subsystem
    emits        message types it may say; saying another is a programming error (the input is parked)
    retired      message types that it emitted in former releases, and that `evolve` still folds
    version      of the rules; recorded with every output. A new version makes state snapshots be folded again.
    played       the share of the bus that its game plays; the game itself says so
    """

    name: str
    listens_to: tuple[type[Message], ...]
    emits: tuple[type[Message], ...]
    version: int = 1
    retired: tuple[type[Message], ...] = ()
    played: Played = EVERYTHING

    def __post_init__(self) -> None:
        check_token(self.name, "handler name")
        if not self.listens_to:
            raise ValueError(f"handler {self.name} listens to nothing: name at least one event type")

    @property
    def label(self) -> str:
        """The name under which its consumers and its members are known: two games of a bus may have subsystems of one name."""
        return self.played.label(self.name)

    @property
    @abstractmethod
    def at_home(self) -> bool:
        """True if an event concerns the entity in its subject alone: whoever reads a lane's partition then has all its inputs."""

    def with_rules(
        self,
        *,
        initial: Callable[[str], S],
        decide: Callable[[Event, S], Sequence[Message]],
        evolve: Callable[[S, Event], S],
        entities: Callable[[Event], Iterable[str]] = of_subject,
    ) -> Handler[S]:
        """A handler of what is declared here, with these rules."""
        return Handler(
            name=self.name,
            listens_to=self.listens_to,
            emits=self.emits,
            version=self.version,
            retired=self.retired,
            played=self.played,
            initial=initial,
            decide=decide,
            evolve=evolve,
            entities=entities,
        )

    def check_has_rules(self) -> None:
        """Raise `BadSettings` where it could be played in no world at all."""

    @abstractmethod
    def of(self, world: str) -> Handler[Any]:
        """The rules in a world. Raises `BadSettings` where its content cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handler(Subsystem, Generic[S]):
    """One subsystem and its rules, which are the same in every world that it is run for.

    initial      the state of an entity (its token is the argument) about which this handler has said nothing yet
    decide       (event, state) -> messages it says about this lane's entity, in order; none is fine
    evolve       (state, own event) -> next state; a fold over what the handler itself said, and nothing else. The event's position and
                 `recorded_ns` are not part of what was said: a decision made ahead does not know them yet
    entities     the lanes an event concerns; each gets a decision of its own. A function of the event alone.
    name, listens_to, emits, retired, version, played: see `Subsystem`

    State must be a frozen dataclass (or NamedTuple, tuple, str, number) of plain typed values: snapshots are encoded by msgspec.
    """

    initial: Callable[[str], S]
    decide: Callable[[Event, S], Sequence[Message]]
    evolve: Callable[[S, Event], S]
    entities: Callable[[Event], Iterable[str]] = of_subject
    _folds: frozenset[type[Message]] = field(init=False, repr=False, compare=False)
    _producer: str = field(init=False, repr=False, compare=False, default="")  # bus.rules.producer keeps it here

    def __post_init__(self) -> None:
        object.__setattr__(self, "_folds", frozenset(self.emits) | frozenset(self.retired))
        Subsystem.__post_init__(self)

    @property
    def at_home(self) -> bool:
        """True if an event concerns the entity in its subject alone."""
        return self.entities is of_subject

    def of(self, world: str) -> Handler[S]:
        """The handler itself: its rules are the same everywhere."""
        return self

    def following(self, state: S, event: Event) -> S:
        """The state after one of the handler's own events.

        Raises what `evolve` raises, and `UnknownType` for a type that this release neither emits nor has `retired`: another release wrote
        it, and passing over it would leave a state that nobody was ever in.
        """
        kind = type(event.data)
        if kind not in self._folds:
            name = kind.DESCRIPTOR.full_name
            raise UnknownType(f"{name} is neither among `emits` of {self.name} nor among `retired`", type=name)
        return self.evolve(state, event)

    def fold(self, entity: str, history: Iterable[Event]) -> S:
        """The state after `history`, the handler's own events about `entity` in log order."""
        return reduce(self.evolve, history, self.initial(entity))


@dataclass(frozen=True, slots=True, kw_only=True)
class ByWorld(Subsystem, Generic[C]):
    """A subsystem that plays by content: its rules are made for a world when somebody first plays there.

    make      content -> the handler. Raises `BadSettings` where the content cannot be read
    content   of every world that has none of its own; None: there is no such content
    worlds    world -> its own content
    home      whether the handlers that `make` makes are `at_home`
    """

    make: Callable[[C], Handler[Any]]
    content: C | None = None
    worlds: Mapping[str, C] = field(default_factory=dict)
    home: bool = False
    _made: dict[str, Handler[Any]] = field(init=False, repr=False, compare=False, default_factory=dict)

    @property
    def at_home(self) -> bool:
        """True if an event concerns the entity in its subject alone, in every world."""
        return self.home

    def of(self, world: str) -> Handler[Any]:
        """The rules in a world, made once. Raises `BadSettings` where its content cannot be read."""
        key = world if world in self.worlds else ""  # worlds without content of their own are many, and share one handler
        found = self._made.get(key)
        if found is None:
            content = self.worlds.get(world, self.content)
            if content is None:
                known = ", ".join(sorted(self.worlds)) or "no world"
                raise BadSettings(f"{self.name} has content of {known}, found the world {world!r}: name a game that has content of it")
            found = self._made[key] = replace(self._checked(self.make(content)), played=self.played)
        return found

    def check_has_rules(self) -> None:
        """Raise `BadSettings` where no content was given."""
        if self.content is None and not self.worlds:
            raise BadSettings(f"wanted {self.name} with content, found none: take it from a game, or give it some by `under`")

    def under(self, content: C, worlds: Mapping[str, C] | None = None) -> ByWorld[C]:
        """The same subsystem with content."""
        return replace(self, content=content, worlds=worlds or {})

    def _checked(self, made: Handler[Any]) -> Handler[Any]:
        mine = (self.name, self.listens_to, self.emits, self.retired, self.version, self.at_home)
        its = (made.name, made.listens_to, made.emits, made.retired, made.version, made.at_home)
        if mine != its:
            raise TypeError(f"wanted the handler of {self.name} as it is declared, found another one: wanted {mine}, found {its}")
        return made
