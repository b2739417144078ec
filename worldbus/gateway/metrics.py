"""Counters of the gateway, in Prometheus' text format. They name routes, codes and counts: no tokens, no worlds, no players."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from typing import Final

BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """What happened since the start of this process."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.events: Counter[str] = Counter()  # recorded, replayed, refused, unknown
        self.refusals: Counter[str] = Counter()
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

    def lines(self, gauges: dict[str, float]) -> Iterator[str]:
        """The text, line by line; `gauges` are what others know now."""
        yield from _family("requests_total", "counter", "Requests by route and status.")
        for (route, status), count in sorted(self.requests.items()):
            yield f'worldbus_gateway_requests_total{{route="{route}",status="{status}"}} {count}'
        yield from _family("events_total", "counter", "Events of requests, by what became of them.")
        for outcome in ("recorded", "replayed", "refused", "unknown"):
            yield f'worldbus_gateway_events_total{{outcome="{outcome}"}} {self.events[outcome]}'
        yield from _family("refusals_total", "counter", "Problems, by code.")
        for code, count in sorted(self.refusals.items()):
            yield f'worldbus_gateway_refusals_total{{code="{code}"}} {count}'
        yield from _family("streams_dropped_total", "counter", "Streams ended by the gateway, by reason.")
        for reason, count in sorted(self.dropped.items()):
            yield f'worldbus_gateway_streams_dropped_total{{reason="{reason}"}} {count}'
        yield from self._histogram()
        singles = {
            "streamed_events_total": self.streamed,
            "connections_refused_total": self.refused_connections,
            "connections_gave_way_total": self.gave_way,
            "slow_requests_total": self.slow_requests,
            "unread_answers_total": self.unread_answers,
        }
        for name, value in singles.items():
            yield from _family(name, "counter", name.replace("_", " ") + ".")
            yield f"worldbus_gateway_{name} {value}"
        for name, number in {"subscribers": float(self.subscribers), **gauges}.items():
            yield from _family(name, "gauge", name.replace("_", " ") + ".")
            yield f"worldbus_gateway_{name} {number:g}"

    def _histogram(self) -> Iterator[str]:
        yield from _family("publish_seconds", "histogram", "From a publishing request's headers to its answer.")
        total = 0
        for bound, count in zip((*BUCKETS, float("inf")), self._took, strict=True):
            total += count
            yield f'worldbus_gateway_publish_seconds_bucket{{le="{"+Inf" if bound == float("inf") else f"{bound:g}"}"}} {total}'
        yield f"worldbus_gateway_publish_seconds_sum {self._took_s:g}"
        yield f"worldbus_gateway_publish_seconds_count {total}"


def _family(name: str, kind: str, words: str) -> Iterator[str]:
    yield f"# HELP worldbus_gateway_{name} {words}"
    yield f"# TYPE worldbus_gateway_{name} {kind}"
