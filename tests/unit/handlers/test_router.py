"""The rules of routing, one by one."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from bus.errors import BadSettings
from bus.testing import Case, Rehearsal, given, recorded
from handlers.capability_registry import REGISTRY
from handlers.router import Routing, router_of
from handlers.router.state import MAX_WORKERS, worker_key
from handlers.router.tables import rules
from handlers.router.tiers import ALL_LANES, SPREAD
from schemas.gen.worldbus.capability.v1.capability_pb2 import (
    ServiceExpired,
    ServiceRegistered,
    ServiceRegisterRequested,
    ServiceUnregistered,
    ServiceUnregisterRequested,
)
from schemas.gen.worldbus.capability.v1.types_pb2 import Label, Offer
from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceRouteRequested, ModelHealthReported
from schemas.gen.worldbus.inference.v1.types_pb2 import TierStanding
from schemas.gen.worldbus.router.v1 import router_pb2 as said
from schemas.gen.worldbus.time.v1.time_pb2 import ClockStartRequested, RealTimePassed, WakeCancelRequested, WakeFired, WakeRequested
from tests.duskmarket import capability, router, time

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


NOW_NS = 5_000_000_000


def tier_lane(tier: str = "gold") -> Case[Routing]:
    return given(router, entity=f"inference-{tier}")


def worker(case: Case[Routing], tier: str, name: str, *, at_ms: int = 0, **told: Any) -> Case[Routing]:
    report = ModelHealthReported(**{"tier": tier, "worker": name, "ready": True, "free_slots": 1, "slots": 8, **told})
    return case.when(report, entity="qwen", subsystem="inference", time_ns=NOW_NS + at_ms * 1_000_000)


def stands(tier: str, worker: str = "w", *, free: int = 1, takes_ms: int = 200, cost: int = 0) -> TierStanding:
    return TierStanding(
        tier=tier, pool=f"{tier}-a10g", workers=[worker], slots=8, free=free, predicted_ms=takes_ms, cost_nano_usd=cost
    )  # fmt: skip


def route(case: Case[Routing], *standing: TierStanding, tier: str = "gold", at_ms: int = 0, **fields: Any) -> said.InferenceRouted:
    wish = InferenceRouteRequested(
        **{"request_id": "r1", "world": "w", "requester_subsystem": "npc", "requester_entity": "mira", "asked": tier, "position": 7,
           "kind": "npc_line", "slack_ms": 1000, "code": "no_slot", **fields},
        standing=standing,
    )  # fmt: skip
    (answer,) = case.when(wish, entity=f"inference-{tier}", subsystem="inference", time_ns=NOW_NS + at_ms * 1_000_000).said
    assert isinstance(answer, said.InferenceRouted)
    return answer


def test_a_full_tier_overflows_to_another_one_if_there_is_time() -> None:
    full = stands("gold", free=0, takes_ms=1400)
    answer = route(tier_lane(), full, stands("silver"))

    assert (answer.tier, answer.pool, answer.code, answer.slack_ms) == ("silver", "silver-a10g", "overflow", 1000)
    assert (answer.world, answer.requester_subsystem, answer.requester_entity, answer.position) == ("w", "npc", "mira", 7)
    assert answer.reason == "1000 ms are left; gold has 0 of 8 slots free and needs 1400 ms; silver has 1 of 8 slots free and needs 200 ms"
    for short in (
        route(tier_lane(), full, stands("silver"), slack_ms=499),  # of silver's own promise
        route(tier_lane(), full, stands("silver", takes_ms=1001)),  # of what its engines showed
        route(tier_lane(), full),
    ):
        assert (short.tier, short.code) == ("gold", "no_better")


def test_gold_helps_out_with_free_slots_only_and_silver_also_behind_its_own() -> None:
    assert route(tier_lane("silver"), stands("silver", free=0), stands("gold", free=1), tier="silver").tier == "gold"
    busy = route(tier_lane("silver"), stands("silver", free=0), stands("gold", free=0), tier="silver")
    assert (busy.tier, busy.code) == ("silver", "no_better")
    assert "gold has no free slot" in busy.reason
    assert route(tier_lane(), stands("gold", free=0), stands("silver", free=0)).tier == "silver"


def test_a_tier_that_is_down_is_helped_out_and_helps_nobody() -> None:
    answer = route(tier_lane(), TierStanding(tier="gold"), stands("silver"))

    assert (answer.tier, answer.code) == ("silver", "broken")
    assert route(tier_lane(), stands("gold"), stands("silver"), code="no_engine").code == "broken"  # the holder knows it first
    assert route(tier_lane(), stands("gold"), TierStanding(tier="silver")).code == "no_better"


def test_the_cheaper_of_two_tiers_takes_it_and_a_kind_may_say_what_is_too_dear() -> None:
    tables = {**GOOD, "tiers": {**GOOD["tiers"], "gold": {"needs_ms": 1, "overflow": ["silver", "bronze"]}}}
    standing = stands("silver", cost=9), stands("bronze", cost=8)

    def lane(**kind: Any) -> Case[Routing]:
        return given(router_of(rules({**tables, "kinds": {"npc_line": kind}}, "router.toml")), entity="inference-gold")

    assert route(lane(), *standing).tier == "bronze"
    assert route(lane(tiers=["silver"]), *standing).tier == "silver"
    assert route(lane(max_nano_usd=8), stands("silver", cost=9)).code == "no_better"


def failing(times: int, case: Case[Routing] | None = None) -> Case[Routing]:
    case = tier_lane() if case is None else case
    for number in range(times):
        case = worker(case, "silver", "s1", requests=4, failures=2, at_ms=number)
    return case


def test_a_worker_that_fails_again_and_again_has_its_circuit_opened_then_one_trial() -> None:
    silver = stands("silver", "s1")
    assert route(failing(FAILURES - 1), silver).tier == "silver"

    opened = failing(FAILURES)
    assert route(opened, silver).code == "no_better"
    assert "silver has open circuits" in route(opened, silver).reason
    assert route(opened, silver, stands("gold", "g1")).tier == "gold"

    on_trial = OPEN_MS + FAILURES
    assert route(opened, silver, at_ms=on_trial).tier == "silver"
    again = worker(opened, "silver", "s1", requests=4, failures=1, at_ms=on_trial)
    assert route(again, silver, at_ms=on_trial + OPEN_MS).code == "no_better"
    assert route(again, silver, at_ms=on_trial + 2 * OPEN_MS).tier == "silver"

    closed = worker(again, "silver", "s1", requests=4, at_ms=on_trial + 2 * OPEN_MS)
    assert route(failing(FAILURES - 1, closed), silver).tier == "silver"


def test_successes_between_failures_keep_a_circuit_closed() -> None:
    case = worker(failing(FAILURES - 1), "silver", "s1", requests=5)

    assert route(failing(FAILURES - 1, case), stands("silver", "s1")).tier == "silver"


def test_a_worker_that_is_not_ready_or_not_listed_takes_nothing() -> None:
    case = worker(tier_lane(), "silver", "s1")

    assert route(worker(case, "silver", "s1", ready=False), stands("silver", "s1")).code == "no_better"
    gone = heard(case, ServiceExpired(service="s1", capabilities=["inference-silver-2"]))
    assert route(gone, stands("silver", "s1")).code == "no_better"


def test_health_is_said_only_when_it_changed_on_all_lanes_of_all_tiers() -> None:
    case = worker(tier_lane(), "gold", "g1", free_slots=3).then(
        said.TierHealthChanged(tier="gold", pool="gold", worker="g1", ready=True, free=True)
    )
    worker(case, "gold", "g1", free_slots=0, requests=9).then_nothing()
    # One that begins down is remembered too: who has not been heard of is taken to be well.
    worker(case, "gold", "g9", ready=False).then(said.TierHealthChanged(tier="gold", pool="gold", worker="g9"))
    report = recorded(ModelHealthReported(tier="gold", worker="g1"), entity="qwen", subsystem="inference")
    assert tuple(router.entities(report)) == ALL_LANES
    assert len(set(ALL_LANES)) == 3 * SPREAD


def one_process(lane: str, *, silver_requests: int, times: int = FAILURES) -> Case[Routing]:
    """Gold fails in every report; silver, in the same process and so under the same name, has no failures."""
    case = tier_lane(lane)
    for number in range(times):
        at_ms = number * 10
        case = worker(case, "gold", "vm-1", requests=3, failures=3, at_ms=at_ms)
        case = worker(case, "silver", "vm-1", requests=silver_requests, at_ms=at_ms)
        case = worker(case, "bronze", "vm-1", at_ms=at_ms)
    return case


@pytest.mark.parametrize("requests", [0, 50], ids=["idle", "busy"])
def test_a_tier_that_always_fails_is_cut_off_and_its_neighbours_in_one_process_are_not(requests: int) -> None:
    gold, silver = stands("gold", "vm-1"), stands("silver", "vm-1")
    full = stands("silver", "other", free=0, takes_ms=9000)

    assert route(one_process("silver", silver_requests=requests, times=FAILURES - 1), full, gold, tier="silver").tier == "gold"
    cut_off = route(one_process("silver", silver_requests=requests), full, gold, tier="silver")
    assert (cut_off.tier, cut_off.code) == ("silver", "no_better")
    assert "gold has open circuits" in cut_off.reason
    assert route(one_process("gold", silver_requests=requests), gold, silver).tier == "silver"


def test_an_idle_process_of_three_tiers_is_told_of_once() -> None:
    case = tier_lane()
    for number in range(6):
        for tier in ("gold", "silver", "bronze"):
            case = worker(case, tier, "vm-1", free_slots=8, at_ms=number * 10_000)
            if number:
                case.then_nothing()

    assert len(case.state.workers) == 3


def test_a_process_that_is_gone_serves_none_of_its_tiers() -> None:
    case = worker(worker(worker(tier_lane(), "gold", "vm-1"), "silver", "vm-1"), "gold", "vm-2")

    gone = heard(case, ServiceExpired(service="vm-1", capabilities=["inference-gold"]))
    assert [(it.tier, it.worker, it.ready) for it in gone.said if isinstance(it, said.TierHealthChanged)] == [
        ("gold", "vm-1", False),
        ("silver", "vm-1", False),
    ]


def test_a_log_of_the_former_rules_folds_to_one_worker_of_each_tier() -> None:
    """They told of the tiers of one process in turn, as if one worker changed; what each was told last is what holds."""
    told = [
        said.TierHealthChanged(tier=tier, pool=tier, worker="vm-1", ready=True, free=True, failures=failures)
        for failures in (1, 2)
        for tier in ("bronze", "gold", "silver")
    ]
    state = given(router, *told, entity="inference-gold").state

    assert {key: one.failures for key, one in state.workers.items()} == {"bronze/vm-1": 2, "gold/vm-1": 2, "silver/vm-1": 2}


def test_a_lane_remembers_a_bounded_number_of_workers() -> None:
    case = worker(tier_lane(), "gold", "down", ready=True)
    case = worker(case, "gold", "down", ready=False)
    for number in range(MAX_WORKERS):
        case = worker(case, "gold", f"g{number}")

    assert len(case.state.workers) == MAX_WORKERS
    assert worker_key("gold", "down") not in case.state.workers


def test_only_workers_are_believed_and_no_tier_is_invented() -> None:
    tier_lane().when(ModelHealthReported(tier="gold", worker="g1", ready=True), subsystem="game").then_nothing()
    worker(tier_lane(), "platinum", "p1").then_nothing()
    tier_lane().when(InferenceRouteRequested(asked="platinum"), entity="inference-gold", subsystem="inference").then_nothing()
    tier_lane().when(InferenceRouteRequested(asked="gold"), entity="inference-gold", subsystem="npc").then_nothing()
    tier_lane().when(InferenceRouteRequested(asked="gold"), entity="inference-silver", subsystem="inference").then_nothing()


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
        ({**GOOD, "tiers": {**GOOD["tiers"], "gold": {"needs_ms": 1, "overflow": [], "takes": "all"}}}, "takes must be"),
        ({**GOOD, "kinds": {"story_beat": {"tiers": ["lead"]}}}, "no such tier"),
        ({**GOOD, "kinds": {"story_beat": {"max_nano_usd": -1}}}, "max_nano_usd"),
    ],
)
def test_a_bad_table_is_refused_by_name(table: dict[str, Any], word: str) -> None:
    assert rules(GOOD, "router.toml").tiers["gold"].needs_ms == 1
    with pytest.raises(BadSettings, match=word):
        rules(table, "router.toml")
