"""Which lanes an input concerns: a function of the event alone, the same for whoever runs the handler and for whoever verifies it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog

from bus.decision import CONTROL
from bus.errors import BadSubject, HandlerHung, Stopped
from bus.event import Event
from bus.handler import Handler, of_subject
from bus.subjects import check_token
from bus.watch import UNWATCHED, Watch

INVALID = "invalid"  # lane of inputs whose subject cannot name one
CONTROL_EVENTS = frozenset(kind.DESCRIPTOR.name for kind in CONTROL)

log = structlog.get_logger(__name__)


def lanes_of(
    handler: Handler[Any], event: Event, watch: Watch = UNWATCHED, *, skipped: Callable[[Event], bool] = lambda _: False
) -> list[tuple[str, str]]:
    """The lanes (world, entity) of `handler` that an input concerns, each once. Raises `HandlerHung` and `Stopped` alone.

    `skipped` is asked about inputs that no lane can be found for: those that it takes concern none.
    """
    try:
        if event.name in CONTROL_EVENTS:
            return [(event.world, event.entity)] if getattr(event.data, "handler", "") == handler.name else []
        if handler.entities is of_subject:
            return [(check_token(event.world, "world"), check_token(event.entity, "entity"))]
        lanes = watch.call("entities", handler, event, _once, handler, event)
        return [(check_token(event.world, "world"), check_token(entity, "entity")) for entity in lanes]
    except (HandlerHung, Stopped):
        raise
    except Exception as error:  # whatever `entities` raises, the input is parked where its subject points
        if skipped(event):
            return []
        log.debug("unroutable_input", handler=handler.name, position=event.position, error=str(error))
        return [place_of(event)]


def _once(handler: Handler[Any], event: Event) -> dict[str, None]:
    return dict.fromkeys(handler.entities(event))


def place_of(event: Event) -> tuple[str, str]:
    """The lane that an input's subject points to: of one that nothing else could be found of."""
    try:
        return check_token(event.world, "world"), check_token(event.entity, "entity")
    except BadSubject:
        return INVALID, INVALID
