"""What Prometheus' own linter (`promtool check metrics`) holds against a text of metrics, and what else makes a metric hard to use."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
OTHER_UNITS = frozenset({"ms", "us", "ns", "milliseconds", "microseconds", "nanoseconds", "minutes", "kb", "kilobytes", "mb", "percent"})
RESERVED = ("_total", "_count", "_sum", "_bucket", "_info", "_created")


def faults(text: str, prefix: str) -> list[str]:
    """Everything that is wrong with the families whose names begin with `prefix`."""
    heads = Counter(tuple(line.split(" ", 3)[1:3]) for line in text.splitlines() if line.startswith("# "))
    found = [f"{name}: {kind} stands {times} times" for (kind, name), times in heads.items() if times > 1]
    for family in text_string_to_metric_families(text):
        if family.name.startswith(prefix):
            found += [f"{family.name}: {fault}" for fault in _of_family(family)]
    return found


def _of_family(family: Metric) -> list[str]:
    found = []
    words = re.findall(r"[a-z]+", family.documentation.lower())
    if len(words) < 3 or set(words) <= set(family.name.split("_")):
        found.append(f"HELP says nothing: {family.documentation!r}")
    if not NAME.fullmatch(family.name) or OTHER_UNITS & set(family.name.split("_")):
        found.append("wanted lower case with underscores, and base units")
    if family.type == "unknown":
        found.append("no TYPE")
    if family.type != "counter" and family.name.endswith(RESERVED):
        found.append(f"a {family.type} must not end like part of another kind of metric")
    if family.type == "counter" and any(not sample.name.endswith("_total") for sample in family.samples):
        found.append("a counter ends with _total")
    series = Counter((sample.name, tuple(sorted(sample.labels.items()))) for sample in family.samples)
    found += [f"{sample} stands {times} times" for sample, times in series.items() if times > 1]
    found += [f"label {label}" for sample in family.samples for label in sample.labels if not NAME.fullmatch(label)]
    found += [f"{sample.name} is negative" for sample in family.samples if family.type != "gauge" and sample.value < 0]
    return found + (_of_histogram(family) if family.type == "histogram" else [])


def _of_histogram(family: Metric) -> list[str]:
    found = []
    series: dict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = {}
    counts: dict[tuple[tuple[str, str], ...], float] = {}
    for sample in family.samples:
        labels = tuple(sorted((name, value) for name, value in sample.labels.items() if name != "le"))
        if sample.name.endswith("_bucket"):
            series.setdefault(labels, []).append((float(sample.labels["le"]), sample.value))
        elif sample.name.endswith("_count"):
            counts[labels] = sample.value
    for labels, buckets in series.items():
        if any(later[0] <= before[0] or later[1] < before[1] for before, later in pairwise(buckets)):
            found.append(f"buckets of {labels} do not rise")
        if buckets[-1] != (float("inf"), counts.get(labels)):
            found.append(f"the last bucket of {labels} is not +Inf with the count")
    return found if series else ["a histogram without buckets"]
