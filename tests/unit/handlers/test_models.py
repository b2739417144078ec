"""The rules of model management, one by one."""

from __future__ import annotations

from typing import Any

import pytest

from bus.errors import BadSettings
from bus.testing import WORLD, Case, Rehearsal, given
from handlers.model_management import Tier, model_for
from handlers.model_management.tables import catalogue
from schemas.gen.worldbus.inference.v1.inference_pb2 import ModelHealthReported
from schemas.gen.worldbus.models.v1 import models_pb2 as said
from schemas.gen.worldbus.models.v1.types_pb2 import Model, Stage
from schemas.gen.worldbus.request.v1.request_pb2 import RequestFoundDone
from schemas.gen.worldbus.time.v1.time_pb2 import ClockStartRequested, RealTimePassed, WakeCancelRequested, WakeFired, WakeRequested
from tests.duskmarket import models, time

OLD, NEW, SOAK = "qwen25-3b-awq", "qwen25-1_5b", 60_000  # of worlds/duskmarket/models.toml
ENOUGH = 50  # requests
STAGES = [Stage(percent=10, soak_ms=SOAK), Stage(percent=100, soak_ms=SOAK)]
FRESH = Model(name="tiny", source="org/tiny", engine="vllm", license="MIT", context_tokens=1)


def start(**fields: Any) -> said.RolloutStartRequested:
    return said.RolloutStartRequested(**{"model": NEW, "stages": STAGES, **fields})


def under_way(**fields: Any) -> Case[Tier]:
    return given(models, entity="gold").when(start(**fields), subsystem="operator")


def report(
    case: Case[Tier], requests: int = ENOUGH, failures: int = 0, late: int = 0, *, ready: bool = True, model: str = NEW
) -> Case[Tier]:
    told = ModelHealthReported(tier="gold", worker="g1", requests=requests, failures=failures, late=late, ready=ready)
    return case.when(told, entity=model, subsystem="inference")


def woken(case: Case[Tier], look: int) -> Case[Tier]:
    return case.when(WakeFired(subsystem="models", entity="gold", name=f"rollout-1-{look}"), entity="clock", subsystem="time")


def completed(**fields: Any) -> Case[Tier]:
    return woken(report(woken(report(under_way(**fields)), 0)), 1)


def refusal(case: Case[Any]) -> str:
    (no,) = case.said
    assert isinstance(no, said.ModelRequestRefused)
    assert no.request_event_id
    assert len(no.reason) > 20
    return no.code


def choice(case: Case[Tier], key: str, world: str = "") -> said.ModelChosen:
    wish = said.ModelChoiceRequested(tier="gold", key=key, world=world, request_id="r1")
    (answer,) = case.when(wish, entity="mira", subsystem="npc").said
    assert isinstance(answer, said.ModelChosen)
    return answer


def test_a_rollout_begins_with_its_first_stage() -> None:
    under_way(reason="half the price").then(
        said.RolloutStarted(number=1, model=NEW, previous=OLD, stages=STAGES, reason="half the price"),
        said.RolloutStageReached(number=1, stage=1, stages=2, percent=10),
        WakeRequested(name="rollout-1-0", in_real_ms=SOAK),
    )


def test_a_healthy_stage_leads_to_the_next_and_the_last_to_completion() -> None:
    case = woken(report(under_way()), 0)
    case.then(said.RolloutStageReached(number=1, stage=2, stages=2, percent=100), WakeRequested(name="rollout-1-1", in_real_ms=SOAK))
    case = woken(report(case), 1).then(said.RolloutCompleted(number=1, model=NEW, previous=OLD))

    assert choice(case, "mira").model == NEW
    assert choice(case, "mira").rollout == 0


def test_a_stage_with_too_few_requests_lasts_as_long_again() -> None:
    case = woken(report(under_way(), requests=ENOUGH - 1), 0)

    case.then(
        said.RolloutStageExtended(number=1, stage=1, requests=ENOUGH - 1, wanted=ENOUGH), WakeRequested(name="rollout-1-1", in_real_ms=SOAK)
    )
    woken(case, 0).then_nothing()
    woken(report(case, requests=1), 1).then_types(said.RolloutStageReached, WakeRequested)


@pytest.mark.parametrize(("told", "code"), [({"failures": 2}, "failures"), ({"late": 3}, "late")])
def test_failed_health_takes_the_model_back_at_once(told: dict[str, int], code: str) -> None:
    case = report(under_way(), **told)

    counted, cancelled, back = case.said
    assert isinstance(counted, said.RolloutHealthCounted)
    assert cancelled == WakeCancelRequested(name="rollout-1-0")
    assert isinstance(back, said.RolloutRolledBack)
    assert (back.number, back.model, back.previous, back.code) == (1, NEW, OLD, code)
    assert {choice(case, str(key)).model for key in range(50)} == {OLD}
    woken(case, 0).then_nothing()


