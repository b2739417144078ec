"""D1 to D3: what cannot be decided is put aside once, with its reason, holds up nobody else, and is taken up again in order.

Order and multiplicity within a lane are part of `checks.handlers`; here the poison itself is counted, and who else suffered.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from bench.chaos.history import History, Violation
from bus.errors import BadEvent
from bus.event import Event
from bus.handler import Handler
from schemas.upcast import recorded_names

RECORDS = frozenset({"EventParked", "EventDeferred"})


def unreadable(event: Event) -> bool:
    """Return whether the envelope or payload cannot be read: such an event no handler can decide."""
    try:
        event.data  # noqa: B018
    except BadEvent:
        return True
    return False


def put_aside_once(history: History, handlers: Iterable[Handler[Any]]) -> list[Violation]:
    """D1. Each unreadable input that came from a handler is recorded once by each one that listens to its type, with position, code and
    reason; one of an edge by none."""
    handlers = list(handlers)
    known = {handler.name for handler in handlers}
    records: dict[tuple[str, int], list[Event]] = defaultdict(list)
    for event in history.events:
        if event.name in RECORDS and event.lane is not None:
            records[event.subsystem, event.lane.position].append(event)
    found = []
    for handler in handlers:
        names = recorded_names(handler.listens_to)
        for event in history.events:
            if event.name not in names or not event.entity or not unreadable(event):
                continue
            there = records[handler.name, event.position]
            wanted = int(event.subsystem in known)
            if len(there) != wanted:
                times = f"{len(there)} times, wanted {wanted}"
                found.append(Violation("D1", f"{handler.name} recorded unreadable input {event.position} of {event.subsystem} {times}"))
            for record in there:
                found += _complete(record, event)
    return found


def _complete(record: Event, event: Event) -> list[Violation]:
    said: Any = record.data
    lacking = []
    if said.position != event.position or said.partition != event.partition:
        lacking.append(f"names position {said.position}")
    if record.name == "EventParked":
        lacking += [field for field in ("code", "reason", "error_type", "subject", "handler_version") if not getattr(said, field)]
        lacking += ["attempts"] if said.attempts < 1 else []
    return (
        [Violation("D1", f"the record at {record.position} of unreadable input {event.position} lacks {', '.join(lacking)}")]
        if lacking
        else []
    )


def nobody_else_waits(history: History, poisoned: Iterable[str]) -> list[Violation]:
    """D2. Only entities that were given poison have parked or deferred inputs."""
    allowed = set(poisoned)
    return [
        Violation("D2", f"{event.subsystem} put aside an input of {event.entity}, which was given no poison, at {event.position}")
        for event in history.events
        if event.name in RECORDS and event.entity not in allowed
    ]


def check(history: History, handlers: Iterable[Handler[Any]], poisoned: Iterable[str]) -> list[Violation]:
    """D1 and D2."""
    return put_aside_once(history, handlers) + nobody_else_waits(history, poisoned)
