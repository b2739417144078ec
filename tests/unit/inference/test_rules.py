"""Ladders, deadlines, admission, clocks and pools: pure rules."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from bus.errors import BadSettings
from inference import ladder, pools
from inference.admission import Admission, Estimate
from inference.clock_offset import Reading, ServerClock, better
from inference.deadlines import MAX_AHEAD_MS, MS, deadline_of
from inference.metrics import BUCKETS, Histogram, Metrics
from inference.request import problem_of
from inference.settings import WorkerSettings
from inference.tiers import TIERS
from inference.worker import AGAIN_S, MOST_AGAIN_S, pause_s
from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceRequested
from schemas.gen.worldbus.inference.v1.types_pb2 import PromptPart
from tests.duskmarket import FOLDER
from tests.exposition import faults

LADDERS = ladder.load(FOLDER / "ladder.toml")
NPC = LADDERS.of("npc_line")
assert NPC is not None


def _table(**changes: Any) -> dict[str, Any]:
    rungs = [{"rung": "full", "needs_ms": 40}, {"rung": "authored", "needs_ms": 1}]
    return {"k": {"reserve_ms": 5, "rungs": rungs, "lines": ["Hm."]} | changes}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lines": []}, "at least one line"),
        ({"rungs": [{"rung": "full", "needs_ms": 1}]}, "`authored` at the end"),
        ({"rungs": [{"rung": "authored", "needs_ms": 1}, {"rung": "full", "needs_ms": 1}]}, "in the order"),
        ({"rungs": [{"rung": "full", "needs_ms": 1}, {"rung": "authored", "needs_ms": 2}]}, "fall from rung to rung"),
        ({"reserve_ms": -1}, "reserve_ms"),
        ({"grammer": "x"}, "k.grammer: wanted one of .* did you mean grammar"),
        ({"rungs": 7}, "k.rungs: wanted an array of tables, found 7"),
    ],
)
def test_a_wrong_ladder_says_what_is_wrong(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(BadSettings, match=said):
        ladder.ladders(_table(**changes), "ladder.toml")


def test_an_unknown_kind_has_the_default_ladder() -> None:
    assert LADDERS.of("never_heard") is LADDERS.by_kind["default"]
    assert ladder.ladders(_table(), "x").of("never_heard") is None


@given(st.integers(0, 2**50), st.integers(0, MAX_AHEAD_MS), st.integers(0, 2**60))
def test_the_earlier_of_two_deadlines_counts(deadline_ms: int, budget_ms: int, recorded_ns: int) -> None:
    deadline = deadline_of(InferenceRequested(deadline_ms=deadline_ms, budget_ms=budget_ms), recorded_ns)

    if deadline_ms:
        assert deadline <= deadline_ms * MS
    if budget_ms:
        assert deadline <= recorded_ns + budget_ms * MS


@pytest.mark.parametrize("number", [float("inf"), float("nan"), -1.0])
def test_an_odd_salience_is_refused(number: float) -> None:
    request = InferenceRequested(
        request_id="a", tier="gold", kind="npc_line", prompt=[PromptPart(role="user", name="w", text="x")], max_tokens=8, budget_ms=100
    )
    assert problem_of(request, 0, LADDERS) is None
    request.salience = number
    assert problem_of(request, 0, LADDERS)[0] == "BAD_SETTING"  # type: ignore[index]


def test_only_what_can_be_finished_is_offered() -> None:
    admission = Admission(TIERS["gold"])
    for _ in range(200):
        admission.first_token.learn(0.03)
        admission.per_token.learn(0.01)
    whole, short, choice, none = (admission.offer(NPC, 96, 30, left) for left in (1.2, 0.4, 0.25, 0.03))

    assert whole is not None
    assert (whole.rung.name, whole.max_tokens) == ("full", 96)
    assert short is not None
    assert (short.rung.name, short.max_tokens) == ("shorter", 24)
    assert choice is not None
    assert choice.rung.name == "choice"
    assert none is None


def test_a_slower_engine_is_believed_soon() -> None:
    estimate = Estimate(0.01)
    for _ in range(50):
        estimate.learn(0.01)
    for _ in range(5):
        estimate.learn(0.05)

    assert estimate.cautious > 0.05


@given(st.integers(-(10**10), 10**10), st.integers(0, 10**8), st.integers(0, 10**8))
def test_the_offset_is_never_off_by_more_than_its_bound(offset: int, there: int, back: int) -> None:
    """Whatever the two ways take, the server's time lies within the bound."""
    now = 10**18
    moments = iter([now, now + there + back] * 5)

    async def ask() -> dict[str, str]:
        from datetime import UTC, datetime

        ns = now + there + offset
        return {"ts": datetime.fromtimestamp(ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{ns % 10**9:09d}Z"}

    last = now + there + back

    def monotonic() -> int:
        return next(moments, last)

    moments = iter([now, *[now, now + there + back] * 5])
    clock = ServerClock(ask, monotonic_ns=monotonic)
    asyncio.run(clock.measure())

    assert abs(clock.now_ns() - (last + offset)) <= clock.bound_ns() + 1


def test_an_old_reading_gives_way_to_a_newer_one_that_is_less_sure() -> None:
    known, new = Reading(0, 0, 100_000), Reading(0, 60_000_000_000, 500_000)

    assert better(known, new) is new
    assert better(known, Reading(0, 1000, 500_000)) is known


def test_the_exposition_adds_up() -> None:
    metrics = Metrics("gold", "gold", "w")
    metrics.observe("queue", 0.004)
    metrics.observe("queue", 100.0)
    text = metrics.exposition(free_slots=3)
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert faults(text, "worldbus_inference_") == []
    queue = {(one.name.rpartition("_")[2], one.labels.get("le")): one.value for one in families["worldbus_inference_queue_seconds"].samples}

    assert (queue["count", None], queue["bucket", "0.005"], queue["bucket", "60.0"], queue["bucket", "+Inf"]) == (2, 1, 1, 2)
    assert families["worldbus_inference_free_slots"].samples[0].labels == {"tier": "gold", "pool": "gold", "worker": "w"}
    assert len(Histogram().counts) == len(BUCKETS) + 1


@pytest.mark.parametrize("table", [{"engine": "gpt"}, {"engine": "openai", "nonsense": 1}, {"model": "x"}])
def test_a_wrong_pool_is_refused(table: dict[str, Any]) -> None:
    with pytest.raises(BadSettings):
        pools.pool_of("gold", table)


def test_a_pool_without_an_engine_is_a_worker_without_a_model() -> None:
    settings, engine = pools.pool_of("gold", {"pool": "spare"})

    assert (settings.pool_name, engine) == ("spare", None)


@pytest.mark.parametrize("role", ["", "ladder"])
def test_a_worker_that_starts_again_is_another_one_with_the_same_series(role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "game.eu-1." + 60 * "x")
    workers = []
    for pid in (71, 4_194_304):
        monkeypatch.setattr("os.getpid", lambda pid=pid: pid)
        workers.append(WorkerSettings.of_this_process("gold", role=role))
    first, second = workers

    assert first.name != second.name
    assert first.series_name == second.series_name
    assert all(one.name.startswith(role) and one.series_name.startswith(role) for one in workers)
    assert WorkerSettings(tier="gold", name="given-71").series_name == "given-71"


def test_a_wrong_worker_is_refused_with_every_problem() -> None:
    with pytest.raises(BadSettings, match="tier must be .* name must be"):
        WorkerSettings(tier="platinum", name="a b")


def test_an_engine_without_room_is_asked_again_ever_more_seldom_for_a_day() -> None:
    pauses = [pause_s(turned_away) for turned_away in range(1, 90_000)]
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (2 * AGAIN_S, MOST_AGAIN_S)
