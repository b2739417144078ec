"""The counts and times of a worker, for Prometheus, with buckets that can see 5 to 200 milliseconds.

Attainment is counted over offered requests: `attained` are those that a model answered in time, so whatever was shed, expired or answered
from a grammar or an authored line is a miss of it. `spoken` are those for which something was said in time, whoever said it.

Counting is plain arithmetic on the worker's own event loop; Prometheus' own client writes it down when somebody asks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

BUCKETS: Final = (
    *(0.001, 0.002, 0.005, 0.010, 0.016, 0.020, 0.030, 0.040, 0.050, 0.060, 0.080, 0.100, 0.125, 0.150, 0.200),
    *(0.300, 0.500, 1.0, 2.0, 5.0, 10.0, 60.0),
)
LABELS: Final = ("tier", "pool", "worker")
TIMES: Final[Mapping[str, str]] = {
    "queue": "Seconds from the recording of a request to the call of the engine.",
    "first_token": "Seconds from the call of the engine to its first token.",
    "first_chunk": "Seconds from the call of the engine to the first chunk that can be spoken.",
    "per_token": "Seconds between two tokens.",
    "total": "Seconds from the call of the engine to the recorded end.",
    "record": "Seconds to record an end.",
    "stop": "Seconds from the wish to stop a generation to its stop.",
}
GAUGES: Final[Mapping[str, str]] = {
    "up": "Whether a model is at work.",
    "slots": "Generations at once.",
    "running": "Generations at the moment.",
    "waiting": "Requests that wait for a slot.",
    "free_slots": "Slots that nobody holds.",
}
PREFIX: Final = "worldbus_inference_"


class Histogram:
    """Durations in seconds."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.total += seconds

    def below(self) -> list[tuple[str, float]]:
        """The number of values up to each bound, by bound."""
        return list(zip((*map(str, BUCKETS), "+Inf"), map(float, accumulate(self.counts)), strict=True))


class Metrics:
    """One worker's figures since it began."""

    def __init__(self, tier: str, pool: str, worker: str) -> None:
        """`worker`: a name that a restart does not change, so that its series go on."""
        self.labels = (tier, pool, worker)
        self.counts: Counter[str] = Counter()
        """offered, skipped, began, completed, degraded, expired, cancelled, rejected, preempted, handed_back, lost, spoken, attained …"""
        self.rungs: Counter[str] = Counter()
        self.tokens: Counter[str] = Counter()
        self.times = {name: Histogram() for name in TIMES}

    def observe(self, name: str, seconds: float) -> None:
        """Time one step."""
        self.times[name].observe(seconds)

    def exposition(self, **gauges: float) -> str:
        """All counts and times, as Prometheus reads them; `gauges` are figures of the moment."""
        registry = CollectorRegistry()
        registry.register(_Shown([(self, gauges)]))
        return generate_latest(registry).decode()


class _Shown(Collector):
    def __init__(self, shown: Iterable[tuple[Metrics, Mapping[str, float]]]) -> None:
        self._shown = shown

    def collect(self) -> Iterator[Metric]:
        return families(self._shown)


def families(shown: Iterable[tuple[Metrics, Mapping[str, float]]]) -> Iterator[Metric]:
    """The figures of some workers, each with its gauges of the moment: every family once, whoever has it."""
    workers = list(shown)
    for name, label, words in (
        ("requests", "what", "Requests by what became of them."),
        ("rungs", "rung", "Answers by the rung of the ladder that gave them."),
        ("tokens", "kind", "Tokens of prompts and answers."),
    ):
        counter = CounterMetricFamily(PREFIX + name, words, labels=(*LABELS, label))
        for metrics, _ in workers:
            counts: Counter[str] = {"requests": metrics.counts, "rungs": metrics.rungs, "tokens": metrics.tokens}[name]
            for what, count in sorted(counts.items()):
                counter.add_metric((*metrics.labels, what), count)
        yield counter
    for name in sorted({name for _, gauges in workers for name in gauges}):
        gauge = GaugeMetricFamily(PREFIX + name, GAUGES[name], labels=LABELS)
        for metrics, gauges in workers:
            if name in gauges:
                gauge.add_metric(metrics.labels, gauges[name])
        yield gauge
    for name, words in TIMES.items():
        histogram = HistogramMetricFamily(f"{PREFIX}{name}_seconds", words, labels=LABELS)
        for metrics, _ in workers:
            times = metrics.times[name]
            histogram.add_metric(metrics.labels, buckets=times.below(), sum_value=times.total)
        yield histogram
