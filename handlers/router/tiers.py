"""Which tier takes a request for inference: by what was asked for, who is well, and how much time there is.

A seam: requests need not pass here (a worker may take them straight from its tier's queue); load, cost and fairness come with the workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from google.protobuf.message import Message

from bus.event import Event
from handlers.router.state import Routing, Worker
from handlers.router.tables import TIERS, Tables
from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceRequested, ModelHealthReported
from schemas.gen.worldbus.router.v1.router_pb2 import InferenceRouted, TierHealthChanged

LANES: Final = {tier: f"inference-{tier}" for tier in TIERS}
MAX_WORKERS: Final = 256
_MS: Final = 1_000_000  # nanoseconds

Said = Sequence[Message]


class Choice(NamedTuple):
    """A tier, a pool of it, and why."""

    tier: str
    pool: str
    code: str
    reason: str


def slack_ms(event: Event, it: InferenceRequested) -> int:
    """How long the request allows from when it was said, milliseconds; 0 if it does not say, or no time is left."""
    until = it.deadline_ms - event.time_ns // _MS if it.deadline_ms else 0
    spans = [span for given, span in ((it.deadline_ms, until), (it.budget_ms, it.budget_ms)) if given]
    return max(0, min(spans, default=0))


def choose(tables: Tables, asked: str, slack: int, routing: Routing) -> Choice:
    """The tier for a request. As long as no worker has told anything, every request goes where it was asked to."""
    workers = routing.workers.values()
    own = [worker for worker in workers if worker.tier == asked]
    if not workers or any(worker.free for worker in own):
        return Choice(asked, _pool(asked, own), "as_asked", _standing(routing))
    for other in tables.tiers[asked].overflow:
        theirs = [worker for worker in workers if worker.tier == other and worker.free]
        if theirs and slack >= tables.tiers[other].needs_ms:
            why = f"{asked} is {'full' if own else 'not there'}, {other} is free and needs {tables.tiers[other].needs_ms} of {slack} ms"
            return Choice(other, _pool(other, theirs), "overflow", f"{why}; {_standing(routing)}")
    code = "as_asked" if own else "no_better"
    return Choice(asked, _pool(asked, own), code, _standing(routing))


def _pool(tier: str, workers: Sequence[Worker]) -> str:
    pools = sorted({worker.pool for worker in workers if worker.free} or {worker.pool for worker in workers})
    return pools[0] if pools else tier


def _standing(routing: Routing) -> str:
    count = {tier: [worker for worker in routing.workers.values() if worker.tier == tier] for tier in TIERS}
    return ", ".join(f"{tier} {sum(worker.free for worker in found)} free of {len(found)}" for tier, found in count.items())


def routed(tables: Tables, event: Event, it: InferenceRequested, routing: Routing) -> Said:
    """Say where a request goes."""
    slack = slack_ms(event, it)
    choice = choose(tables, it.tier, slack, routing)
    return (
        InferenceRouted(
            request_id=it.request_id,
            requester_subsystem=event.subsystem,
            requester_entity=event.entity,
            asked=it.tier,
            tier=choice.tier,
            pool=choice.pool,
            code=choice.code,
            reason=choice.reason,
            slack_ms=slack,
        ),
    )


def health(it: ModelHealthReported, routing: Routing) -> Said:
    """Remember how a worker stands, if that changed."""
    known = routing.workers.get(it.worker)
    if not it.ready:
        return gone(it.worker, routing)
    now = Worker(tier=it.tier, pool=it.pool or it.tier, ready=True, free=it.free_slots > 0)
    if known == now or it.tier not in TIERS or (known is None and len(routing.workers) >= MAX_WORKERS):
        return ()
    return (TierHealthChanged(tier=now.tier, pool=now.pool, worker=it.worker, ready=True, free=now.free),)


def gone(worker: str, routing: Routing) -> Said:
    """A worker takes no more work, or is not listed any more."""
    known = routing.workers.get(worker)
    return () if known is None else (TierHealthChanged(tier=known.tier, pool=known.pool, worker=worker, ready=False, free=False),)
