"""What the tables of services, releases, routes, models and inference say after an afternoon; every query of their pages is answered."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bus.testing import Rehearsal
from projections import Listed, Projector
from projections.query import query
from schemas.gen.worldbus.capability.v1 import capability_pb2 as services
from schemas.gen.worldbus.capability.v1.types_pb2 import Label, Offer
from schemas.gen.worldbus.inference.v1 import inference_pb2 as asked
from schemas.gen.worldbus.inference.v1.types_pb2 import Citation, Measured
from schemas.gen.worldbus.models.v1 import models_pb2 as rolled
from schemas.gen.worldbus.models.v1.types_pb2 import Model, Stage
from schemas.gen.worldbus.router.v1 import router_pb2 as routed
from schemas.gen.worldbus.time.v1.time_pb2 import ClockStartRequested, RealTimePassed
from schemas.gen.worldbus.uemonitor.v1.types_pb2 import FeedEntry
from schemas.gen.worldbus.uemonitor.v1.uemonitor_pb2 import ReleaseFeedFailed, ReleaseFeedRead
from tests.duskmarket import PROJECTIONS, capability, models, router, time, uemonitor

PAGES = Path(__file__).parents[3] / "docs" / "reference"
NEW = "qwen25-1_5b"
NOON = 1_750_000_000_000_000_000  # 2025-06-15 in UTC


def afternoon() -> Rehearsal:
    town = Rehearsal(time, capability, uemonitor, router, models, world="duskmarket")
    town.say(ClockStartRequested(), entity="clock")
    _services(town)
    _engines(town)
    _models(town)
    _answers(town)
    return town


def _services(town: Rehearsal) -> None:
    tts = Offer(capability="tts", version="1.2", platforms=["ps5"], labels=[Label(name="weight", text="7")])
    town.say(services.ServiceRegisterRequested(endpoint="http://a", offers=[tts, Offer(capability="stt")], ttl_ms=86_400_000), entity="a")
    town.say(services.ServiceRegisterRequested(endpoint="http://b", offers=[tts], ttl_ms=1000), entity="b")
    town.say(RealTimePassed(real_ms=1000), entity="clock")
    town.say(services.ServiceRegisterRequested(endpoint="http://a", offers=[tts], ttl_ms=86_400_000), entity="a")
    town.say(services.ServiceHeartbeat(), entity="a")
    town.say(routed.RouteRequested(capability="tts"), entity="mira")
    town.say(routed.RouteRequested(capability="stt"), entity="mira")
    for _ in range(5):
        town.say(routed.ServiceCallReported(service="a", capability="tts", error="timed out"), entity="gs")


def _engines(town: Rehearsal) -> None:
    town.say(
        services.EngineAdoptRequested(version="5.5", platform="windows", features=["nanite_foliage"]), entity="unreal", subsystem="operator"
    )
    versions = [FeedEntry(version=version) for version in ("5.4", "5.6", "5.7-preview-1", "soon")]
    town.say(ReleaseFeedRead(source="f", entries=versions), entity="unreal", subsystem="release-feed")
    town.say(ReleaseFeedFailed(source="f", code="timed_out", reason="20 s", attempts=3), entity="unreal", subsystem="release-feed")
    newest = FeedEntry(version="5.7", title="UE 5.7", link="https://example.org", published_ms=NOON // 1_000_000)
    town.say(ReleaseFeedRead(source="f", entries=[newest]), entity="unreal", subsystem="release-feed")


def _models(town: Rehearsal) -> None:
    tiny = Model(name="tiny", source="org/tiny", engine="vllm", license="MIT", context_tokens=2048, completion_nano_usd=3)
    town.say(rolled.ModelAddRequested(model=tiny), entity="gold", subsystem="operator")
    for code in ("completed", "rolled back"):
        model = NEW if code == "completed" else "tiny"
        town.say(rolled.RolloutStartRequested(model=model, stages=[Stage(percent=100, soak_ms=1000)]), entity="gold", subsystem="operator")
        failures = 0 if code == "completed" else 9
        report = asked.ModelHealthReported(tier="gold", worker="g1", requests=60, failures=failures, ready=True, free_slots=2)
        town.say(report, entity=model, subsystem="inference")
        town.say(RealTimePassed(real_ms=1000), entity="clock")
    town.say(rolled.ModelChoiceRequested(tier="gold", key="mira"), entity="mira")
    town.say(asked.InferenceRouteRequested(request_id="r1", asked="gold", slack_ms=100), entity="inference-gold", subsystem="inference")


def _answers(town: Rehearsal) -> None:
    took = Measured(
        model=NEW, engine="vllm", prompt_tokens=100, completion_tokens=8, queue_us=900, first_chunk_us=70_000, cost_nano_usd=860,
        knowledge="given", retrieval_us=700,
    )  # fmt: skip
    whose = {"requester_subsystem": "npc", "requester_entity": "mira", "player": "ada", "kind": "npc_line"}
    cites = {"citations": [CITED]}
    for message in (
        asked.InferenceStarted(request_id="r1", tier="gold", pool="gold", attempt=1),
        asked.InferenceCompleted(request_id="r1", tier="gold", text="Hm.", rung="full", attempt=1, measured=took, **whose, **cites),
        asked.InferenceDegraded(request_id="r2", tier="gold", text="No.", rung="authored", code="no_engine", **whose),
        asked.InferenceExpired(request_id="r3", tier="gold", stage="queue", late_ms=40, **whose),
        asked.InferenceCancelled(request_id="r4", tier="silver", spoken="Well", measured=took, **whose),
        asked.InferenceRejected(request_id="r5", code="UNKNOWN_TIER", reason="wanted gold", **whose),
    ):
        town.say(message, entity="mira", subsystem="inference", time_ns=NOON)


CITED = Citation(passage_id="p1", kind="lore", document="law", heading=["Law", "Fees"], line_from=3, line_to=9, score=0.5, position=4)
EXPECTED = {
    "SELECT service, listed, gone_because, registrations, expiries, lease FROM services ORDER BY service": [
        ("a", True, None, 2, 0, 3),
        ("b", False, "expired", 1, 1, 2),
    ],
    "SELECT service, capability, version, platforms, labels FROM service_offers": [("a", "tts", "1.2", ["ps5"], '{"weight": "7"}')],
    "SELECT capability, services, offered_by FROM capabilities": [("tts", 1, ["a"])],
    "SELECT line, version, platform, waits_for FROM engines": [("unreal", "5.5.0", "windows", ["nanite_foliage"])],
    "SELECT version, channel FROM engine_versions ORDER BY version": [("5.7.0", "release"), ("5.7.0-preview.1", "preview")],
    "SELECT from_version, version, enables, removes FROM engine_upgrades": [("5.5.0", "5.7.0", ["nanite_foliage"], [])],
    "SELECT version, channel, announced, newest, title FROM engine_releases ORDER BY version": [
        ("5.4.0", "release", False, False, None),
        ("5.6.0", "release", True, True, ""),
        ("5.7.0", "release", True, True, "UE 5.7"),
        ("5.7.0-preview.1", "preview", True, True, ""),
    ],
    "SELECT published_at::date::text FROM engine_releases WHERE published_at IS NOT NULL": [("2025-06-15",)],
    "SELECT readable, code, newest_release, newest_preview, announced, refused, last_refused, outages FROM release_feeds": [
        (True, None, "5.7.0", "5.7.0-preview.1", 3, 1, ["soon"], 1)
    ],
    "SELECT capability, service, listed, circuit, in_a_row, chosen, failures, opened, weight FROM routes ORDER BY capability, service": [
        ("stt", "a", False, "closed", 0, 0, 0, 0, 10),
        ("tts", "a", True, "open", 5, 1, 5, 1, 7),
        ("tts", "b", False, "closed", 0, 0, 0, 0, 7),
    ],
    "SELECT capability, service, circuit, error FROM open_circuits": [("tts", "a", "open", "timed out")],
    "SELECT capability, code, refused FROM route_refusals": [("stt", "NO_SERVICE", 1)],
    "SELECT asked, tier, code, requests FROM inference_routing": [("gold", "gold", "no_better", 1)],
    "SELECT tier, worker, ready, free FROM inference_workers": [("gold", "g1", True, True)],
    "SELECT tier, model, retired, license, completion_nano_usd FROM models": [("gold", "tiny", False, "MIT", 3)],
    "SELECT number, model, previous, standing, percent, requests, failures, code FROM rollouts ORDER BY number": [
        (1, NEW, "qwen25-3b-awq", "completed", 100, 60, 0, None),
        (2, "tiny", NEW, "rolled_back", 0, 60, 9, "failures"),
    ],
    "SELECT tier, model, chosen FROM model_choices": [("gold", NEW, 1)],
    "SELECT request_id, outcome, tier, rung, code, text, model, requester FROM inference_requests ORDER BY request_id": [
        ("r1", "completed", "gold", "full", None, "Hm.", NEW, "npc.mira"),
        ("r2", "degraded", "gold", "authored", "no_engine", "No.", "", "npc.mira"),
        ("r3", "expired", "gold", None, "queue", None, "", "npc.mira"),
        ("r4", "cancelled", "silver", None, None, "Well", NEW, "npc.mira"),
        ("r5", "rejected", None, None, "UNKNOWN_TIER", None, "", "npc.mira"),
    ],
    "SELECT request_id, number, passage_id, kind, document, heading, line_from, line_to, score, as_of FROM inference_citations": [
        ("r1", 1, "p1", "lore", "law", ["Law", "Fees"], 3, 9, 0.5, 4),
    ],
    "SELECT request_id, knowledge, retrieval_us FROM inference_requests WHERE knowledge <> ''": [
        ("r1", "given", 700),
        ("r4", "given", 700),
    ],
    "SELECT day, player, requests, prompt_tokens, completion_tokens, cost_usd::text FROM inference_cost_by_player": [
        ("2025-06-15", "ada", 5, 200, 16, "0.000001720")
    ],
    "SELECT tier, model, requests, degraded, expired FROM inference_cost_by_tier ORDER BY tier, model": [
        ("", "", 1, 0, 0),
        ("gold", "", 2, 1, 1),
        ("gold", NEW, 1, 0, 0),
        ("silver", NEW, 1, 0, 0),
    ],
}


@pytest.fixture
async def told(database: str) -> None:
    await Projector(database, list(PROJECTIONS)).run(Listed(afternoon().log))


@pytest.mark.usefixtures("told")
async def test_the_tables_say_what_happened(reader: str) -> None:
    assert (await query(reader, "SELECT projection, reason FROM skipped")).rows == []
    for statement, rows in EXPECTED.items():
        assert [tuple(row) for row in (await query(reader, statement)).rows] == rows, statement


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize("page", ["capability", "uemonitor", "router", "models", "inference"])
async def test_every_query_of_a_page_is_answered(page: str, reader: str) -> None:
    blocks = re.findall(r"^```sql\n(.*?)^```$", (PAGES / f"{page}.md").read_text(), re.MULTILINE | re.DOTALL)
    statements = [statement.strip() for block in blocks for statement in block.split(";\n") if statement.strip()]

    assert len(statements) >= 3
    for statement in statements:
        assert (await query(reader, statement)).rows, f"{page}.md: no row for {statement}"
