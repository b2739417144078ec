"""The lanes that an input concerns: a function of the event alone, the same for whoever runs the handler and for whoever verifies it."""

from __future__ import annotations

from collections.abc import Callable

from bus.decision import CONTROL
from bus.errors import BadSubject, HandlerHung, Stopped
from bus.event import Event
from bus.handler import Subsystem
from bus.subjects import check_token
from bus.watch import UNWATCHED, Watch

INVALID = "invalid"  # lane of inputs whose subject cannot name one
CONTROL_EVENTS = frozenset(kind.DESCRIPTOR.name for kind in CONTROL)


def lanes_of(
    handler: Subsystem, event: Event, watch: Watch = UNWATCHED, *, skipped: Callable[[Event], bool] = lambda _: False
) -> list[tuple[str, str]]:
    """The lanes (world, entity) of `handler` that an input concerns, each once.

    `skipped` is asked about inputs that no lane can be found for: those that it takes concern none. Of others this raises what `entities`
    raises: they belong where their subject points (`place_of`), and are never decided.
    """
    try:
        if event.name in CONTROL_EVENTS:
            return [(event.world, event.entity)] if getattr(event.data, "handler", "") == handler.name else []
        if handler.at_home:
            return [(check_token(event.world, "world"), check_token(event.entity, "entity"))]
        lanes = watch.call("entities", handler, event, _once, handler, event)
        return [(check_token(event.world, "world"), check_token(entity, "entity")) for entity in lanes]
    except (HandlerHung, Stopped):
        raise
    except Exception:
        if skipped(event):
            return []
        raise


def lanes_or_place(handler: Subsystem, event: Event, watch: Watch, *, skipped: Callable[[Event], bool]) -> list[tuple[str, str]]:
    """The lanes that an input is put into: as `lanes_of`, and for one whose lanes cannot be found that where its subject points.

    Raises `HandlerHung` and `Stopped`.
    """
    try:
        return lanes_of(handler, event, watch, skipped=skipped)
    except (HandlerHung, Stopped):
        raise
    except Exception:
        return [place_of(event)]


def _once(handler: Subsystem, event: Event) -> dict[str, None]:
    return dict.fromkeys(handler.of(event.world).entities(event))


def place_of(event: Event) -> tuple[str, str]:
    """The lane that an input's subject points to: of one that nothing else could be found of."""
    try:
        return check_token(event.world, "world"), check_token(event.entity, "entity")
    except BadSubject:
        return INVALID, INVALID
