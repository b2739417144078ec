"""The edge `inference` in lockstep, where no worker runs: every request gets the last rung of the ladder, by the workers' own rules.

Real workers answer by the wall clock, and would not say the same twice. The events are theirs: `InferenceDegraded` by the rung `authored`,
`InferenceRejected` for a wrong request, `InferenceCancelled` for what was called off first. The id of an answer is made from that of the
request.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, cast

from bus.event import Draft
from inference.consult import lane_of
from inference.ladder import Ladder, Ladders
from inference.lower_rungs import authored
from inference.outcome import EDGE
from inference.request import problem_of, who_of
from inference.tiers import TIERS
from schemas.gen.worldbus.inference.v1.inference_pb2 import (
    InferenceCancelled,
    InferenceCancelRequested,
    InferenceDegraded,
    InferenceRejected,
    InferenceRequested,
    InferenceRouteRequested,
)
from schemas.gen.worldbus.inference.v1.types_pb2 import Measured

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from bus.event import Event

WONDERS: Final = 5  # of so many requests, one is asked about with the router first
NAMES: Final = frozenset(kind.DESCRIPTOR.name for kind in (InferenceRequested, InferenceCancelRequested))


def answers(events: Iterable[Event], kinds: Ladders) -> list[Draft]:
    """Answer the requests among `events`, in their order, by these ladders.

    A request that is called off in the same batch is cancelled.
    """
    events = [event for event in events if event.name in NAMES]
    called_off = {
        (event.world, event.data.request_id): event.data.reason for event in events if isinstance(event.data, InferenceCancelRequested)
    }
    asked = [(event, event.data) for event in events if isinstance(event.data, InferenceRequested)]
    wishes = [_wish(event, request) for event, request in asked if request.seed % WONDERS == 0 and request.tier in TIERS]
    return [*wishes, *(_draft(event, request, called_off.get((event.world, request.request_id)), kinds) for event, request in asked)]


def _wish(event: Event, asked: InferenceRequested) -> Draft:
    """The question to the router of a worker whose slots are all taken; here no tier is up to help."""
    wish = InferenceRouteRequested(
        request_id=asked.request_id,
        world=event.world,
        requester_subsystem=event.subsystem,
        requester_entity=event.entity,
        position=event.position,
        kind=asked.kind,
        asked=asked.tier,
        worker="demo",
        code="no_engine",
        slack_ms=asked.budget_ms,
    )
    return Draft(
        data=wish,
        world=event.world,
        entity=lane_of(asked.tier, asked.request_id),
        subsystem=EDGE,
        id=f"wish-{event.id}",
        time_ns=event.time_ns,
        cause=event.id,
        correlation=event.correlation,
        depth=event.depth + 1,
    )


def _draft(event: Event, asked: InferenceRequested, called_off: str | None, kinds: Ladders) -> Draft:
    return Draft(
        data=_answer(event, asked, called_off, kinds),
        world=event.world,
        entity=event.entity,
        subsystem=EDGE,
        id=f"answer-{event.id}",
        time_ns=event.time_ns,
        cause=event.id,
        correlation=event.correlation,
        depth=event.depth + 1,
    )


def _answer(event: Event, asked: InferenceRequested, called_off: str | None, kinds: Ladders) -> Message:
    whose = who_of(event)
    if wrong := problem_of(asked, event.time_ns, kinds):
        return InferenceRejected(**whose, code=wrong[0], reason=wrong[1])
    if called_off is not None:
        return InferenceCancelled(**whose, reason=called_off, tier=asked.tier)
    answer = authored(asked, cast(Ladder, kinds.of(asked.kind)).lines)
    return InferenceDegraded(
        **whose,
        text=answer.text,
        rung=answer.rung,
        code="no_engine",
        reason="no model runs in this demo: an authored line was taken",
        tier=asked.tier,
        attempt=1,
        seed=asked.seed,
        measured=Measured(engine=answer.rung, worker="demo"),
    )
