"""The choice of a tier for a request of inference that its own worker cannot answer in full and in time.

The worker that holds the request asks with its facts (docs/adr/0062); what a lane adds is what it remembers of the workers' health: one
that fails again and again has its circuit opened, and gets no requests of other tiers until it is closed. Time comes with the events.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from google.protobuf.message import Message

from bus.event import Event
from handlers.router.state import Routing, Worker, worker_key
from handlers.router.tables import FREE_SLOTS, TIERS, Circuit, Tables
from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceRouteRequested, ModelHealthReported
from schemas.gen.worldbus.inference.v1.types_pb2 import TierStanding
from schemas.gen.worldbus.router.v1.router_pb2 import InferenceRouted, TierHealthChanged

SPREAD: Final = 4
"""Lanes per tier: requests are spread over them by their ids."""
LANES: Final = {tier: tuple(f"inference-{tier}" + (f"-{number}" if number else "") for number in range(SPREAD)) for tier in TIERS}
ALL_LANES: Final = tuple(lane for lanes in LANES.values() for lane in lanes)
MAX_REASON: Final = 256
NO_ENGINE: Final = "no_engine"
_MS: Final = 1_000_000  # nanoseconds

Said = Sequence[Message]


class Choice(NamedTuple):
    """A tier, a pool of it, and why."""

    tier: str
    pool: str
    code: str
    reason: str


def routed(tables: Tables, event: Event, it: InferenceRouteRequested, routing: Routing) -> Said:
    """Say where a request goes."""
    choice = choose(tables, it, routing, event.time_ns // _MS)
    return (
        InferenceRouted(
            request_id=it.request_id,
            requester_subsystem=it.requester_subsystem,
            requester_entity=it.requester_entity,
            asked=it.asked,
            tier=choice.tier,
            pool=choice.pool,
            code=choice.code,
            reason=choice.reason[:MAX_REASON],
            slack_ms=it.slack_ms,
            world=it.world,
            position=it.position,
            kind=it.kind,
        ),
    )


def choose(tables: Tables, it: InferenceRouteRequested, routing: Routing, now_ms: int) -> Choice:
    """The cheapest tier that can answer in time and may; the asked one if there is none."""
    standing = {one.tier: one for one in it.standing}
    why, able = [], []
    for order, tier in enumerate(tables.tiers[it.asked].overflow):
        reason = _cannot(tables, tier, standing.get(tier), it, routing, now_ms)
        if not reason:
            able.append((standing[tier].cost_nano_usd, order, tier))
        why.append(f"{tier} {reason or _standing(standing[tier])}")
    own = standing.get(it.asked)
    down = own is None or it.code == NO_ENGINE or not _well(own, routing, now_ms)
    why.insert(0, f"{it.asked} {'is down' if own is None or down else _standing(own)}")
    reason = f"{it.slack_ms} ms are left; " + "; ".join(why)
    if not able:
        return Choice(it.asked, own.pool if own else "", "no_better", reason)
    best = min(able)[2]
    return Choice(best, standing[best].pool, "broken" if down else "overflow", reason)


def _cannot(tables: Tables, tier: str, its: TierStanding | None, it: InferenceRouteRequested, routing: Routing, now_ms: int) -> str:
    """The reason why a tier cannot take it; empty if it can."""
    kind, rules = tables.kinds.get(it.kind), tables.tiers[tier]
    if kind is not None and kind.tiers and tier not in kind.tiers:
        return f"does not serve {it.kind}"
    if its is None or not its.workers:
        return "is down"
    if not _well(its, routing, now_ms):
        return "has open circuits"
    if rules.takes == FREE_SLOTS and its.free < 1:
        return "has no free slot"
    needs = max(rules.needs_ms, its.predicted_ms)
    if needs > it.slack_ms:
        return f"needs {needs} ms"
    if kind is not None and kind.max_nano_usd and its.cost_nano_usd > kind.max_nano_usd:
        return f"costs {its.cost_nano_usd}, more than {kind.max_nano_usd} billionths of a dollar"
    return ""


def _well(its: TierStanding, routing: Routing, now_ms: int) -> bool:
    """Return whether any of its workers takes requests; one that this lane has not heard of does."""
    known = (routing.workers.get(worker_key(its.tier, worker)) for worker in its.workers)
    return any(worker is None or worker.takes_work(now_ms) for worker in known)


def _standing(its: TierStanding) -> str:
    return f"has {its.free} of {its.slots} slots free and needs {its.predicted_ms} ms"


def health(circuit: Circuit, event: Event, it: ModelHealthReported, routing: Routing) -> Said:
    """Remember how a worker of a tier stands, if that changed; count reports of failures, and open its circuit after too many in a row.

    Free slots come and go with every request: they are told with a change, and are none.
    """
    if it.tier not in TIERS:
        return ()
    before = routing.workers.get(worker_key(it.tier, it.worker))
    known = before or Worker(tier=it.tier, pool="", ready=it.ready, free=it.ready)
    now_ms = event.time_ns // _MS
    failures, times, until = known.failures, known.times, known.open_until_ms
    if it.failures or (known.ready and not it.ready):
        failures += 1
        if known.takes_work(now_ms) and (times or failures >= circuit.failures):  # on trial after an open circuit, one failure is enough
            times += 1
            until = now_ms + circuit.open_for(times)
    elif it.requests and now_ms >= until:
        failures, times, until = 0, 0, 0
    now = Worker(
        tier=it.tier,
        pool=it.pool or it.tier,
        ready=it.ready,
        free=it.ready and it.free_slots > 0,
        failures=failures,
        times=times,
        open_until_ms=until,
    )
    if before is not None and replace(before, free=now.free) == now:
        return ()
    return (
        TierHealthChanged(
            tier=now.tier,
            pool=now.pool,
            worker=it.worker,
            ready=now.ready,
            free=now.free,
            failures=now.failures,
            times=now.times,
            open_until_ms=now.open_until_ms,
        ),
    )


def gone(worker: str, routing: Routing) -> Said:
    """A worker is not listed any more, whichever tiers it served."""
    known = [its for tier in TIERS if (its := routing.workers.get(worker_key(tier, worker))) is not None]
    return tuple(TierHealthChanged(tier=its.tier, pool=its.pool, worker=worker, ready=False, free=False) for its in known if its.ready)
