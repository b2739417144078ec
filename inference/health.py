"""What a worker tells the log about its model, every ten seconds and when its engine comes up or goes down: the router and model management
decide by it."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from bus.errors import WorldbusError
from bus.event import Draft
from bus.publisher import Publisher
from inference.metrics import BUCKETS, Histogram
from inference.outcome import EDGE
from schemas.gen.worldbus.inference.v1.inference_pb2 import ModelHealthReported

if TYPE_CHECKING:
    from inference.worker import Worker

WORLD = "system"
LEAST_S = 0.2
"""Between two reports."""

log = structlog.get_logger(__name__)


async def report(worker: Worker, publisher: Publisher) -> None:
    """Say `ModelHealthReported` about the worker's model until cancelled. A report that is not recorded is dropped."""
    engine = worker.serving.engine
    if engine is None:
        return
    entity = re.sub(r"[^A-Za-z0-9_-]", "-", engine.model)[:64] or "model"
    before = dict(worker.metrics.counts)
    chunks = list(worker.metrics.times["first_chunk"].counts)
    while True:
        began = asyncio.get_running_loop().time()
        with suppress(TimeoutError):
            async with asyncio.timeout(worker.settings.report_s or 10.0):
                await worker.changed.wait()
                await asyncio.sleep(LEAST_S)  # an engine that comes and goes does not fill the log
        worker.changed.clear()
        span_s = asyncio.get_running_loop().time() - began
        counts, now = dict(worker.metrics.counts), list(worker.metrics.times["first_chunk"].counts)
        message = message_of(worker, {name: count - before.get(name, 0) for name, count in counts.items()}, span_s, chunks, now)
        before, chunks = counts, now
        try:
            await publisher.publish(Draft(data=message, world=WORLD, entity=entity, subsystem=EDGE))
        except WorldbusError as error:
            log.debug("report_not_recorded", error=str(error))


def message_of(worker: Worker, span: dict[str, int], span_s: float, chunks_before: list[int], chunks_now: list[int]) -> ModelHealthReported:
    """The report over one span."""
    ends = sum(span.get(name, 0) for name in ("completed", "degraded", "expired", "cancelled", "rejected"))
    late = Histogram()
    late.counts = [now - before for before, now in zip(chunks_before, chunks_now, strict=True)]
    return ModelHealthReported(
        tier=worker.settings.tier,
        pool=worker.settings.pool_name,
        worker=worker.settings.name,
        span_ms=max(1, round(span_s * 1000)),
        requests=ends + span.get("failed_back", 0),
        failures=span.get("failures", 0),
        late=span.get("degraded", 0) + span.get("expired", 0),
        first_chunk_p95_us=round(percentile(late, 0.95) * 1e6),
        ready=worker.up,
        free_slots=max(0, worker.slots - len(worker.running)) if worker.up else 0,
        slots=worker.slots,
    )


def percentile(histogram: Histogram, share: float) -> float:
    """The upper bound of the bucket that holds this share of a histogram, seconds; 0 of an empty one."""
    total = sum(histogram.counts)
    seen = 0
    for bound, count in zip((*BUCKETS, BUCKETS[-1]), histogram.counts, strict=True):
        seen += count
        if total and seen >= share * total:
            return bound
    return 0.0
