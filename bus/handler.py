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

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Generic, TypeVar

from google.protobuf.message import Message

from bus.errors import UnknownType
from bus.event import Event
from bus.subjects import check_token

S = TypeVar("S")

MAX_OUTPUTS = 64  # events from one decision
MAX_DEPTH = 64  # hops from a root event


def of_subject(event: Event) -> Sequence[str]:
    """The usual routing: an event concerns the entity in its subject."""
    return (event.entity,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Handler(Generic[S]):
    """One subsystem.

    name         the subsystem token of everything it says, and of its consumers: renaming it makes it read the whole log again
    listens_to   message types it wants to see, from whichever subsystem
    emits        message types it may say; saying another is a programming error (the input is parked)
    initial      the state of an entity (its token is the argument) about which this handler has said nothing yet
    decide       (event, state) -> messages it says about this lane's entity, in order; none is fine
    evolve       (state, own event) -> next state; a fold over what the handler itself said, and nothing else. The event's position and
                 `recorded_ns` are not part of what was said: a decision made ahead does not know them yet
    entities     the lanes an event concerns; each gets a decision of its own. A function of the event alone.
    retired      message types that it emitted in former releases, and that `evolve` still folds
    version      of the rules; recorded with every output. A new version makes state snapshots be folded again.

    State must be a frozen dataclass (or NamedTuple, tuple, str, number) of plain typed values: snapshots are encoded by msgspec.
    """

    name: str
    listens_to: tuple[type[Message], ...]
    emits: tuple[type[Message], ...]
    initial: Callable[[str], S]
    decide: Callable[[Event, S], Sequence[Message]]
    evolve: Callable[[S, Event], S]
    entities: Callable[[Event], Iterable[str]] = of_subject
    version: int = 1
    retired: tuple[type[Message], ...] = ()
    _folds: frozenset[type[Message]] = field(init=False, repr=False, compare=False)
    _producer: str = field(init=False, repr=False, compare=False, default="")  # bus.rules.producer keeps it here

    def __post_init__(self) -> None:
        object.__setattr__(self, "_folds", frozenset(self.emits) | frozenset(self.retired))
        check_token(self.name, "handler name")
        if not self.listens_to:
            raise ValueError(f"handler {self.name} listens to nothing: name at least one event type")

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
