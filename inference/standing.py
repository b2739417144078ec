"""How a worker stands, and what the tiers could do for one request: predictions, made of what engines showed lately."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas.gen.worldbus.inference.v1.types_pb2 import WorkerStands

if TYPE_CHECKING:
    from inference.worker import Worker


def stands(worker: Worker, *, leaving: bool = False) -> WorkerStands:
    """How it stands now; `leaving`: its last word."""
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
    """How long a request that comes now waits for a slot, if everybody before it is served; 0 with a free slot."""
    running, waiting, slots = worker.running, worker.waiting, worker.slots
    if not slots or len(running) + len(waiting) < slots:
        return 0.0
    step = worker.admission.per_token.cautious
    left = sorted(max(0, one.allowed - one.kept) * step for one in running)
    if not waiting:
        return left[0] if left else 0.0
    before = sum(worker.admission.seconds(one.wanted()) for one in waiting)
    return (sum(left) + before) / slots
