"""Inference as tables: how every request ended, what it took, and usage and cost by day, tier, model and player.

Read from the workers' own words; nothing is asked of a model again.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from bus.event import Event
from projections.projection import Change, Projection, Table, sql_beside
from schemas.gen.worldbus.inference.v1 import inference_pb2 as said
from schemas.gen.worldbus.inference.v1.types_pb2 import Measured

REQUESTS = Table("inference_requests", key=("world", "request_id"))
USAGE = Table(
    "inference_usage",
    key=("world", "day", "tier", "model", "player"),
    adds=(
        "requests", "completed", "degraded", "expired", "cancelled", "rejected", "prompt_tokens", "cached_tokens", "completion_tokens",
        "cost_nano_usd",
    ),
)  # fmt: skip
CITATIONS = Table("inference_citations", key=("world", "request_id", "number"))
_DAY_NS = 86_400_000_000_000


def day(event: Event) -> str:
    """The day of real time (UTC) on which a request ended, as year-month-day."""
    return datetime.fromtimestamp(event.time_ns // _DAY_NS * 86_400, UTC).strftime("%Y-%m-%d")


def _usage(event: Event, it: Any, outcome: str, tier: str, took: Measured) -> Change:
    return USAGE.put(
        *(event.world, day(event), tier, took.model, it.player),
        requests=1, prompt_tokens=took.prompt_tokens, cached_tokens=took.cached_tokens, completion_tokens=took.completion_tokens,
        cost_nano_usd=took.cost_nano_usd, **{outcome: 1},
    )  # fmt: skip


def _ended(event: Event, it: Any, outcome: str, took: Measured, **more: Any) -> Change:
    return REQUESTS.put(
        *(event.world, it.request_id),
        outcome=outcome, kind=it.kind, player=it.player, npc=it.npc, requester=f"{it.requester_subsystem}.{it.requester_entity}",
        model=took.model, engine=took.engine, worker=took.worker, prompt_hash=took.prompt_hash, prompt_tokens=took.prompt_tokens,
        cached_tokens=took.cached_tokens, completion_tokens=took.completion_tokens, queue_us=took.queue_us,
        first_token_us=took.first_token_us, first_chunk_us=took.first_chunk_us, per_token_us=took.per_token_us, total_us=took.total_us,
        cost_nano_usd=took.cost_nano_usd, knowledge=took.knowledge, retrieval_us=took.retrieval_us, ended_at=event.time_ns, **more,
    )  # fmt: skip


def _cited(event: Event, it: Any) -> list[Change]:
    """The passages of the knowledge base that the model was shown."""
    return [
        CITATIONS.put(
            *(event.world, it.request_id, number),
            passage_id=one.passage_id, kind=one.kind, document=one.document, heading=list(one.heading), line_from=one.line_from,
            line_to=one.line_to, content_hash=one.content_hash, score=one.score, as_of=one.position,
        )
        for number, one in enumerate(it.citations, start=1)
    ]  # fmt: skip


def started(event: Event, it: said.InferenceStarted) -> Change:
    return REQUESTS.put(event.world, it.request_id, tier=it.tier, pool=it.pool, attempt=it.attempt, started_at=event.time_ns)


def completed(event: Event, it: said.InferenceCompleted) -> list[Change]:
    ended = _ended(event, it, "completed", it.measured, tier=it.tier, pool=it.pool, attempt=it.attempt, rung=it.rung, text=it.text)
    return [ended, _usage(event, it, "completed", it.tier, it.measured), *_cited(event, it)]


def degraded(event: Event, it: said.InferenceDegraded) -> list[Change]:
    more = {"tier": it.tier, "pool": it.pool, "attempt": it.attempt, "rung": it.rung, "code": it.code, "reason": it.reason, "text": it.text}
    ended = _ended(event, it, "degraded", it.measured, **more)
    return [ended, _usage(event, it, "degraded", it.tier, it.measured), *_cited(event, it)]


def expired(event: Event, it: said.InferenceExpired) -> list[Change]:
    ended = _ended(event, it, "expired", it.measured, tier=it.tier, code=it.stage, reason=f"{it.late_ms} ms late")
    return [ended, _usage(event, it, "expired", it.tier, it.measured)]


def cancelled(event: Event, it: said.InferenceCancelled) -> list[Change]:
    ended = _ended(event, it, "cancelled", it.measured, tier=it.tier, reason=it.reason, text=it.spoken)
    return [ended, _usage(event, it, "cancelled", it.tier, it.measured), *_cited(event, it)]


def rejected(event: Event, it: said.InferenceRejected) -> list[Change]:
    ended = _ended(event, it, "rejected", Measured(), code=it.code, reason=it.reason)
    return [ended, _usage(event, it, "rejected", "", Measured())]


inference = Projection(
    name="inference",
    version=2,
    said_by="inference",
    schema=sql_beside(__file__),
    tables=(REQUESTS, USAGE, CITATIONS),
    on={
        said.InferenceStarted: started,
        said.InferenceCompleted: completed,
        said.InferenceDegraded: degraded,
        said.InferenceExpired: expired,
        said.InferenceCancelled: cancelled,
        said.InferenceRejected: rejected,
    },
)
