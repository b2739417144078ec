"""The parts that need no server: bodies, rates, problems, and what a stream says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict
from prometheus_client.parser import text_string_to_metric_families

from bus import errors
from bus.errors import Rejected, WorldbusError
from bus.event import Draft
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerJoined
from tests.exposition import faults
from worldbus.gateway import signals
from worldbus.gateway.bodies import FORMATS, Item, Sender, read
from worldbus.gateway.metrics import COUNTED, MOMENTARY, OUTCOMES, Metrics
from worldbus.gateway.problem import Problem, later, problem_of
from worldbus.gateway.rate import Bucket
from worldbus.gateway.stream import named, recorded

EVENT = {"id": "e1", "type": "PlayerJoined", "subject": "mira", "world": "main", "data": {"zone": "quay"}}
ATTRIBUTES = st.sampled_from(["type", "subject", "id", "time", "depth", "data", "lane", "source", "x"])
JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(list(EVENT.values())),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([*EVENT, "time", "depth", "x"]) | st.text(max_size=4), inner, max_size=6)
    ),
    max_leaves=20,
)


def sender(kind: str, **more: Any) -> Sender:
    return Sender(headers=CIMultiDict({"Content-Type": kind, **more.pop("headers", {})}), world="main", **more)


def holds(body: bytes, whom: Sender) -> None:
    """Whatever comes is read or refused with a problem that can be told; a batch's items have ids of their own length."""
    try:
        reading = read(body, whom)
    except (Problem, Rejected) as error:
        document = json.loads(problem_of(error).body())
        assert 400 <= document["status"] < 500
        assert document["detail"]
        assert document["code"]
        return
    assert all(isinstance(item, Item) and item.draft.encode() for item in reading.items)
    assert reading.batch or len(reading.items) == 1


@settings(deadline=None)
@given(st.binary(max_size=200), st.sampled_from([*FORMATS, "text/plain", ""]), st.sampled_from(["", "k", "k 1"]))
def test_no_bytes_do_more_than_be_refused(body: bytes, kind: str, key: str) -> None:
    holds(body, sender(kind, key=key))


@settings(deadline=None)
@given(JSONS, st.sampled_from(FORMATS))
def test_no_json_does_more_than_be_refused(document: Any, kind: str) -> None:
    holds(json.dumps(document).encode(), sender(kind))


@settings(deadline=None)
@given(st.dictionaries(ATTRIBUTES, st.text(max_size=20)), st.binary(max_size=50), st.booleans())
def test_no_headers_of_binary_mode_do_more_than_be_refused(attributes: dict[str, str], body: bytes, protobuf: bool) -> None:
    headers = {f"ce-{name}": value for name, value in attributes.items()} | {"ce-type": attributes.get("type", "PlayerJoined")}
    holds(body, sender("application/protobuf" if protobuf else "application/json", headers=headers))


@settings(deadline=None)
@given(st.binary(max_size=60), st.integers(0, 200))
def test_no_damaged_event_does_more_than_be_refused(noise: bytes, at: int) -> None:
    raw = Draft(data=PlayerJoined(zone="quay"), world="main", entity="mira", id="e1", time_ns=1).encode()
    holds(raw[:at] + noise + raw[at + len(noise) :], sender("application/cloudevents+protobuf"))
    holds(b"\x0a" + bytes((len(raw),)) + raw[:at] + noise, sender("application/cloudevents-batch+protobuf"))


def test_all_formats_say_the_same_event() -> None:
    draft = Draft(data=PlayerJoined(zone="quay"), world="main", entity="mira", id="e1", time_ns=1_795_348_800_000_000_000)
    said = {**EVENT, "time": "2026-11-22T12:00:00Z"}
    ce = {f"ce-{name}": str(value) for name, value in said.items() if name != "data"}
    bodies = [
        (json.dumps(said).encode(), sender("application/cloudevents+json")),
        (json.dumps([said]).encode(), sender("application/cloudevents-batch+json")),
        (draft.encode(), sender("application/cloudevents+protobuf")),
        (
            b"\x0a" + bytes((len(draft.encode()) & 127 | 128, len(draft.encode()) >> 7)) + draft.encode(),
            sender("application/cloudevents-batch+protobuf"),
        ),
        (b'{"zone": "quay"}', sender("application/json", headers=ce)),
        (PlayerJoined(zone="quay").SerializeToString(), sender("application/protobuf", headers=ce)),
    ]
    assert {read(body, whom).items[0].draft.encode() for body, whom in bodies} == {draft.encode()}


