"""What a handler says to an input, as drafts ready to be written. Pure: the same input on the same state gives the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from google.protobuf.message import Message

from bus.errors import BadEvent, BrokenRule, WorldbusError
from bus.event import Draft, Event, output_id
from bus.handler import MAX_DEPTH, MAX_OUTPUTS, Handler
from bus.lane import Lane
from schemas.gen.worldbus.runtime.v1.runtime_pb2 import (
    EventDeferred,
    EventParked,
    LaneDropRequested,
    LaneInputDropped,
    LaneInputRetried,
    LaneRetryFailed,
    LaneRetryRequested,
)

S = TypeVar("S")

CONTROL = (LaneRetryRequested, LaneDropRequested)
_REASON = 2000  # characters of an error message that are kept


def decide(lane: Lane[S], event: Event, *, state: S | None = None, retried: bool = False) -> list[Draft]:
    """The outputs of one decision of `lane` (on `state`, if not its present one), with their ids, marks and causes.

    `retried` appends the record that a parked input was taken up again. Raises whatever `decide` raises, and `BrokenRule` for outputs
    that the handler did not declare, too many of them, or a chain of causes that is too long.
    """
    handler = lane.handler
    messages: Sequence[Message] = handler.decide(event, lane.state if state is None else state)
    if not messages and not retried:
        return []
    if event.depth >= MAX_DEPTH:
        raise LoopGuard(event, handler)
    if len(messages) > MAX_OUTPUTS:
        raise BrokenRule(f"{handler.name} said {len(messages)} events to one input, wanted at most {MAX_OUTPUTS}: split the decision")
    for message in messages:
        if type(message) not in handler.emits:
            raise BrokenRule(f"{handler.name} said {message.DESCRIPTOR.full_name}, which it does not declare: add it to `emits`")
    if retried:
        messages = [*messages, LaneInputRetried(handler=handler.name, position=event.position, event_id=event.id)]
    return answers(lane, event, messages)


class LoopGuard(BrokenRule):
    """A chain of causes longer than MAX_DEPTH."""

    code = "LOOP_GUARD"

    def __init__(self, event: Event, handler: Handler[Any]) -> None:
        super().__init__(
            f"event {event.id} is {event.depth} hops from its root {event.correlation}, wanted fewer than {MAX_DEPTH}: "
            f"{handler.name} would go on; look at the chain of that correlation id",
            depth=event.depth,
            root=event.correlation,
        )


def answers(lane: Lane[Any], event: Event, messages: Sequence[Message], *, salt: str = "") -> list[Draft]:
    """`messages` as this lane's answer to `event`. `salt` keeps the ids of the runtime's records apart from real outputs."""
    handler, entity = lane.handler, lane.entity
    cause, count = _identity(event), len(messages)
    root, depth, time_ns, deadline_ns, traceparent = _context(event)
    tracestate = event.tracestate if traceparent else ""
    version = f"{handler.name}/{handler.version}"
    return [
        Draft(
            data=message,
            world=lane.world,
            entity=entity,
            subsystem=handler.name,
            id=output_id(cause + salt, handler.name, entity, index),
            time_ns=time_ns,
            cause=cause,
            correlation=root,
            lane=f"{event.partition}:{event.position}:{index}:{count}",
            depth=depth + 1,
            deadline_ns=deadline_ns,
            traceparent=traceparent,
            tracestate=tracestate,
            producer_version=version,
        )
        for index, message in enumerate(messages)
    ]


def _identity(event: Event) -> str:
    """The input's id; an input whose envelope cannot be read is known by its position."""
    try:
        return event.id
    except BadEvent:
        return f"position-{event.position}"


def _context(event: Event) -> tuple[str, int, int, int, str]:
    try:
        return event.correlation, event.depth, event.time_ns, event.deadline_ns, event.traceparent
    except BadEvent:
        return f"position-{event.position}", 0, event.recorded_ns, 0, ""


def _type(event: Event) -> str:
    try:
        return event.type
    except BadEvent:
        return ""


def park(lane: Lane[Any], event: Event, error: BaseException, *, attempts: int, failed_ns: tuple[int, int]) -> list[Draft]:
    """The record that this lane could not decide `event`; `failed_ns` is (first, last) failure by the wall clock."""
    handler = lane.handler
    parked = EventParked(
        handler=handler.name,
        position=event.position,
        partition=event.partition,
        event_id=_identity(event),
        type=_type(event),
        subject=".".join(("evt", str(event.partition), *event.subject))[:255],
        code=error.code if isinstance(error, WorldbusError) else "HANDLER_FAILED",
        reason=_say(error),
        error_type=f"{type(error).__module__}.{type(error).__qualname__}",
        attempts=attempts,
        handler_version=f"{handler.name}/{handler.version}",
    )
    parked.first_failed_at.FromNanoseconds(failed_ns[0])
    parked.last_failed_at.FromNanoseconds(failed_ns[1])
    return answers(lane, event, [parked], salt="/parked")


def defer(lane: Lane[Any], event: Event) -> list[Draft]:
    """The record that `event` waits behind a parked one."""
    deferred = EventDeferred(
        handler=lane.handler.name, position=event.position, partition=event.partition, event_id=_identity(event), type=_type(event)
    )
    return answers(lane, event, [deferred], salt="/deferred")


def retry_failed(lane: Lane[Any], event: Event, error: BaseException) -> list[Draft]:
    """The record that a parked input failed again; each time has an id of its own."""
    code = error.code if isinstance(error, WorldbusError) else "HANDLER_FAILED"
    failed = LaneRetryFailed(handler=lane.handler.name, position=event.position, code=code, reason=_say(error))
    return answers(lane, event, [failed], salt=f"/failed-{lane.position}")


def drop(lane: Lane[Any], event: Event, reason: str) -> list[Draft]:
    """The record that a parked input was given up."""
    dropped = LaneInputDropped(handler=lane.handler.name, position=event.position, event_id=_identity(event), reason=reason[:_REASON])
    return answers(lane, event, [dropped], salt="/dropped")


def _say(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    return text.encode("utf-8", "replace").decode()[:_REASON]


def rest_of_group(lane: Lane[S], event: Event) -> list[Draft]:
    """The outputs of an interrupted decision that are not in the log yet.

    Raises `BrokenRule` when today's rules would have decided otherwise than those that wrote the first outputs.
    """
    group = lane.group
    assert group is not None
    retried = any(one.position == event.position for one in lane.waiting)
    drafts = decide(lane, event, state=group.before, retried=retried)
    if len(drafts) != group.mark.steps:
        raise BrokenRule(
            f"{lane.handler.name} had said {group.mark.step + 1} of {group.mark.steps} events to position {event.position} before it was "
            f"interrupted, and now says {len(drafts)}: its rules changed in between; deploy the old version to finish, or drop the input",
            code_was=group.mark.steps,
        )
    return drafts[group.mark.step + 1 :]
