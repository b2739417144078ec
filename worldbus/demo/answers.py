"""The edge `inference` in lockstep, where no worker runs: every request gets the last rung of the ladder, by the workers' own rules.

Real workers answer by the wall clock, and would not say the same twice. The events are theirs: `InferenceDegraded` by the rung `authored`,
`InferenceRejected` for a wrong request, `InferenceCancelled` for what was called off first. The id of an answer is made from that of the
request.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Final, cast

from bus.event import Draft
from handlers.names import DEFAULT_WORLD, WORLDS
from inference.ladder import Ladder, Ladders, load
from inference.lower_rungs import authored
from inference.outcome import EDGE
from inference.request import problem_of, who_of
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
    whose, kinds = who_of(event), _ladders()
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


@cache
def _ladders() -> Ladders:
    return load(WORLDS / DEFAULT_WORLD / "ladder.toml")
