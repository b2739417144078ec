"""A worker's standing, and the prospects of one request in each tier: predictions, made of what engines showed lately."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from inference.admission import CHARS_PER_TOKEN
from inference.fairness import urgency
from schemas.gen.worldbus.inference.v1.types_pb2 import TierStanding, WorkerStands

if TYPE_CHECKING:
    from inference.work import Work
    from inference.worker import Worker

MOST_NAMED: Final = 16
"""Workers that a standing names."""
CLEARLY: Final = 0.2
"""Factor by which a request must be more salient to be sure of the slot of another one."""


def stands(worker: Worker, *, leaving: bool = False) -> WorkerStands:
    """The standing of a worker now; `leaving`: its last report."""
    settings, admission = worker.settings, worker.admission
    takes = worker.up and not worker.choosing.draining and not leaving
    return WorkerStands(
        tier=settings.tier,
        pool=settings.pool_name,
        worker=settings.name,
        up=takes,
        slots=worker.slots,
        free=max(0, worker.slots - len(worker.running) - len(worker.waiting)) if takes else 0,
        waiting=len(worker.waiting),
        wait_us=round(wait_s(worker) * 1e6),
        first_token_us=round(admission.first_token.cautious * 1e6),
        per_token_us=round(admission.per_token.cautious * 1e6),
        prompt_nano_usd=settings.prompt_nano_usd,
        completion_nano_usd=settings.completion_nano_usd,
        leaving=leaving,
    )


def wait_s(worker: Worker) -> float:
    """The seconds that a request that comes now waits for a slot, if all before it are served; 0 with a free slot."""
    running, waiting, slots = worker.running, worker.waiting, worker.slots
    if not slots or len(running) + len(waiting) < slots:
        return 0.0
    step = worker.admission.per_token.cautious
    left = sorted(max(0, one.allowed - one.kept) * step for one in running)
    if not waiting:
        return left[0] if left else 0.0
    before = sum(worker.admission.seconds(one.wanted()) for one in waiting)
    return (sum(left) + before) / slots


def late_here(worker: Worker, work: Work, now_ns: int) -> bool:
    """Return whether a request that has come would wait too long for a slot to be answered in full and in time, as things stand."""
    running, slots = worker.running, worker.slots
    if not slots or len(running) + len(worker.waiting) < slots or any(one.salience + CLEARLY <= work.salience for one in running):
        return False
    admission = worker.admission
    own = urgency(work.deadline_ns - now_ns, work.salience)
    before = [one for one in worker.waiting if urgency(one.deadline_ns - now_ns, one.salience) <= own]
    left = [max(0, one.allowed - one.kept) * admission.per_token.cautious for one in running]
    wait = (sum(left) + sum(admission.seconds(one.wanted()) for one in before)) / slots if before else min(left, default=0.0)
    needs = wait + admission.seconds(work.wanted()) + admission.reserve_s(work.ask.ladder)
    return now_ns + int(needs * 1e9) > work.deadline_ns


def standing_for(work: Work, workers: Iterable[WorkerStands]) -> list[TierStanding]:
    """The prospects of one request in each tier: of the pools of a tier the one that would be quickest."""
    pools: dict[tuple[str, str], list[WorkerStands]] = defaultdict(list)
    for one in workers:
        pools[one.tier, one.pool].append(one)
    best: dict[str, TierStanding] = {}
    for (tier, pool), its in sorted(pools.items()):
        standing = _of_pool(work, tier, pool, its)
        if tier not in best or standing.predicted_ms < best[tier].predicted_ms:
            best[tier] = standing
    return list(best.values())


def _of_pool(work: Work, tier: str, pool: str, workers: list[WorkerStands]) -> TierStanding:
    request, tokens = work.ask.request, work.wanted()
    shown = len(request.token_ids) or round(sum(len(part.text) for part in request.prompt) / CHARS_PER_TOKEN)
    return TierStanding(
        tier=tier,
        pool=pool,
        workers=sorted(one.worker for one in workers)[:MOST_NAMED],
        slots=sum(one.slots for one in workers),
        free=sum(one.free for one in workers),
        predicted_ms=min(one.wait_us + one.first_token_us + (tokens - 1) * one.per_token_us for one in workers) // 1000 + 1,
        cost_nano_usd=max(shown * one.prompt_nano_usd + tokens * one.completion_nano_usd for one in workers),
    )
