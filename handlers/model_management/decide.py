"""The decisions about models: catalogue, rollout by stages, and taking back what is not well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final

from google.protobuf.message import Message

from bus.event import Event
from handlers.model_management.state import Rollout, Tier, begun, from_proto, model_for
from handlers.model_management.tables import TIERS, Health, Tables
from handlers.names import NAME_RULE, is_token
from schemas.gen.worldbus.inference.v1.inference_pb2 import ModelHealthReported
from schemas.gen.worldbus.models.v1 import models_pb2 as said
from schemas.gen.worldbus.time.v1.time_pb2 import WakeCancelRequested, WakeFired, WakeRequested

MAX_MODELS: Final = 64  # per tier
MAX_STAGES: Final = 16
MAX_WORLDS: Final = 64  # in a rollout
MAX_OWN_WORLDS: Final = 256
MAX_REASON: Final = 256  # characters
MAX_ID: Final = 64
MIN_SOAK_MS: Final = 1_000
MAX_SOAK_MS: Final = 86_400_000
MAX_COUNT: Final = 10**12  # requests in a report

Said = Sequence[Message]
Problem = tuple[str, str]  # (code, reason)


def decide(tables: Tables, event: Event, tier: Tier) -> Said:
    """The answer to an operator, a worker, the clock, or whoever asks for a model."""
    match event.data:
        case ModelHealthReported() as it:
            return _reported(tables.health, event, it, tier)
        case said.ModelChoiceRequested() as it:
            return _chosen(event, it, tier)
        case WakeFired() as it:
            return _looked(tables.health, it, tier)
        case _ if event.entity not in TIERS:
            return _refused(event, "UNKNOWN_TIER", f"wanted one of {', '.join(TIERS)}, found {event.entity}: say it about a tier")
        case said.RolloutStartRequested() as it:
            return _start(event, it, tier)
        case said.RollbackRequested() as it:
            return _roll_back(event, it, tier)
        case said.ModelAddRequested() as it:
            return _add(event, it, tier)
        case said.ModelRetireRequested() as it:
            return _retire(event, it, tier)
        case _:
            return ()


def _refused(event: Event, code: str, reason: str) -> Said:
    return (said.ModelRequestRefused(request=event.name, request_event_id=event.id, code=code, reason=reason),)


def _chosen(event: Event, it: said.ModelChoiceRequested, tier: Tier) -> Said:
    if it.tier not in TIERS:
        return _refused(event, "UNKNOWN_TIER", f"tier must be one of {', '.join(TIERS)}, found {ascii(it.tier)[:80]}")
    if not 1 <= len(it.key) <= MAX_ID or len(it.request_id) > MAX_ID:
        return _refused(
            event, "BAD_KEY", f"key needs 1 to {MAX_ID} characters, request_id at most as many; found {len(it.key)}, {len(it.request_id)}"
        )
    if it.world and not is_token(it.world):
        return _refused(event, "BAD_WORLD", f"a world must be {NAME_RULE}, found {ascii(it.world)[:80]}")
    model, rollout, place = model_for(tier, it.world or event.world, it.key)
    return (
        said.ModelChosen(
            request_id=it.request_id or event.id,
            requester_subsystem=event.subsystem,
            requester_entity=event.entity,
            model=model,
            rollout=rollout,
            bucket=place,
        ),
    )


def _serving(tier: Tier) -> set[str]:
    """Models that some key gets, or would get again after a rollback."""
    rollout = tier.rollout
    again = {rollout.model, rollout.previous, *dict(rollout.before).values()} if rollout else set()
    return {tier.serves, *tier.in_world.values(), *again}


def _add(event: Event, it: said.ModelAddRequested, tier: Tier) -> Said:
    name, model = it.model.name, from_proto(it.model)
    if not is_token(name):
        return _refused(event, "BAD_MODEL", f"a model's name must be {NAME_RULE}, found {ascii(name)[:80]}")
    if problem := model.problem():
        return _refused(event, "BAD_MODEL", problem)
    if tier.models.get(name) == model:
        return ()
    if name in tier.models and name in _serving(tier):
        return _refused(event, "IN_USE", f"{name} is serving: add the changed model under another name and let it take over")
    if name not in tier.models and len(tier.models) >= MAX_MODELS:
        return _refused(event, "TOO_MANY", f"{MAX_MODELS} models are in the catalogue: retire one")
    return (said.ModelAdded(model=it.model),)


def _retire(event: Event, it: said.ModelRetireRequested, tier: Tier) -> Said:
    if it.model not in tier.models:
        return _unknown(event, it.model, tier)
    if it.model in _serving(tier):
        return _refused(event, "IN_USE", f"{it.model} is serving, or the one to go back to: let another model take over first")
    return (said.ModelRetired(model=it.model),)


def _unknown(event: Event, model: str, tier: Tier) -> Said:
    known = ", ".join(sorted(tier.models)[:16])
    return _refused(event, "UNKNOWN_MODEL", f"wanted one of {known}, found {ascii(model)[:80]}: add it first")


def _start(event: Event, it: said.RolloutStartRequested, tier: Tier) -> Said:
    if it.model not in tier.models:
        return _unknown(event, it.model, tier)
    if under_way := tier.under_way:
        return _refused(event, "UNDER_WAY", f"rollout {under_way.number} of {under_way.model} is under way: wait, or say RollbackRequested")
    if {it.model} == ({tier.serving(world) for world in it.worlds} or {tier.serves, *tier.in_world.values()}):
        return _refused(event, "IN_USE", f"{it.model} serves already: name another model")
    if problem := _wrong_rollout(it) or _too_many_worlds(it, tier):
        return _refused(event, *problem)
    number = tier.rollouts + 1
    started = said.RolloutStarted(
        number=number, model=it.model, previous=tier.serves, stages=it.stages, worlds=sorted(set(it.worlds)), reason=it.reason
    )
    return (started, *_stage(begun(started, tier), 1))


def _too_many_worlds(it: said.RolloutStartRequested, tier: Tier) -> Problem | None:
    if len({*tier.in_world, *it.worlds}) <= MAX_OWN_WORLDS:
        return None
    return "TOO_MANY", f"at most {MAX_OWN_WORLDS} worlds may have a model of their own: let one take over in all worlds first"


def _wrong_rollout(it: said.RolloutStartRequested) -> Problem | None:
    percents = [stage.percent for stage in it.stages]
    if not 1 <= len(percents) <= MAX_STAGES or percents[-1] != 100:
        return "BAD_STAGES", f"wanted 1 to {MAX_STAGES} stages, the last of 100 percent, found {percents[: MAX_STAGES + 1]}"
    if percents[0] < 1 or any(one >= other for one, other in pairwise(percents)):
        return "BAD_STAGES", f"percentages must rise from 1 to 100, found {percents}"
    if any(not MIN_SOAK_MS <= stage.soak_ms <= MAX_SOAK_MS for stage in it.stages):
        return "BAD_STAGES", f"soak_ms must be {MIN_SOAK_MS} to {MAX_SOAK_MS}, found {[stage.soak_ms for stage in it.stages]}"
    if len(it.worlds) > MAX_WORLDS or not all(map(is_token, it.worlds)):
        return "BAD_WORLD", f"at most {MAX_WORLDS} worlds of {NAME_RULE}, found {len(it.worlds)}: {ascii(list(it.worlds[:4]))[:120]}"
    if len(it.reason) > MAX_REASON:
        return "TOO_LONG", f"reason may have {MAX_REASON} characters, found {len(it.reason)}"
    return None


def _stage(rollout: Rollout, stage: int) -> Said:
    percent, soak_ms = rollout.stages[stage - 1]
    reached = said.RolloutStageReached(number=rollout.number, stage=stage, stages=len(rollout.stages), percent=percent)
    return reached, WakeRequested(name=rollout.wake, in_real_ms=soak_ms)


def _reported(health: Health, event: Event, it: ModelHealthReported, tier: Tier) -> Said:
    rollout = tier.under_way
    if rollout is None or event.entity != rollout.model or not _sane(it):
        return ()
    counted = said.RolloutHealthCounted(
        number=rollout.number,
        requests=min(MAX_COUNT, rollout.requests + it.requests),
        failures=min(MAX_COUNT, rollout.failures + it.failures),
        late=min(MAX_COUNT, rollout.late + it.late),
        unready=0 if it.ready else rollout.unready + 1,
    )
    sick = _sickness(health, counted)
    if sick is None:
        return (counted,)
    return counted, WakeCancelRequested(name=_pending(rollout)), _back(rollout, *sick)


def _sane(it: ModelHealthReported) -> bool:
    return 0 <= it.failures <= it.requests <= MAX_COUNT and 0 <= it.late <= it.requests


def _sickness(health: Health, now: said.RolloutHealthCounted) -> Problem | None:
    if now.unready >= health.unready_reports:
        return "not_ready", f"the engine was not ready in {now.unready} reports in a row"
    if now.requests < health.min_requests:
        return None
    for code, found, most in (("failures", now.failures, health.max_failure_percent), ("late", now.late, health.max_late_percent)):
        if found * 100 > most * now.requests:
            return code, f"wanted at most {most:g} %, found {found} of {now.requests} requests"
    return None


def _looked(health: Health, it: WakeFired, tier: Tier) -> Said:
    rollout = tier.under_way
    if rollout is None or it.name != _pending(rollout):
        return ()
    if rollout.requests < health.min_requests:
        again = WakeRequested(name=rollout.wake, in_real_ms=rollout.stages[rollout.stage - 1][1])
        extended = said.RolloutStageExtended(
            number=rollout.number, stage=rollout.stage, requests=rollout.requests, wanted=health.min_requests
        )
        return extended, again
    if rollout.stage < len(rollout.stages):
        return _stage(rollout, rollout.stage + 1)
    return (said.RolloutCompleted(number=rollout.number, model=rollout.model, previous=rollout.previous),)


def _pending(rollout: Rollout) -> str:
    """Name of the wake that was asked for last."""
    return replace(rollout, looks=rollout.looks - 1).wake


def _roll_back(event: Event, it: said.RollbackRequested, tier: Tier) -> Said:
    rollout = tier.rollout
    if rollout is None:
        return _refused(event, "NOTHING_TO_ROLL_BACK", f"{tier.serves} serves {event.entity} and no rollout led to it: start one instead")
    if len(it.reason) > MAX_REASON:
        return _refused(event, "TOO_LONG", f"reason may have {MAX_REASON} characters, found {len(it.reason)}")
    cancel = () if rollout.completed else (WakeCancelRequested(name=_pending(rollout)),)
    return (*cancel, _back(rollout, "asked", it.reason))


def _back(rollout: Rollout, code: str, reason: str) -> said.RolloutRolledBack:
    return said.RolloutRolledBack(number=rollout.number, model=rollout.model, previous=rollout.previous, code=code, reason=reason)
