"""Old events are read as today's: a message of a type that has moved on is changed, step by step, into its newest form.

The log is never rewritten. Whoever reads an event, a parked one included, sees the newest type; a handler knows one version only. A step is
written when a type cannot change in place, that is when the breaking-change check refuses the edit: the new type gets a new package
version, the old one stays.

    UPCASTS = (Upcast(v1.WeatherChanged, v2.WeatherChanged, celsius_to_kelvin),)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
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
        for step in steps:
            name = step.old.DESCRIPTOR.full_name
            if name in self._next:
                raise BadUpcast(f"wanted one step from {name}, found two: to {_to(self._next[name])} and to {_to(step)}; remove one")
            self._next[name] = step
        self._chains = {name: self._chain(name) for name in self._next}

    def _chain(self, start: str) -> tuple[Upcast, ...]:
        chain: list[Upcast] = []
        seen = [start]
        while (step := self._next.get(seen[-1])) is not None:
            chain.append(step)
            seen.append(_to(step))
            if seen[-1] in seen[:-1]:
                raise BadUpcast(f"upcasts come back to where they began: {' -> '.join(seen)}; an upcast leads to a newer type")
        return tuple(chain)

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

    def newest(self, full_name: str) -> str:
        """The type that messages of `full_name` are read as."""
        chain = self._chains.get(full_name)
        return _to(chain[-1]) if chain else full_name


def _to(step: Upcast) -> str:
    return step.new.DESCRIPTOR.full_name


UPCASTS: Final[tuple[Upcast, ...]] = ()  # every step there is, oldest type first
_SHIPPED: Final = Upcasters(UPCASTS)
upcast: Final = _SHIPPED.upcast
newest: Final = _SHIPPED.newest
