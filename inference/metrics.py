"""What a worker counts and times, in Prometheus' text format, with buckets that can see 5 to 200 milliseconds.

Attainment is counted over offered requests: `attained` are those that a model answered in time, so whatever was shed, expired or answered
from a grammar or an authored line is a miss of it. `spoken` are those for which something was said in time, whoever said it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from typing import Final

BUCKETS: Final = (
    *(0.001, 0.002, 0.005, 0.010, 0.016, 0.020, 0.030, 0.040, 0.050, 0.060, 0.080, 0.100, 0.125, 0.150, 0.200),
    *(0.300, 0.500, 1.0, 2.0, 5.0, 10.0, 60.0),
)


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

    def lines(self, name: str, labels: str) -> Iterator[str]:
        """The series of one histogram."""
        below = 0
        for bound, count in zip((*map(str, BUCKETS), "+Inf"), self.counts, strict=True):
            below += count
            yield f'{name}_bucket{{{labels},le="{bound}"}} {below}'
        yield f"{name}_sum{{{labels}}} {self.total:.6f}"
        yield f"{name}_count{{{labels}}} {below}"


class Metrics:
    """One worker's figures since it began."""

    def __init__(self, tier: str, pool: str, worker: str) -> None:
        self._labels = f'tier="{tier}",pool="{pool}",worker="{worker}"'
        self.counts: Counter[str] = Counter()
        """offered, skipped, began, completed, degraded, expired, cancelled, rejected, preempted, handed_back, lost, spoken, attained …"""
        self.rungs: Counter[str] = Counter()
        self.tokens: Counter[str] = Counter()
        self.times = {name: Histogram() for name in ("queue", "first_token", "first_chunk", "per_token", "total", "record", "stop")}

    def observe(self, name: str, seconds: float) -> None:
        """Time one step."""
        self.times[name].observe(seconds)

    def exposition(self, **gauges: float) -> str:
        """Everything, as Prometheus reads it; `gauges` are figures of the moment."""
        labels = self._labels
        lines = ["# TYPE worldbus_inference_requests_total counter"]
        lines += [f'worldbus_inference_requests_total{{{labels},what="{what}"}} {count}' for what, count in sorted(self.counts.items())]
        lines += ["# TYPE worldbus_inference_rungs_total counter"]
        lines += [f'worldbus_inference_rungs_total{{{labels},rung="{rung}"}} {count}' for rung, count in sorted(self.rungs.items())]
        lines += ["# TYPE worldbus_inference_tokens_total counter"]
        lines += [f'worldbus_inference_tokens_total{{{labels},kind="{kind}"}} {count}' for kind, count in sorted(self.tokens.items())]
        for name, value in sorted(gauges.items()):
            lines += [f"# TYPE worldbus_inference_{name} gauge", f"worldbus_inference_{name}{{{labels}}} {value:g}"]
        for name, histogram in self.times.items():
            lines += [f"# TYPE worldbus_inference_{name}_seconds histogram"]
            lines += histogram.lines(f"worldbus_inference_{name}_seconds", labels)
        return "\n".join(lines) + "\n"
