"""The event types that each subsystem may emit: the facts of a subsystem are its own, and so is the book-keeping of the runtime.

Gates ask before they publish for somebody. The table is made of the handlers' `emits`, of what each edge alone may say, and of the rights
to ask for something; the bus knows none of them, so they are handed in. What none of them names may be said by any edge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from bus.errors import BadEvent
from bus.lane import RUNTIME_EVENTS

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from bus.handler import Subsystem

RUNTIME = frozenset(kind.DESCRIPTOR.full_name for kind in RUNTIME_EVENTS)
REQUEST = "Requested"


def _anybody(_subsystem: str, _type_name: str) -> str:
    return ""


class Emitters:
    """The table. `edges` has what each edge alone may say, `rights` why a subsystem may not say a type (empty: it may)."""

    def __init__(
        self, handlers: Iterable[Subsystem], edges: Mapping[str, Iterable[type[Message]]], rights: Callable[[str, str], str] = _anybody
    ) -> None:
        self._rights = rights
        self.handlers = {handler.name: frozenset(kind.DESCRIPTOR.full_name for kind in handler.emits) for handler in handlers}
        self._owners: dict[str, tuple[str, ...]] = dict.fromkeys(RUNTIME, tuple(self.handlers))
        for name, types in self.handlers.items():
            for one in types:
                if not one.endswith(REQUEST):
                    self._owners[one] = (*self._owners.get(one, ()), name)
        for edge, kinds in edges.items():
            for kind in kinds:
                name = kind.DESCRIPTOR.full_name
                self._owners[name] = (*self._owners.get(name, ()), edge)

    def may(self, subsystem: str, type_name: str) -> bool:
        """Return whether `subsystem` may emit events of the full type `type_name`."""
        return self._owns(subsystem, type_name) and not self._rights(subsystem, type_name)

    def _owns(self, subsystem: str, type_name: str) -> bool:
        owners = self._owners.get(type_name)
        if owners is not None:
            return subsystem in owners
        return subsystem not in self.handlers or type_name in self.handlers[subsystem]

    def check(self, subsystem: str, type_name: str) -> None:
        """Raise `BadEvent` if it may not."""
        problem = self.problem(subsystem, type_name)
        if problem:
            raise BadEvent(problem, code="TYPE_NOT_ALLOWED", type=type_name)

    def problem(self, subsystem: str, type_name: str) -> str:
        """The reason for which it may not, in words; empty if it may."""
        simple = type_name.rpartition(".")[2]
        if self._owns(subsystem, type_name):
            problem = self._rights(subsystem, type_name)
            return f"{simple}: {problem}" if problem else ""
        owners = self._owners.get(type_name)
        if type_name in RUNTIME:
            return f"{simple} is the runtime's own record of a handler's lane, found it from {subsystem!r}: nobody else publishes it"
        if owners is None:
            return f"wanted an event that {subsystem} declares in `emits`, found {simple}: publish it as an edge, game for instance"
        return f"wanted {simple} from {' or '.join(owners)}, found it from {subsystem!r}: a fact is published by its own subsystem alone"
