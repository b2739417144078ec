"""Laws of the router and of model management, whatever happens in whatever order."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.testing import Case, Rehearsal
from bus.testing import given as lane
from handlers.model_management import Tier, model_for
from handlers.model_management.state import BUCKETS, bucket
from handlers.router import Routing
from handlers.router.routes import rendezvous
from handlers.router.state import Route, worker_key
from schemas.gen.worldbus.capability.v1.capability_pb2 import ServiceRegisterRequested, ServiceUnregisterRequested
from schemas.gen.worldbus.capability.v1.types_pb2 import Offer
from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceRouteRequested, ModelHealthReported
from schemas.gen.worldbus.inference.v1.types_pb2 import TierStanding
from schemas.gen.worldbus.models.v1 import models_pb2 as rolled
from schemas.gen.worldbus.models.v1.types_pb2 import Stage
from schemas.gen.worldbus.router.v1 import router_pb2 as said
from schemas.gen.worldbus.time.v1.time_pb2 import ClockStartRequested, RealTimePassed
from tests.duskmarket import capability, models, router, time

relaxed = settings(deadline=None)
services = st.sampled_from(["a", "b"])
passing = st.builds(lambda ms: ("clock", "game", RealTimePassed(real_ms=ms)), st.integers(1, 60_000))
calls = st.one_of(
    passing,
    st.builds(lambda name, port: (name, "game", ServiceRegisterRequested(
        offers=[Offer(capability="tts")], endpoint=str(port), ttl_ms=3_600_000)), services, st.integers(0, 1)),
    st.builds(lambda name: (name, "game", ServiceUnregisterRequested()), services),
    st.just(("mira", "npc", said.RouteRequested(capability="tts"))),
    st.just(("mira", "npc", said.RouteRequested(capability="tts"))),
    st.builds(lambda name, ok: ("gs", "game", said.ServiceCallReported(service=name, capability="tts", ok=ok)), services, st.booleans()),
    st.builds(lambda name: ("gs", "game", said.ServiceCallReported(service=name, capability="tts")), services),
)  # fmt: skip


@given(st.lists(calls, max_size=60))
@relaxed
def test_no_call_goes_to_an_open_circuit_and_one_trial_to_a_half_open_one(words: list[tuple[str, str, Any]]) -> None:
    town = Rehearsal(time, capability, router)
    town.say(ClockStartRequested(), entity="clock")
    for entity, subsystem, message in words:
        town.say(message, entity=entity, subsystem=subsystem)

    circuits: dict[str, str] = {}
    for event in town.log:
        match event.data:
            case said.RouteAdded() as it:
                circuits[it.service] = "closed"
            case said.RouteRemoved() as it:
                del circuits[it.service]
            case said.CircuitOpened() as it:
                assert circuits[it.service] in ("closed", "trial")
                circuits[it.service] = "open"
            case said.CircuitHalfOpened() as it:
                assert circuits[it.service] == "open"
                circuits[it.service] = "half_open"
            case said.CircuitClosed() as it:
                assert circuits[it.service] == "trial"
                circuits[it.service] = "closed"
            case said.RouteChosen() as it:
                assert circuits[it.service] == ("half_open" if it.trial else "closed")
                circuits[it.service] = "trial" if it.trial else "closed"
            case said.RouteRefused() as it:
                assert not {"closed", "half_open"} & set(circuits.values())
                assert (it.code == "NO_SERVICE") == (not circuits)
            case _:
                pass
    _sound(town, router, "tts", Routing)
    assert set(circuits) == set(town.state(router, "tts").routes)


def _sound(town: Rehearsal, handler: Any, entity: str, state: type[Any]) -> None:
    """The state is the fold of the log, and survives a snapshot."""
    now = town.state(handler, entity)
    assert town.refold().get((handler.name, entity), handler.initial(entity)) == now
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(now), type=state) == now


@given(st.text(max_size=20), st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.integers(1, 100), min_size=2, max_size=8))
def test_only_the_keys_of_a_service_that_goes_move(key: str, weights: dict[str, int]) -> None:
    routes = {name: Route(number=1, endpoint="", version=None, written="", weight=weight) for name, weight in weights.items()}
    first = rendezvous(key, routes)

    for gone in routes:
        left = {name: route for name, route in routes.items() if name != gone}
        assert (rendezvous(key, left) == first) == (gone != first)


tiers = st.sampled_from(["gold", "silver", "bronze"])
names = st.sampled_from(["w1", "w2", "w3"])
standing = st.builds(
    lambda tier, name, free, takes, cost: TierStanding(
        tier=tier, pool=tier, workers=[name], slots=8, free=free, predicted_ms=takes, cost_nano_usd=cost
    ),
    tiers, names, st.integers(0, 2), st.sampled_from([10, 300, 6000]), st.integers(0, 3),
)  # fmt: skip
workers = st.one_of(
    st.builds(
        lambda tier, name, failures, ready: ModelHealthReported(tier=tier, worker=name, requests=9, failures=failures, ready=ready),
        tiers, names, st.integers(0, 1), st.booleans(),
    ),
    st.builds(
        lambda tier, ms, standing: InferenceRouteRequested(request_id="r", asked=tier, slack_ms=ms, standing=standing),
        tiers, st.sampled_from([50, 400, 9000]), st.lists(standing, max_size=3, unique_by=lambda one: one.tier),
    ),
)  # fmt: skip


@given(st.lists(workers, max_size=40))
@relaxed
def test_a_request_goes_only_to_a_tier_that_is_well_and_can_answer_in_time(words: list[Any]) -> None:
    town, down = Rehearsal(router), dict[tuple[str, str], bool]()
    needs = {"gold": 100, "silver": 500, "bronze": 5000}
    for word in words:
        if isinstance(word, ModelHealthReported):
            town.say(word, entity="qwen", subsystem="inference")
            down[word.tier, word.worker] = not word.ready
            continue
        town.say(word, entity=f"inference-{word.asked}", subsystem="inference")
        answer = town.said(said.InferenceRouted)[-1]
        its = {one.tier: one for one in word.standing}
        if answer.tier == word.asked:
            assert answer.code == "no_better"
        else:
            assert answer.code in ("overflow", "broken")
            assert not down.get((answer.tier, its[answer.tier].workers[0]), False)
            assert max(needs[answer.tier], its[answer.tier].predicted_ms) <= word.slack_ms
            assert answer.tier != "gold" or its["gold"].free
    _sound(town, router, "inference-gold", Routing)


reports = st.builds(
    lambda tier, name, requests, failures, ready, free: ModelHealthReported(
        tier=tier, worker=name, requests=requests, failures=min(failures, requests), ready=ready, free_slots=free
    ),
    tiers, names, st.integers(0, 2), st.sampled_from([0, 0, 1]), st.sampled_from([True, True, True, False]), st.integers(0, 1),
)  # fmt: skip
SPAN_NS = 10_000_000_000


def _after(told: list[tuple[int, ModelHealthReported]]) -> Case[Routing]:
    """A lane of the router after these reports, each at its own time."""
    case = lane(router, entity="inference-gold")
    for at, report in told:
        case = case.when(report, entity="qwen", subsystem="inference", time_ns=(at + 1) * SPAN_NS)
    return case


@given(st.lists(reports, max_size=40))
@relaxed
def test_what_one_process_says_of_one_tier_is_no_news_of_another(told: list[ModelHealthReported]) -> None:
    numbered = list(enumerate(told))
    mixed = _after(numbered).state.workers

    for tier, name in {(one.tier, one.worker) for one in told}:
        own = [(at, one) for at, one in numbered if (one.tier, one.worker) == (tier, name)]
        key = worker_key(tier, name)
        assert mixed[key] == _after(own).state.workers[key]
    assert len(mixed) == len({(one.tier, one.worker) for one in told})


@given(st.lists(reports, max_size=20), reports)
@relaxed
def test_a_report_of_nothing_new_says_nothing(told: list[ModelHealthReported], idle: ModelHealthReported) -> None:
    case = _after(list(enumerate([*told, idle])))
    again = ModelHealthReported(tier=idle.tier, worker=idle.worker, ready=idle.ready, free_slots=1 - idle.free_slots)

    case.when(again, entity="qwen", subsystem="inference", time_ns=(len(told) + 2) * SPAN_NS).then_nothing()


@given(st.integers(1, 10**6), st.text(max_size=20), st.lists(st.text(max_size=20), max_size=20))
def test_buckets_are_stable_and_in_range(number: int, world: str, keys: list[str]) -> None:
    for key in keys:
        place = bucket("gold", number, world, key)
        assert 0 <= place < BUCKETS
        assert place == bucket("gold", number, world, key)


rollouts = st.one_of(
    passing,
    passing,
    st.builds(lambda model, worlds, percents: ("gold", "operator", rolled.RolloutStartRequested(
        model=model, worlds=worlds, stages=[Stage(percent=p, soak_ms=20_000) for p in (*sorted(percents), 100)])),
        st.sampled_from(["qwen25-3b-awq", "qwen25-1_5b"]), st.sampled_from([[], ["w1"], ["w2"]]), st.sets(st.integers(1, 99), max_size=3)),
    st.just(("gold", "operator", rolled.RollbackRequested())),
    st.builds(lambda model, n, bad, ready: (model, "inference", ModelHealthReported(
        tier="gold", requests=n, failures=n // 2 if bad else 0, ready=ready)),
        st.sampled_from(["qwen25-3b-awq", "qwen25-1_5b"]), st.integers(0, 100), st.booleans(), st.booleans()),
    st.builds(lambda model: (model, "inference", ModelHealthReported(tier="gold", requests=60, ready=True)),
        st.sampled_from(["qwen25-3b-awq", "qwen25-1_5b"])),
)  # fmt: skip


@given(st.lists(rollouts, max_size=40))
@relaxed
def test_a_rollout_only_adds_keys_until_it_ends_and_ends_once(words: list[tuple[str, str, Any]]) -> None:
    town = Rehearsal(time, models)
    town.say(ClockStartRequested(), entity="clock")
    keys = [(world, str(key)) for world in ("w1", "w2", "w3") for key in range(15)]
    new: set[tuple[str, str]] = set()
    number = 0
    for entity, subsystem, message in words:
        serving = {place: model_for(town.state(models, "gold"), *place)[0] for place in keys}
        town.say(message, entity=entity, subsystem=subsystem)
        tier = town.state(models, "gold")
        rollout = tier.under_way
        if rollout is None:
            number = 0
            continue
        if rollout.number != number:
            number, new = rollout.number, set()
            assert all(model_for(tier, *place)[0] in (serving[place], rollout.model) for place in keys)
        now = {place for place in keys if model_for(tier, *place)[1] and model_for(tier, *place)[0] == rollout.model}
        assert new <= now
        new = now

    ended = [event.data.number for event in town.log if isinstance(event.data, (rolled.RolloutCompleted, rolled.RolloutRolledBack))]
    asked_back = [it.number for it in town.said(rolled.RolloutRolledBack) if it.code == "asked"]
    assert all(ended.count(one) <= 1 + (one in asked_back) for one in ended)
    assert [it.number for it in town.said(rolled.RolloutStarted)] == list(range(1, len(town.said(rolled.RolloutStarted)) + 1))
    _sound(town, models, "gold", Tier)


@given(st.text(max_size=5))
def test_an_unknown_key_is_served_by_what_serves(key: str) -> None:
    tier = lane(models, entity="gold").state

    assert model_for(tier, "w", key)[:2] == (tier.serves, 0)
