"""A handler's answer to an input, as drafts ready to be written. Pure: the same input on the same state gives the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from google.protobuf.message import Message

from bus.attributes import check_state
from bus.bounded import bounded, excerpt
from bus.check import FIRST_SECOND, LAST_SECOND, MAX_ID
from bus.envelope import NANOS
from bus.errors import BadEvent, BrokenRule, WorldbusError
from bus.event import Draft, Event, output_id
from bus.frames import MAX_STACK, frames_of
from bus.handler import MAX_DEPTH, MAX_OUTPUTS, Handler
from bus.lane import Lane
from bus.rules import producer
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
_FIRST_NS, _LAST_NS = FIRST_SECOND * NANOS, (LAST_SECOND + 1) * NANOS - 1
MAX_REASON = 4096  # bytes of an error message that are kept
MAX_CODE = 64  # bytes


def decide(lane: Lane[S], event: Event, *, state: S | None = None, retried: bool = False) -> list[Draft]:
    """The outputs of one decision of `lane` (on `state`, if not its present one), with their ids, marks and causes.

    `retried` appends the record that a parked input was taken up again. Raises whatever `decide` raises, and `BrokenRule` for outputs
    that the handler did not declare, too many of them, or a chain of causes that is too long.
    """
    handler = lane.handler
    messages: Sequence[Message] = lane.watch.call("decide", lane, event, handler.decide, event, lane.state if state is None else state)
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
        messages = [*messages, LaneInputRetried(handler=handler.name, position=event.position, event_id=bounded(_identity(event), MAX_ID))]
    return answers(lane, event, messages)


class LoopGuard(BrokenRule):
    """A chain of causes longer than MAX_DEPTH."""

    code = "LOOP_GUARD"

    def __init__(self, event: Event, handler: Handler[Any]) -> None:
        super().__init__(
            f"event {bounded(event.id, MAX_ID)} is {event.depth} hops from its root {bounded(event.correlation, MAX_ID)}, wanted fewer "
            f"than {MAX_DEPTH}: {handler.name} would go on; look at the chain of that correlation id",
            depth=event.depth,
            root=bounded(event.correlation),
        )


def answers(lane: Lane[Any], event: Event, messages: Sequence[Message], *, salt: str = "") -> list[Draft]:
    """`messages` as this lane's answer to `event`. `salt` keeps the ids of the runtime's records apart from real outputs."""
    handler, entity = lane.handler, lane.entity
    cause, count = _identity(event), len(messages)
    root, depth, time_ns, deadline_ns, traceparent = _context(event)
    tracestate = _state(event) if traceparent else ""
    version = producer(handler)
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
    """The input's id, cut where it is longer than any gate allows; an input whose envelope cannot be read is known by its position."""
    try:
        found = event.id
        return found if len(found) <= MAX_ID else bounded(found)
    except BadEvent:
        return f"position-{event.position}"


def _context(event: Event) -> tuple[str, int, int, int, str]:
    """Correlation, depth, time, deadline and trace of an input, as far as an answer can take them over: the log may hold any."""
    try:
        root, depth, trace = event.correlation, event.depth, event.traceparent
        time_ns, deadline_ns = event.time_ns, event.deadline_ns
    except BadEvent:
        return f"position-{event.position}", 0, _moment(event.recorded_ns), 0, ""
    if len(root) > MAX_ID or len(trace) > MAX_ID:
        root, trace = bounded(root), bounded(trace)
    if not 0 <= depth <= MAX_DEPTH:
        depth = min(max(depth, 0), MAX_DEPTH)
    if not (_FIRST_NS <= time_ns <= _LAST_NS and _FIRST_NS <= deadline_ns <= _LAST_NS):
        time_ns, deadline_ns = _moment(time_ns), _moment(deadline_ns)
    return root, depth, time_ns, deadline_ns, trace


def _state(event: Event) -> str:
    """The input's `tracestate`, or nothing where it is none: a cut one would say something else."""
    state = event.tracestate
    try:
        check_state(state)
    except BadEvent:
        return ""
    return state


def _moment(ns: int) -> int:
    """The nearest moment of the years 1 to 9999."""
    return min(max(ns, _FIRST_NS), _LAST_NS)


def _type(event: Event) -> str:
    try:
        return bounded(event.type, MAX_ID)
    except BadEvent:
        return ""


