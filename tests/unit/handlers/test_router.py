"""The rules of routing, one by one."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from bus.errors import BadSettings
from bus.testing import Case, Rehearsal, given
from handlers.capability_registry import REGISTRY, capability
from handlers.router import Routing, router
from handlers.router.tables import rules
from handlers.time_manager import time
from schemas.gen.worldbus.capability.v1.capability_pb2 import (
    ServiceExpired,
    ServiceRegistered,
    ServiceRegisterRequested,
    ServiceUnregistered,
    ServiceUnregisterRequested,
)
from schemas.gen.worldbus.capability.v1.types_pb2 import Label, Offer
from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceRequested, ModelHealthReported
from schemas.gen.worldbus.router.v1 import router_pb2 as said
from schemas.gen.worldbus.time.v1.time_pb2 import ClockStartRequested, RealTimePassed, WakeCancelRequested, WakeFired, WakeRequested

FAILURES, OPEN_MS, MAX_OPEN_MS, TRIAL_MS = 5, 10_000, 300_000, 30_000  # of worlds/duskmarket/router.toml


def heard(case: Case[Routing], message: Any) -> Case[Routing]:
    return case.when(message, entity=REGISTRY, subsystem="capability")


def listed(*services: str, version: str = "1.2", weight: str = "") -> Case[Routing]:
    case = given(router, entity="tts")
    for service in services:
        labels = [Label(name="weight", text=weight)] if weight else []
        offer = Offer(capability="tts", version=version, labels=labels)
        case = heard(case, ServiceRegistered(service=service, endpoint=f"http://{service}", offers=[Offer(capability="x"), offer]))
    return case


def ask(case: Case[Routing], **fields: Any) -> Case[Routing]:
    return case.when(said.RouteRequested(**{"capability": "tts", "request_id": "r1", **fields}), entity="mira", subsystem="npc")


def chosen(case: Case[Routing]) -> said.RouteChosen:
    answer = case.said[0]
    assert isinstance(answer, said.RouteChosen)
    return answer


def refusal(case: Case[Routing]) -> str:
    (answer,) = case.said
    assert isinstance(answer, said.RouteRefused)
    assert (answer.requester_subsystem, answer.requester_entity) == ("npc", "mira")
    return answer.code


def call(case: Case[Routing], ok: bool, service: str = "a") -> Case[Routing]:
    return case.when(said.ServiceCallReported(service=service, capability="tts", ok=ok, error="" if ok else "timed out"), entity="gs-1")


def woken(case: Case[Routing], name: str) -> Case[Routing]:
    return case.when(WakeFired(subsystem="router", entity="tts", name=name), entity="clock", subsystem="time")


def opened() -> Case[Routing]:
    case = listed("a")
    for _ in range(FAILURES):
        case = call(case, ok=False)
    return case


def half_open() -> Case[Routing]:
    return woken(opened(), "open-1-1").then(said.CircuitHalfOpened(service="a"))


def test_a_registered_service_gets_a_route() -> None:
    listed("a").then(said.RouteAdded(service="a", endpoint="http://a", version="1.2", weight=10, number=1))


def test_the_same_registration_changes_nothing_and_another_replaces() -> None:
    case = listed("a", "a").then_nothing()

    heard(case, ServiceRegistered(service="a", endpoint="http://b", offers=[Offer(capability="tts", version="1.2")])).then(
        said.RouteAdded(service="a", endpoint="http://b", version="1.2", weight=10, number=2)
    )


@pytest.mark.parametrize(
    "gone",
    [
        ServiceExpired(service="a", capabilities=["tts"]),
        ServiceUnregistered(service="a", capabilities=["tts"]),
        ServiceRegistered(service="a", offers=[Offer(capability="stt")], dropped=["tts"]),
    ],
)
def test_a_service_that_goes_loses_its_route(gone: Any) -> None:
    assert refusal(ask(heard(listed("a"), gone).then(said.RouteRemoved(service="a")))) == "NO_SERVICE"


def test_only_the_registry_is_believed() -> None:
    listed("a").when(ServiceExpired(service="a", capabilities=["tts"]), subsystem="game").then_nothing()


def test_a_call_goes_to_a_service_that_fits() -> None:
    answer = chosen(ask(listed("a"), min_version="1.2"))

    assert (answer.request_id, answer.service, answer.endpoint, answer.requester_subsystem, answer.requester_entity, answer.trial) == (
        ("r1", "a", "http://a", "npc", "mira", False)
    )
    assert refusal(ask(listed("a"), min_version="1.10")) == "NO_SERVICE"
    assert refusal(ask(listed("a"), exclude=["a"])) == "NO_SERVICE"
    assert refusal(ask(listed("a", version=""), min_version="0.1")) == "NO_SERVICE"


def test_a_key_stays_with_its_service_and_hardly_any_moves_when_one_goes() -> None:
    case = listed("a", "b", "c")
    before = {key: chosen(ask(case, key=key)).service for key in map(str, range(300))}
    after = {key: chosen(ask(case, key=key, exclude=["b"])).service for key in before}

    assert Counter(before.values()).keys() == {"a", "b", "c"}
    assert min(Counter(before.values()).values()) > 60
    assert all(after[key] == service for key, service in before.items() if service != "b")


def test_calls_are_shared_by_weight() -> None:
    case = listed("a", weight="1")
    for service, weight in (("b", "9"), ("c", "no number"), ("d", "0"), ("e", "999")):
        labels = [Label(name="weight", text=weight)]
        case = heard(case, ServiceRegistered(service=service, offers=[Offer(capability="tts", labels=labels)]))
    assert {name: route.weight for name, route in case.state.routes.items()} == {"a": 1, "b": 9, "c": 10, "d": 1, "e": 100}

    taken = Counter(chosen(ask(case, key=str(key), exclude=["c", "d", "e"])).service for key in range(500))
    assert 25 <= taken["a"] <= 80


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        ({"capability": "a b"}, "BAD_NAME"),
        ({"min_version": "new"}, "BAD_VERSION"),
        ({"key": "k" * 65}, "TOO_LONG"),
        ({"exclude": ["a"] * 17}, "TOO_MANY"),
    ],
)
def test_bad_wishes_are_refused(wish: dict[str, Any], code: str) -> None:
    case = given(router, entity="mira" if "capability" in wish else "tts")

    assert refusal(ask(case, **wish)) == code


def test_failures_in_a_row_open_the_circuit() -> None:
    opened().then(
        said.CallFailureCounted(service="a", failures=FAILURES),
        said.CircuitOpened(service="a", failures=FAILURES, open_ms=OPEN_MS, times=1, error="timed out"),
        WakeRequested(name="open-1-1", in_real_ms=OPEN_MS),
    )
    assert refusal(ask(opened())) == "ALL_OPEN"
    call(opened(), ok=True).then_nothing()


def test_a_success_between_them_forgets_failures() -> None:
    case = listed("a")
    for _ in range(FAILURES - 1):
        case = call(case, ok=False)
    case = call(case, ok=True).then(said.CallFailuresForgotten(service="a"))
    call(case, ok=True).then_nothing()

    call(case, ok=False).then(said.CallFailureCounted(service="a", failures=1))


def test_a_half_open_circuit_gets_one_call() -> None:
    case = ask(half_open())

    assert chosen(case).trial
    assert case.said[1:] == (WakeRequested(name="trial-1-1", in_real_ms=TRIAL_MS),)
    assert refusal(ask(case)) == "ALL_OPEN"


def test_a_trial_that_succeeds_closes_the_circuit() -> None:
    case = call(ask(half_open()), ok=True).then(WakeCancelRequested(name="trial-1-1"), said.CircuitClosed(service="a"))

    assert not chosen(ask(case)).trial
    assert case.state.routes["a"].times == 0


def test_a_trial_that_fails_opens_it_for_twice_as_long() -> None:
    call(ask(half_open()), ok=False).then(
        WakeCancelRequested(name="trial-1-1"),
        said.CircuitOpened(service="a", failures=FAILURES + 1, open_ms=2 * OPEN_MS, times=2, error="timed out"),
        WakeRequested(name="open-1-2", in_real_ms=2 * OPEN_MS),
    )


def test_a_trial_nobody_reports_has_failed() -> None:
    woken(ask(half_open()), "trial-1-1").then_types(said.CircuitOpened, WakeRequested)


def test_the_pause_does_not_grow_for_ever() -> None:
    case = opened()
    for times in range(1, 12):
        case = call(ask(woken(case, f"open-1-{times}")), ok=False)
    (last,) = (it for it in case.said if isinstance(it, said.CircuitOpened))

    assert (last.times, last.open_ms) == (12, MAX_OPEN_MS)


def test_a_late_report_does_not_decide_a_trial_that_has_not_begun() -> None:
    call(half_open(), ok=True).then_nothing()
    woken(half_open(), "open-1-1").then_nothing()


def test_a_new_registration_begins_with_a_closed_circuit() -> None:
    case = heard(opened(), ServiceRegistered(service="a", endpoint="http://new", offers=[Offer(capability="tts")]))

    case.then(WakeCancelRequested(name="open-1-1"), said.RouteAdded(service="a", endpoint="http://new", weight=10, number=2))
    woken(case, "open-1-1").then_nothing()
    assert chosen(ask(case)).service == "a"


def test_the_whole_town() -> None:
    town = Rehearsal(time, capability, router)
    town.say(ClockStartRequested(), entity="clock")
    town.say(ServiceRegisterRequested(offers=[Offer(capability="tts")], ttl_ms=86_400_000), entity="a")
    for _ in range(FAILURES):
        town.say(said.ServiceCallReported(service="a", capability="tts"), entity="gs-1")
    town.say(said.RouteRequested(capability="tts"), entity="mira")
    town.say(RealTimePassed(real_ms=OPEN_MS), entity="clock")
    town.say(said.RouteRequested(capability="tts"), entity="mira")
    town.say(said.ServiceCallReported(service="a", capability="tts", ok=True), entity="gs-1")
    town.say(ServiceUnregisterRequested(), entity="a")

    told = [event.name for event in town.log if event.subsystem == "router" and event.name.startswith(("Circuit", "Route"))]
    assert told == ["RouteAdded", "CircuitOpened", "RouteRefused", "CircuitHalfOpened", "RouteChosen", "CircuitClosed", "RouteRemoved"]


def tier_lane(tier: str = "gold") -> Case[Routing]:
    return given(router, entity=f"inference-{tier}")


def worker(case: Case[Routing], tier: str, name: str, free: int = 1, *, ready: bool = True) -> Case[Routing]:
    report = ModelHealthReported(tier=tier, worker=name, ready=ready, free_slots=free, slots=8)
    return case.when(report, entity="qwen", subsystem="inference")


def route(case: Case[Routing], tier: str = "gold", **fields: Any) -> said.InferenceRouted:
    wish = InferenceRequested(**{"request_id": "r1", "tier": tier, "budget_ms": 1000, **fields})
    (answer,) = case.when(wish, entity="mira", subsystem="npc", time_ns=5_000_000_000).said
    assert isinstance(answer, said.InferenceRouted)
    return answer


def test_without_any_word_of_workers_a_request_goes_where_it_asked() -> None:
    answer = route(tier_lane())

    assert (answer.tier, answer.pool, answer.code, answer.slack_ms) == ("gold", "gold", "as_asked", 1000)
    assert (answer.requester_subsystem, answer.requester_entity) == ("npc", "mira")


def test_a_full_tier_overflows_to_a_free_one_if_there_is_time() -> None:
    case = worker(worker(tier_lane(), "gold", "g1", free=0), "silver", "s1")

    assert route(case).tier == "silver"
    assert route(case).code == "overflow"
    assert (route(case, budget_ms=499).tier, route(case, budget_ms=499).code) == ("gold", "as_asked")
    assert route(worker(case, "gold", "g1", free=2)).tier == "gold"


def test_a_deadline_counts_from_when_it_was_said_and_the_earlier_moment_counts() -> None:
    assert route(tier_lane(), deadline_ms=5_700).slack_ms == 700
    assert route(tier_lane(), deadline_ms=9_000).slack_ms == 1000
    assert route(tier_lane(), deadline_ms=4_000).slack_ms == 0
    assert route(tier_lane(), budget_ms=0, deadline_ms=0).slack_ms == 0


def test_a_worker_that_is_not_ready_or_not_listed_takes_nothing() -> None:
    case = worker(worker(tier_lane(), "gold", "g1"), "silver", "s1", free=0)

    assert route(worker(case, "gold", "g1", ready=False)).code == "no_better"
    gone = heard(case, ServiceExpired(service="g1", capabilities=["inference-gold"]))
    assert route(gone).code == "no_better"


def test_health_is_said_only_when_it_changed() -> None:
    case = worker(tier_lane(), "gold", "g1", free=3).then(
        said.TierHealthChanged(tier="gold", pool="gold", worker="g1", ready=True, free=True)
    )
    worker(case, "gold", "g1", free=2).then_nothing()
    worker(case, "gold", "g9", ready=False).then_nothing()


def test_only_workers_are_believed_about_health_and_no_tier_is_invented() -> None:
    tier_lane().when(ModelHealthReported(tier="gold", worker="g1", ready=True), subsystem="game").then_nothing()
    worker(tier_lane(), "platinum", "p1").then_nothing()
    tier_lane().when(InferenceRequested(tier="platinum"), subsystem="npc").then_nothing()


GOOD: dict[str, Any] = {
    "circuit": {"failures": 1, "open_ms": 1, "max_open_ms": 1, "trial_ms": 1},
    "tiers": {tier: {"needs_ms": 1, "overflow": []} for tier in ("gold", "silver", "bronze")},
}


@pytest.mark.parametrize(
    ("table", "word"),
    [
        ({}, "circuit"),
        ({**GOOD, "circuit": {**GOOD["circuit"], "failures": 0}}, "failures must be"),
        ({**GOOD, "circuit": {**GOOD["circuit"], "open_ms": 2}}, "max_open_ms"),
        ({**GOOD, "circuit": {**GOOD["circuit"], "colour": 2}}, "colour"),
        ({**GOOD, "tiers": {}}, "tiers: wanted"),
        ({**GOOD, "tiers": {**GOOD["tiers"], "gold": {"needs_ms": 1, "overflow": ["gold"]}}}, "no such other tier"),
        ({**GOOD, "tiers": {**GOOD["tiers"], "gold": {"needs_ms": -1, "overflow": []}}}, "needs_ms"),
    ],
)
def test_a_bad_table_is_refused_by_name(table: dict[str, Any], word: str) -> None:
    assert rules(GOOD, "router.toml").tiers["gold"].needs_ms == 1
    with pytest.raises(BadSettings, match=word):
        rules(table, "router.toml")