def test_health_within_the_limits_goes_on() -> None:
    report(under_way(), requests=100, failures=2, late=5).then(said.RolloutHealthCounted(number=1, requests=100, failures=2, late=5))


def test_few_requests_do_not_judge_and_reports_add_up() -> None:
    case = report(under_way(), requests=10, failures=10).then_types(said.RolloutHealthCounted)

    report(case, requests=ENOUGH - 10).then_types(said.RolloutHealthCounted, WakeCancelRequested, said.RolloutRolledBack)


def test_an_engine_that_stays_not_ready_is_taken_back() -> None:
    case = report(report(under_way(), 0, ready=False), 0, ready=False)
    case = report(report(report(case, 0), 0, ready=False), 0, ready=False)
    assert case.state.under_way is not None

    assert report(case, 0, ready=False).state.under_way is None


def test_reports_on_others_or_without_sense_do_not_count() -> None:
    report(under_way(), model=OLD).then_nothing()
    report(under_way(), requests=1, failures=2).then_nothing()
    report(under_way(), requests=-1).then_nothing()
    under_way().when(ModelHealthReported(tier="gold", requests=1), entity=NEW, subsystem="game").then_nothing()
    report(completed(), failures=ENOUGH).then_nothing()


def test_an_operator_may_take_a_rollout_back_under_way_or_completed() -> None:
    wish = said.RollbackRequested(reason="the players complain")
    back = said.RolloutRolledBack(number=1, model=NEW, previous=OLD, code="asked", reason="the players complain")

    under_way().when(wish, subsystem="operator").then(WakeCancelRequested(name="rollout-1-0"), back)
    case = completed().when(wish, subsystem="operator").then(back)
    assert choice(case, "mira").model == OLD
    assert refusal(case.when(wish, subsystem="operator")) == "NOTHING_TO_ROLL_BACK"


def test_a_share_of_the_keys_gets_the_new_model_and_always_the_same() -> None:
    case = under_way(stages=[Stage(percent=20, soak_ms=SOAK), Stage(percent=100, soak_ms=SOAK)])
    chosen = {str(key): choice(case, str(key)) for key in range(500)}

    share = sum(answer.model == NEW for answer in chosen.values()) / len(chosen)
    assert 0.14 < share < 0.26
    assert all((answer.model == NEW) == (answer.bucket < 2000) for answer in chosen.values())
    assert all(answer == choice(case, key) for key, answer in list(chosen.items())[:50])
    assert {answer.rollout for answer in chosen.values()} == {1}


def test_only_the_worlds_of_a_rollout_take_part() -> None:
    case = under_way(worlds=["a"], stages=[Stage(percent=100, soak_ms=SOAK)])

    assert (choice(case, "mira", "a").model, choice(case, "mira", "b").model) == (NEW, OLD)
    assert choice(case, "mira", "b").rollout == 0


def test_a_world_keeps_what_a_rollout_of_its_own_brought() -> None:
    case = (
        completed(worlds=["a"])
        .when(said.ModelAddRequested(model=FRESH), subsystem="operator")
        .when(start(model="tiny", worlds=["b"]), subsystem="operator")
    )
    assert [choice(case, "mira", world).model for world in ("a", "c")] == [NEW, OLD]

    case = case.when(said.RollbackRequested(), subsystem="operator")
    assert [choice(case, "mira", world).model for world in ("a", "b", "c")] == [NEW, OLD, OLD]
    assert refusal(case.when(start(worlds=["a"]), subsystem="operator")) == "IN_USE"
    assert choice(completed(worlds=["a"]).when(said.RollbackRequested(), subsystem="operator"), "mira", "a").model == OLD


def test_without_a_world_the_wish_means_its_own() -> None:
    assert choice(under_way(worlds=[WORLD], stages=[Stage(percent=100, soak_ms=SOAK)]), "mira").model == NEW


def test_the_catalogue_takes_models_up_and_lets_them_go() -> None:
    case = given(models, entity="silver").when(said.ModelAddRequested(model=FRESH), subsystem="operator").then(said.ModelAdded(model=FRESH))
    case.when(said.ModelAddRequested(model=FRESH), subsystem="operator").then_types(RequestFoundDone)
    case = case.when(said.ModelRetireRequested(model="tiny"), subsystem="operator").then(said.ModelRetired(model="tiny"))

    assert refusal(case.when(said.ModelRetireRequested(model="tiny"), subsystem="operator")) == "UNKNOWN_MODEL"


