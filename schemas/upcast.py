"""Old events are read as today's: a message of a type that has moved on is changed, step by step, into its newest form.

The log is never rewritten. Whoever reads an event, a parked one included, sees the newest type; a handler knows one version only. A step is
written when a type cannot change in place, that is when the breaking-change check refuses the edit: the new type gets a new package
version, the old one stays.

    UPCASTS = (Upcast(v1.WeatherChanged, v2.WeatherChanged, celsius_to_kelvin),)

Those above are worldbus's own; a game adds its steps with its packages (`Game.upcasts`).

A type may be renamed in the same way. What was recorded keeps its subject, and with it the old name: readers choose by `recorded_names`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from google.protobuf.message import Message

from schemas.errors import BadUpcast


@dataclass(frozen=True, slots=True)
class Upcast:
    """One step from an old type to the next. `change` is pure: equal old messages give equal new ones, and the old one is left as it is."""

    old: type[Message]
    new: type[Message]
    change: Callable[[Any], Message]


class Upcasters:
    """The steps, checked and joined into chains. Raises `BadUpcast` for two steps from one type, and for steps that form a ring."""

    def __init__(self, steps: Iterable[Upcast] = ()) -> None:
        self._next: dict[str, Upcast] = {}
        self._chains: dict[str, tuple[Upcast, ...]] = {}
        self.renamed: Mapping[str, str] = {}
        """Simple names that are read under another one today, and which."""
        self.add(steps)

    def add(self, steps: Iterable[Upcast]) -> None:
        """Take in more steps; those that are there already change nothing. Raises `BadUpcast`, and takes none."""
        known = dict(self._next)
        for step in steps:
            name = step.old.DESCRIPTOR.full_name
            if known.setdefault(name, step) != step:
                raise BadUpcast(f"wanted one step from {name}, found two: to {_to(known[name])} and to {_to(step)}; remove one")
        chains = {name: _chain(name, known) for name in known}
        pairs = [(_simple(start), _simple(_to(chain[-1]))) for start, chain in chains.items()]
        self._next, self._chains, self.renamed = known, chains, {old: new for old, new in pairs if old != new}
        Upcasters.recorded.cache_clear()

    def upcast(self, full_name: str, message: Message) -> Message:
        """`message`, which was recorded as `full_name`, in its newest form; the very same object when there is nothing to do."""
        chain = self._chains.get(full_name)
        if chain is None:
            return message
        for step in chain:
            changed = step.change(message)
            if not isinstance(changed, step.new):
                raise BadUpcast(f"the upcast from {step.old.DESCRIPTOR.full_name} promised {_to(step)}, returned {type(changed).__name__}")
            message = changed
        return message

    def older(self, full_name: str) -> tuple[str, ...]:
        """The types whose messages become one of `full_name` on their way, over any number of steps."""
        return tuple(start for start, chain in self._chains.items() if any(_to(step) == full_name for step in chain))

    @cache  # noqa: B019 - there is one for each process
    def recorded(self, kinds: tuple[type[Message], ...]) -> frozenset[str]:
        """The simple names under which events of these kinds may be recorded, like `recorded_names`."""
        names: set[str] = set()
        for kind in kinds:
            full_name = kind.DESCRIPTOR.full_name
            if self.newest(full_name) != full_name:
                raise BadUpcast(f"nothing is read as {full_name} any more, but as {self.newest(full_name)}: name that one instead")
            names |= {_simple(one) for one in (full_name, *self.older(full_name))}
        return frozenset(names)

    def newest(self, full_name: str) -> str:
        """The type that messages of `full_name` are read as."""
        chain = self._chains.get(full_name)
        return _to(chain[-1]) if chain else full_name


def _chain(start: str, steps: Mapping[str, Upcast]) -> tuple[Upcast, ...]:
    chain: list[Upcast] = []
    seen = [start]
    while (step := steps.get(seen[-1])) is not None:
        chain.append(step)
        seen.append(_to(step))
        if seen[-1] in seen[:-1]:
            raise BadUpcast(f"upcasts come back to where they began: {' -> '.join(seen)}; an upcast leads to a newer type")
    return tuple(chain)


def _to(step: Upcast) -> str:
    return step.new.DESCRIPTOR.full_name


def _simple(full_name: str) -> str:
    return full_name.rpartition(".")[2]


UPCASTS: Final[tuple[Upcast, ...]] = ()  # every step of worldbus's own types, oldest type first; a game adds those of its own
_SHIPPED = Upcasters(UPCASTS)
upcast: Final = _SHIPPED.upcast
newest: Final = _SHIPPED.newest
add: Final = _SHIPPED.add


def recorded_names(kinds: Iterable[type[Message]]) -> frozenset[str]:
    """The simple names under which events that are read as one of `kinds` stand in the log: their own, and those of older types.

    A subject says the name that was recorded, so whoever chooses events by subject has to choose by all of these. Raises `BadUpcast` for a
    type that is read as another one today: whoever waits for it would wait for ever.
    """
    return _SHIPPED.recorded(tuple(kinds))


def names_through(full_name: str) -> frozenset[str]:
    """The simple names under which events stand in the log that are, or become on their way, messages of `full_name`."""
    return frozenset(map(_simple, (full_name, *_SHIPPED.older(full_name))))


def read_as(name: str) -> str:
    """The simple name under which events recorded as `name` are read today."""
    return _SHIPPED.renamed.get(name, name)