def park(lane: Lane[Any], event: Event, error: BaseException, *, attempts: int, failed_ns: tuple[int, int]) -> list[Draft]:
    """The record that this lane could not decide `event`; `failed_ns` is (first, last) failure by the wall clock.

    It can always be written: every text in it is bounded, whatever the input and the error hold.
    """
    handler = lane.handler
    parked = EventParked(
        handler=handler.name,
        position=event.position,
        partition=event.partition,
        event_id=bounded(_identity(event), MAX_ID),
        type=_type(event),
        subject=bounded(".".join(("evt", str(event.partition), *event.subject)), MAX_ID),
        code=code_of(error),
        reason=reason_of(error),
        error_type=_class_of(error),
        attempts=attempts,
        handler_version=producer(handler),
        frames=frames_of(error),
        stack=_stack(error),
    )
    parked.first_failed_at.FromNanoseconds(failed_ns[0])
    parked.last_failed_at.FromNanoseconds(failed_ns[1])
    return answers(lane, event, [parked], salt="/parked")


def defer(lane: Lane[Any], event: Event) -> list[Draft]:
    """The record that `event` waits behind a parked one."""
    deferred = EventDeferred(
        handler=lane.handler.name,
        position=event.position,
        partition=event.partition,
        event_id=bounded(_identity(event), MAX_ID),
        type=_type(event),
    )
    return answers(lane, event, [deferred], salt="/deferred")


def retry_failed(lane: Lane[Any], event: Event, error: BaseException) -> list[Draft]:
    """The record that a parked input failed again; each time has an id of its own."""
    failed = LaneRetryFailed(
        handler=lane.handler.name,
        position=event.position,
        code=code_of(error),
        reason=reason_of(error),
        error_type=_class_of(error),
        frames=frames_of(error),
        stack=_stack(error),
    )
    return answers(lane, event, [failed], salt=f"/failed-{lane.position}")


def drop(lane: Lane[Any], event: Event, reason: str) -> list[Draft]:
    """The record that an input was given up."""
    dropped = LaneInputDropped(
        handler=lane.handler.name,
        position=event.position,
        event_id=bounded(_identity(event), MAX_ID),
        reason=excerpt(reason, MAX_REASON),
    )
    return answers(lane, event, [dropped], salt="/dropped")


def code_of(error: BaseException) -> str:
    """The stable name of the rule that an error stands for."""
    return excerpt(str(error.code), MAX_CODE) if isinstance(error, WorldbusError) else "HANDLER_FAILED"


def reason_of(error: BaseException) -> str:
    """An error's message for a person, at most MAX_REASON bytes; its class where it has none, or saying it fails too."""
    try:
        text = str(error)
    except Exception:  # a game's own exception may have any `__str__`
        text = ""
    return excerpt(text or type(error).__name__, MAX_REASON)


def _class_of(error: BaseException) -> str:
    return excerpt(f"{type(error).__module__}.{type(error).__qualname__}", MAX_ID)


def _stack(error: BaseException) -> str:
    return excerpt(str(getattr(error, "stack", "")), MAX_STACK, end=True)


def taken_up(lane: Lane[S], event: Event, *, answered: bool) -> list[Draft]:
    """The answer to an input that waited, and the record that it was taken up; of one that is `answered` already only that record."""
    if not answered:
        return decide(lane, event, retried=True)
    record = LaneInputRetried(handler=lane.handler.name, position=event.position, event_id=_identity(event))
    return answers(lane, event, [record], salt="/retried")


def rest_of_group(lane: Lane[S], event: Event) -> list[Draft]:
    """The outputs of an interrupted decision that are not in the log yet.

    Raises `BrokenRule` when today's rules would have decided otherwise than those that wrote the first outputs.
    """
    group = lane.group
    assert group is not None
    drafts = decide(lane, event, state=group.before, retried=group.retried)
    if len(drafts) != group.mark.steps:
        raise BrokenRule(
            f"{lane.handler.name} had said {group.mark.step + 1} of {group.mark.steps} events to position {event.position} before it was "
            f"interrupted, and now says {len(drafts)}: its rules changed in between; deploy the old version to finish, or drop the input",
            code_was=group.mark.steps,
        )
    return drafts[group.mark.step + 1 :]