@settings(deadline=None)
@given(st.floats(0.1, 1e4), st.floats(1, 1e4), st.lists(st.tuples(st.floats(0, 2), st.integers(1, 500)), max_size=60))
def test_nobody_gets_more_than_the_rate_and_one_burst(rate: float, burst: float, wishes: list[tuple[float, int]]) -> None:
    bucket, now, taken, largest = Bucket(rate, burst, 0.0), 0.0, 0, 0
    for pause, count in wishes:
        now += pause
        if bucket.take(count, now) == 0:
            taken += count
            largest = max(largest, count)
    assert taken <= burst + rate * now + largest + 1e-3


@settings(deadline=None)
@given(st.floats(0.1, 100), st.floats(1, 100), st.integers(1, 200))
def test_whoever_waits_as_long_as_told_is_let_in(rate: float, burst: float, count: int) -> None:
    bucket = Bucket(rate, burst, 0.0)
    bucket.take(int(burst), 0.0)
    wait_s = bucket.take(count, 0.0)
    assert bucket.take(count, wait_s + 1e-6) == 0


@pytest.mark.parametrize("kind", [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, WorldbusError)])
def test_every_error_has_a_status_and_says_when_to_come_again(kind: type[WorldbusError]) -> None:
    problem = problem_of(kind("wanted this, found that: do so", position=3, type="T", odd=object()))
    document = json.loads(problem.body())

    assert document["status"] in (409, 413, 422, 500, 503)
    assert ("Retry-After" in problem.headers) == (document["status"] == 503)
    assert document["type"].startswith("urn:worldbus:problem:")
    assert "odd" not in document


@pytest.mark.parametrize(("after_s", "seconds"), [(0.0, "1"), (0.2, "1"), (1.0, "1"), (1.2, "2")])
def test_nobody_is_told_to_come_again_at_once(after_s: float, seconds: str) -> None:
    assert later(429, "X", "x", after_s).headers["Retry-After"] == seconds


@settings(deadline=None)
@given(st.text(), st.text())
def test_no_text_breaks_a_stream_into_other_blocks(subject: str, words: str) -> None:
    for block in (
        named("end", {"detail": words}),
        recorded(1, json.dumps({"data": words})),
        signals.block(f"sig.{subject}", words.encode(errors="replace")),
    ):
        assert block.endswith(b"\n\n")
        assert b"\n\n" not in block[:-1]
        assert all(line.partition(b": ")[0] in (b"event", b"data", b"id") for line in block[:-2].split(b"\n"))


NOW = {name: 7.0 for name in ("archive_questions", "ids_recorded_twice", *MOMENTARY) if name != "subscribers"}


def test_counters_are_in_prometheus_format() -> None:
    metrics = Metrics()
    metrics.answered("/v1/events", 201)
    metrics.refusals["BAD_EVENT"] += 1
    metrics.dropped["slow"] += 1
    for seconds in (0.0005, 0.3, 99):
        metrics.took(seconds)
    text = metrics.exposition(NOW).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}

    assert faults(text, "worldbus_gateway_") == []
    assert 'worldbus_gateway_publish_seconds_bucket{le="0.001"} 1.0' in text.splitlines()
    assert 'worldbus_gateway_publish_seconds_bucket{le="+Inf"} 3.0' in text.splitlines()
    assert "worldbus_gateway_log_head 7.0" in text.splitlines()
    assert {name.removeprefix("worldbus_gateway_") for name, family in families.items() if family.type == "counter"} == {
        *("requests", "events", "refusals", "webhooks", "streams_dropped"),
        *COUNTED,
    }
    assert {one.labels["outcome"] for one in families["worldbus_gateway_events"].samples} == set(OUTCOMES)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("# HELP g_archive_questions archive questions.\n# TYPE g_archive_questions gauge\ng_archive_questions 1\n", "HELP says nothing"),
        ("# HELP g_x Questions that were asked.\ng_x 1\n", "no TYPE"),
        ("# HELP g_x_total Questions that were asked.\n# TYPE g_x_total gauge\ng_x_total 1\n", "must not end like"),
        ("# HELP g_x_ms How long it took.\n# TYPE g_x_ms gauge\ng_x_ms 1\n", "base units"),
        ("# HELP g_x How long it took.\n# TYPE g_x gauge\ng_x 1\ng_x 2\n", "stands 2 times"),
        ('# HELP g_x How long it took.\n# TYPE g_x histogram\ng_x_bucket{le="1"} 2\ng_x_bucket{le="+Inf"} 1\ng_x_count 1\n', "do not rise"),
    ],
)
def test_the_linter_of_metrics_sees_what_was_wrong_before(text: str, word: str) -> None:
    assert word in " ".join(faults(text, "g_"))
