"""Inputs that a handler skips: those of an edge that nobody can ever decode (docs/adr/0086)."""

from __future__ import annotations

from collections.abc import Set
from typing import TYPE_CHECKING

import structlog

from bus.unreadable import from_edge, undecodable

if TYPE_CHECKING:
    from bus.event import Event
    from bus.lane_run import Tally

MOST_KINDS = 256  # of skipped inputs that are logged

log = structlog.get_logger(__name__)


class Skips:
    """The skips of one handler. The record of each is the projector's row; here they are counted, and each kind is logged once.

    `known` are the names of all handlers of this bus, in whichever process they run: whatever others say comes from an edge.
    """

    def __init__(self, handler: str, known: Set[str], tally: Tally) -> None:
        self._handler = handler
        self._known = known | {handler}
        self._tally = tally
        self._kinds: set[tuple[str, str, str]] = set()

    def would_take(self, event: Event) -> bool:
        """Tell what `take` would return, without counting the event."""
        return from_edge(event, self._known) and undecodable(event) is not None

    def take(self, event: Event) -> bool:
        """Return whether this input, which could not be decided, is skipped instead of stopping its lane. Counts it."""
        problem = undecodable(event) if from_edge(event, self._known) else None
        if problem is None:
            return False
        self._tally.skipped += 1
        kind = event.subsystem, event.name, problem.code
        if kind not in self._kinds and len(self._kinds) < MOST_KINDS:
            self._kinds.add(kind)
            log.error(
                "input_skipped",
                handler=self._handler,
                subsystem=event.subsystem,
                entity=event.entity,
                type=event.name,
                position=event.position,
                code=problem.code,
                reason=str(problem),
            )
        return True
