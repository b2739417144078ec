"""Lanes whose state this release cannot fold: how that is told, and what of their history can be read all the same."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError

from bus.errors import BadEvent, HandlerHung, LaneStopped
from bus.event import Event, LaneMark
from bus.frames import words_of
from schemas.gen.io.cloudevents.v1.cloudevents_pb2 import CloudEvent

if TYPE_CHECKING:
    from bus.handler import Handler

QUARANTINE = frozenset({LaneStopped.code})
"""Codes of inputs that wait for their lane's state, not for themselves: whoever can fold it takes them up without being asked."""


def mark_of(event: Event) -> tuple[LaneMark | None, Exception | None]:
    """The `lane` attribute of a handler's own event, and what is wrong with the rest of its envelope.

    No mark: nobody's handler wrote it, be it a whole event or bytes that are no CloudEvent at all.
    """
    try:
        return event.lane, None
    except BadEvent as error:
        problem = error
    try:
        text = CloudEvent.FromString(event.raw).attributes["lane"].ce_string
        return (LaneMark.parse(text), problem) if text else (None, None)
    except (DecodeError, BadEvent):
        return None, None


def cannot_begin(handler: Handler[Any], entity: str, error: Exception) -> LaneStopped:
    """The fault of a lane whose handler raises instead of giving a first state."""
    if isinstance(error, HandlerHung):
        return hung(error, handler=handler.name, entity=entity)
    return LaneStopped(
        f"wanted the first state of {handler.name}/{entity}, found that `initial` raises {_words(error)}: mend the handler, then "
        f"`worldbus parked retry {handler.name}/{entity}`",
        handler=handler.name,
        entity=entity,
    )


def cannot_fold(handler: Handler[Any], event: Event, error: Exception) -> LaneStopped:
    """The fault of a lane that holds an event which its handler, as it is here, cannot fold."""
    if isinstance(error, HandlerHung):
        return hung(error, handler=handler.name, entity=event.entity, position=event.position)
    return LaneStopped(
        f"wanted the state of {handler.name}/{event.entity} from its own history, found {_name(event)} at position {event.position}, which "
        f"{handler.name}/{handler.version} cannot fold: {_words(error)}. Run the release that wrote it: it takes the lane up by itself; or "
        f"mend this one, then `worldbus parked retry {handler.name}/{event.entity}`",
        handler=handler.name,
        entity=event.entity,
        position=event.position,
    )


def hung(error: HandlerHung, **facts: object) -> LaneStopped:
    """The fault of a lane that cannot be folded because its handler does not return: nobody tries that again without being asked."""
    fault = LaneStopped(str(error), **facts)
    fault.code, fault.stack = error.code, error.stack
    return fault


def _name(event: Event) -> str:
    try:
        return f"{event.type} by {event.producer_version or 'an unnamed release'}"
    except BadEvent:
        return event.name


def _words(error: Exception) -> str:
    """The error and the line that raised it; no traceback is kept, which would keep everything that it looks at."""
    text = words_of(error)[:800]
    frames = traceback.extract_tb(error.__traceback__)
    if not frames or isinstance(error, BadEvent):
        return text
    last = frames[-1]
    return f"{text} ({last.filename.rpartition('/')[2]}:{last.lineno} {last.name})"


def code_of(event: Event) -> str:
    """The code in the record that an input was parked or failed again; nothing if it cannot be read."""
    try:
        return str(getattr(event.data, "code", ""))
    except BadEvent:
        return ""
