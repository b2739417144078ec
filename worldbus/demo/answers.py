"""The edge `inference` in lockstep, where no worker runs: every request gets the line that its asker holds ready for that.

Real workers answer by the wall clock, and would not say the same twice. The events are theirs: `InferenceDegraded` by the rung `authored`,
`InferenceCancelled` for what was called off first. The id of an answer is made from that of the request.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from bus.event import Draft
from schemas.gen.worldbus.inference.v1.inference_pb2 import (
    InferenceCancelled,
    InferenceCancelRequested,
    InferenceDegraded,
    InferenceRejected,
    InferenceRequested,
)
from schemas.gen.worldbus.inference.v1.types_pb2 import Measured

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from bus.event import Event

EDGE: Final = "inference"
NAMES: Final = frozenset(kind.DESCRIPTOR.name for kind in (InferenceRequested, InferenceCancelRequested))


def answers(events: Iterable[Event]) -> list[Draft]:
    """What is said to the requests among `events`, in their order. A request that is called off in the same batch is cancelled."""
    events = [event for event in events if event.name in NAMES]
    called_off = {
        (event.world, event.data.request_id): event.data.reason for event in events if isinstance(event.data, InferenceCancelRequested)
    }
    return [
        _draft(event, event.data, called_off.get((event.world, event.data.request_id)))
        for event in events
        if isinstance(event.data, InferenceRequested)
    ]


def _draft(event: Event, asked: InferenceRequested, called_off: str | None) -> Draft:
    return Draft(
        data=_answer(event, asked, called_off),
        world=event.world,
        entity=event.entity,
        subsystem=EDGE,
        id=f"answer-{event.id}",
        time_ns=event.time_ns,
        cause=event.id,
        correlation=event.correlation,
        depth=event.depth + 1,
    )


def _answer(event: Event, asked: InferenceRequested, called_off: str | None) -> Message:
    whose: dict[str, Any] = {
        "request_id": asked.request_id,
        "requester_subsystem": event.subsystem,
        "requester_entity": event.entity,
        "kind": asked.kind,
        "player": asked.player,
        "npc": asked.npc,
    }
    if called_off is not None:
        return InferenceCancelled(**whose, reason=called_off, tier=asked.tier)
    if not asked.fallback.lines:
        return InferenceRejected(**whose, code="BAD_PROMPT", reason="no model runs here, and the request holds no line ready for that")
    return InferenceDegraded(
        **whose,
        text=asked.fallback.lines[asked.seed % len(asked.fallback.lines)],
        rung="authored",
        code="no_engine",
        reason="no model runs in this demo: an authored line was taken",
        tier=asked.tier,
        attempt=1,
        seed=asked.seed,
        measured=Measured(engine="authored", worker="demo"),
    )
