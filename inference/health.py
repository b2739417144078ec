"""Reports of a worker about its model: at once when its engine comes up or goes down, else every ten seconds if something happened.

The router and model management decide by it. An idle worker whose engine is well says nothing: that it lives is told by its vital signs,
which are no events (`inference.vitals`).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from bus.errors import Unknown, WorldbusError
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
    """Say `ModelHealthReported` about the worker's model until cancelled. What is certainly not recorded is part of the next report."""
    engine = worker.serving.engine
    if engine is None:
        return
    entity = re.sub(r"[^A-Za-z0-9_-]", "-", engine.model)[:64] or "model"
    told: ModelHealthReported | None = None
    before, began = _Figures.of(worker), asyncio.get_running_loop().time()
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(worker.settings.report_s or 10.0):
                await worker.changed.wait()
                await asyncio.sleep(LEAST_S)  # an engine that comes and goes does not fill the log
        worker.changed.clear()
        now, ended = _Figures.of(worker), asyncio.get_running_loop().time()
        message = message_of(worker, before, now, ended - began)
        if is_news(message, told):
            try:
                await publisher.publish(Draft(data=message, world=WORLD, entity=entity, subsystem=EDGE))
            except Unknown as error:  # counted once at most; how the engine stands is told again
                log.debug("report_maybe_not_recorded", error=str(error))
                told = None
            except WorldbusError as error:
                log.debug("report_not_recorded", error=str(error))
                continue
            else:
                told = message
        before, began = now, ended


def is_news(it: ModelHealthReported, told: ModelHealthReported | None) -> bool:
    """True if a report says what the last recorded one (`told`) did not: requests ended, the engine is down, or its slots changed."""
    if told is None or it.requests or it.failures or it.late or not it.ready:
        return True
    return (it.ready, it.free_slots, it.slots) != (told.ready, told.free_slots, told.slots)


@dataclass(frozen=True, slots=True)
class _Figures:
    """The counts of a worker at one moment."""

    counts: Mapping[str, int]
    first_chunks: Sequence[int]

    @classmethod
    def of(cls, worker: Worker) -> _Figures:
        return cls(dict(worker.metrics.counts), tuple(worker.metrics.times["first_chunk"].counts))


def message_of(worker: Worker, before: _Figures, now: _Figures, span_s: float) -> ModelHealthReported:
    """The report over one span."""
    span = {name: count - before.counts.get(name, 0) for name, count in now.counts.items()}
    ends = sum(span.get(name, 0) for name in ("completed", "degraded", "expired", "cancelled", "rejected"))
    late = Histogram()
    late.counts = [new - old for old, new in zip(before.first_chunks, now.first_chunks, strict=True)]
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
