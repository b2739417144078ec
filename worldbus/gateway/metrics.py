"""Counters of the gateway, for Prometheus. They name routes, codes and counts: no tokens, no worlds, no players.

Counting is plain arithmetic; Prometheus' own client writes it down when somebody asks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
PREFIX: Final = "worldbus_gateway_"
OUTCOMES: Final = ("recorded", "replayed", "refused", "unknown")
COUNTED: Final[Mapping[str, str]] = {
    "streamed_events": "Recorded events sent to subscribers.",
    "connections_refused": "Connections refused because all were taken and none was idle.",
    "connections_gave_way": "Idle connections closed in favour of new ones.",
    "slow_requests": "Connections closed because a request's headers did not come in time.",
    "unread_answers": "Connections cut because their answer was not read in time.",
    "archive_questions": "Questions put to the archive: whether it knows ids.",
    "ids_recorded_twice": "Ids that the log holds twice. Always 0, or a promise was broken.",
}
"""Counters without labels, each with its HELP; `_total` is added to their names."""
MOMENTARY: Final[Mapping[str, str]] = {
    "subscribers": "Open streams of events and signals.",
    "connected": "1 while the gateway is connected to NATS, else 0.",
    "events_in_flight": "Events sent to the log without an answer yet.",
    "log_head": "Position of the last event that was seen in the log.",
    "log_stale_seconds": "Seconds since everything in the log was last known to be seen.",
    "ids_remembered": "Ids of events that the gateway remembers because the archive may not have them yet.",
}
"""Gauges, each with its HELP."""


class Metrics:
    """Counts since the start of this process."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.events: Counter[str] = Counter()
        """By one of `OUTCOMES`."""
        self.refusals: Counter[str] = Counter()
        self.webhooks: Counter[str] = Counter()
        """By one of `worldbus.edges.payments.OUTCOMES`."""
        self.streamed = 0
        self.dropped: Counter[str] = Counter()
        self.refused_connections = 0
        self.gave_way = 0
        self.slow_requests = 0
        self.unread_answers = 0
        self.subscribers = 0
        self._took = [0] * (len(BUCKETS) + 1)
        self._took_s = 0.0

    def answered(self, route: str, status: int) -> None:
        """One request, by its route (never by its path)."""
        self.requests[route, status] += 1

    def took(self, seconds: float) -> None:
        """One publishing request took this long."""
        self._took[bisect_left(BUCKETS, seconds)] += 1
        self._took_s += seconds

    def exposition(self, now: Mapping[str, float]) -> bytes:
        """All metrics in Prometheus' text format; `now` holds values of `COUNTED` and `MOMENTARY` by name, from others."""
        registry = CollectorRegistry()
        registry.register(_Shown(self, now))
        return generate_latest(registry)

    def families(self, now: Mapping[str, float]) -> Iterator[Metric]:
        """The families of `exposition`."""
        requests = CounterMetricFamily(f"{PREFIX}requests", "Requests by route and status.", labels=("route", "status"))
        for (route, status), count in sorted(self.requests.items()):
            requests.add_metric((route, str(status)), count)
        yield requests
        words = (
            "Events of publishing requests by what became of them. refused: not recorded, answered with 4xx; unknown: answered with 5xx, "
            "to be sent again. A body that cannot be taken apart counts as one event."
        )
        yield _counter("events", words, "outcome", {outcome: self.events[outcome] for outcome in OUTCOMES})
        yield _counter("refusals", "Problem documents sent, by code.", "code", self.refusals)
        words = (
            "The payment provider's webhooks by what became of them. not_ours: of payments without our metadata; put_off: it comes again."
        )
        yield _counter("webhooks", words, "outcome", self.webhooks)
        yield _counter("streams_dropped", "Streams ended by the gateway, by reason.", "reason", self.dropped)
        yield self._histogram()
        values = {
            "streamed_events": self.streamed,
            "connections_refused": self.refused_connections,
            "connections_gave_way": self.gave_way,
            "slow_requests": self.slow_requests,
            "unread_answers": self.unread_answers,
            "subscribers": self.subscribers,
            **now,
        }
        for name, words in COUNTED.items():
            yield CounterMetricFamily(PREFIX + name, words, value=values[name])
        for name, words in MOMENTARY.items():
            yield GaugeMetricFamily(PREFIX + name, words, value=values[name])

    def _histogram(self) -> Metric:
        bounds = (*map(str, BUCKETS), "+Inf")
        buckets = list(zip(bounds, map(float, accumulate(self._took)), strict=True))
        words = "Seconds from a publishing request's headers to its answer."
        return HistogramMetricFamily(f"{PREFIX}publish_seconds", words, buckets=buckets, sum_value=self._took_s)


def _counter(name: str, words: str, label: str, counts: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(PREFIX + name, words, labels=(label,))
    for value, count in sorted(counts.items()):
        family.add_metric((value,), count)
    return family


class _Shown(Collector):
    def __init__(self, metrics: Metrics, now: Mapping[str, float]) -> None:
        self._metrics = metrics
        self._now = now

    def collect(self) -> Iterator[Metric]:
        return self._metrics.families(self._now)