@pytest.mark.parametrize("model", [OLD, NEW])
def test_what_serves_or_would_serve_again_is_neither_changed_nor_retired(model: str) -> None:
    for case in (under_way(), completed()):
        assert refusal(case.when(said.ModelRetireRequested(model=model), subsystem="operator")) == "IN_USE"
        assert (
            refusal(
                case.when(
                    said.ModelAddRequested(model=Model(name=model, source="s", engine="vllm", context_tokens=1)), subsystem="operator"
                )
            )
            == "IN_USE"
        )


def test_one_rollout_at_a_time() -> None:
    assert refusal(under_way().when(start(), subsystem="operator")) == "UNDER_WAY"


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        (start(model="gpt"), "UNKNOWN_MODEL"),
        (start(model=OLD), "IN_USE"),
        (start(stages=[]), "BAD_STAGES"),
        (start(stages=[Stage(percent=50, soak_ms=SOAK)]), "BAD_STAGES"),
        (start(stages=[Stage(percent=100, soak_ms=SOAK)] * 2), "BAD_STAGES"),
        (start(stages=[Stage(percent=0, soak_ms=SOAK), Stage(percent=100, soak_ms=SOAK)]), "BAD_STAGES"),
        (start(stages=[Stage(percent=100, soak_ms=999)]), "BAD_STAGES"),
        (start(worlds=["a b"]), "BAD_WORLD"),
        (start(reason="r" * 257), "TOO_LONG"),
        (said.RollbackRequested(), "NOTHING_TO_ROLL_BACK"),
        (said.ModelAddRequested(model=Model(name="a b")), "BAD_MODEL"),
        (said.ModelAddRequested(model=Model(name="a", source="s", engine="llama", context_tokens=1)), "BAD_MODEL"),
        (said.ModelAddRequested(model=Model(name="a", source="s", engine="vllm")), "BAD_MODEL"),
        (said.ModelAddRequested(model=Model(name="a", source="s", engine="vllm", context_tokens=1, prompt_nano_usd=-1)), "BAD_MODEL"),
        (said.ModelChoiceRequested(tier="gold"), "BAD_KEY"),
        (said.ModelChoiceRequested(tier="gold", key="k", world="a b"), "BAD_WORLD"),
        (said.ModelChoiceRequested(tier="lead", key="k"), "UNKNOWN_TIER"),
    ],
)
def test_bad_wishes_are_refused(wish: Any, code: str) -> None:
    assert refusal(given(models, entity="gold").when(wish, subsystem="operator")) == code


def test_there_are_three_tiers() -> None:
    assert refusal(given(models, entity="lead").when(start(), subsystem="operator")) == "UNKNOWN_TIER"


def test_stages_run_by_real_time() -> None:
    town = Rehearsal(time, models)
    town.say(ClockStartRequested(), entity="clock")
    town.say(start(), entity="gold", subsystem="operator")
    for _ in STAGES:
        town.say(ModelHealthReported(tier="gold", requests=ENOUGH, ready=True), entity=NEW, subsystem="inference")
        assert not town.said(said.RolloutCompleted)
        town.say(RealTimePassed(real_ms=SOAK), entity="clock")

    assert town.said(said.RolloutCompleted, entity="gold")
    assert model_for(town.state(models, "gold"), "anywhere", "mira")[0] == NEW


GOOD: dict[str, Any] = {
    "health": {"max_failure_percent": 1, "max_late_percent": 1, "min_requests": 1, "unready_reports": 1},
    "tiers": {
        tier: {
            "serves": "m",
            "models": {
                "m": {
                    "source": "s",
                    "engine": "vllm",
                    "license": "",
                    "context_tokens": 1,
                    "prompt_nano_usd": 0,
                    "completion_nano_usd": 0,
                }
            },
        }
        for tier in ("gold", "silver", "bronze")
    },
}


@pytest.mark.parametrize(
    ("table", "word"),
    [
        ({}, "health"),
        ({**GOOD, "health": {**GOOD["health"], "max_late_percent": 100}}, "percentages"),
        ({**GOOD, "health": {**GOOD["health"], "min_requests": 0}}, "min_requests"),
        ({**GOOD, "tiers": {}}, "tiers: wanted"),
        ({**GOOD, "tiers": {**GOOD["tiers"], "gold": {**GOOD["tiers"]["gold"], "serves": "x"}}}, "no such model 'x'"),
        (
            {**GOOD, "tiers": {**GOOD["tiers"], "gold": {"serves": "m", "models": {"m": {}}}}},
            "models.m.source: wanted a text, found an empty table",
        ),
    ],
)
def test_a_bad_table_is_refused_by_name(table: dict[str, Any], word: str) -> None:
    assert catalogue(GOOD, "models.toml").tiers["gold"].serves == "m"
    with pytest.raises(BadSettings, match=word):
        catalogue(table, "models.toml")
