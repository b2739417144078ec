"""A tier's knowledge about its models, folded from the handler's events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Final

from bus.event import Event
from handlers.model_management.tables import Model
from schemas.gen.worldbus.models.v1 import models_pb2 as said
from schemas.gen.worldbus.models.v1 import types_pb2 as parts
from schemas.gen.worldbus.time.v1.time_pb2 import WakeRequested

BUCKETS: Final = 10_000  # a hundredth of a percent each


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """A model takes over. `stage` 0: before the first; counts are those of the present stage."""

    number: int
    model: str
    previous: str
    stages: tuple[tuple[int, int], ...]  # (percent, real milliseconds)
    worlds: tuple[str, ...]
    before: tuple[tuple[str, str], ...] = ()  # which worlds had a model of their own when it began
    stage: int = 0
    looks: int = 0  # wakes asked for, so that one still under way is told from the next
    requests: int = 0
    failures: int = 0
    late: int = 0
    unready: int = 0  # reports in a row
    completed: bool = False

    @property
    def percent(self) -> int:
        """The share that the new model has now."""
        return self.stages[self.stage - 1][0] if self.stage else 0

    @property
    def wake(self) -> str:
        """Name of the wake that ends the present stage."""
        return f"rollout-{self.number}-{self.looks}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """One tier. `rollout` is the latest one, under way or completed; None before the first and after one was taken back."""

    name: str
    serves: str = ""  # worlds without a model of their own
    in_world: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, Model] = field(default_factory=dict)
    rollouts: int = 0  # so far
    rollout: Rollout | None = None

    def serving(self, world: str) -> str:
        """The model of a world, apart from a rollout under way."""
        return self.in_world.get(world, self.serves)

    @property
    def under_way(self) -> Rollout | None:
        """The rollout that has not ended."""
        return self.rollout if self.rollout is not None and not self.rollout.completed else None


def bucket(tier: str, number: int, world: str, key: str) -> int:
    """The place of a key in a rollout, 0 to 9999: always the same one, so that a growing share only ever adds keys."""
    return int.from_bytes(blake2b(f"{tier}\n{number}\n{world}\n{key}".encode(), digest_size=8).digest(), "big") % BUCKETS


def model_for(tier: Tier, world: str, key: str) -> tuple[str, int, int]:
    """The model for a key in a world, the rollout that decided it (0: none), and the key's bucket."""
    rollout = tier.under_way
    place = bucket(tier.name, rollout.number if rollout else tier.rollouts, world, key)
    if rollout is None or (rollout.worlds and world not in rollout.worlds):
        return tier.serving(world), 0, place
    new = place < rollout.percent * (BUCKETS // 100)
    return rollout.model if new else tier.serving(world), rollout.number, place


def evolve(tier: Tier, event: Event) -> Tier:
    """The tier after the handler said `event`."""
    match event.data:
        case said.RolloutHealthCounted() as it:
            return _rolled(tier, requests=it.requests, failures=it.failures, late=it.late, unready=it.unready)
        case said.RolloutStageReached() as it:
            return _rolled(tier, stage=it.stage, requests=0, failures=0, late=0, unready=0)
        case WakeRequested():
            return _rolled(tier, looks=tier.rollout.looks + 1) if tier.rollout else tier
        case said.RolloutStarted() as it:
            return replace(tier, rollout=begun(it, tier), rollouts=it.number)
        case said.RolloutCompleted() as it:
            return _completed(_rolled(tier, completed=True), it.model)
        case said.RolloutRolledBack() as it:
            before = dict(tier.rollout.before) if tier.rollout else tier.in_world
            return replace(tier, rollout=None, serves=it.previous, in_world=before)
        case said.ModelAdded() as it:
            return replace(tier, models={**tier.models, it.model.name: from_proto(it.model)})
        case said.ModelRetired() as it:
            return replace(tier, models={name: model for name, model in tier.models.items() if name != it.model})
        case _:
            return tier


def begun(it: said.RolloutStarted, tier: Tier) -> Rollout:
    """A rollout before its first stage."""
    return Rollout(
        number=it.number,
        model=it.model,
        previous=it.previous,
        stages=tuple((stage.percent, stage.soak_ms) for stage in it.stages),
        worlds=tuple(it.worlds),
        before=tuple(sorted(tier.in_world.items())),
    )


def _completed(tier: Tier, model: str) -> Tier:
    worlds = tier.rollout.worlds if tier.rollout else ()
    if not worlds:
        return replace(tier, serves=model, in_world={})
    return replace(tier, in_world={**tier.in_world, **dict.fromkeys(worlds, model)})


def _rolled(tier: Tier, **fields: object) -> Tier:
    return tier if tier.rollout is None else replace(tier, rollout=replace(tier.rollout, **fields))  # type: ignore[arg-type]


def from_proto(it: parts.Model) -> Model:
    """The model of an event."""
    return Model(
        source=it.source,
        engine=it.engine,
        license=it.license,
        context_tokens=it.context_tokens,
        prompt_nano_usd=it.prompt_nano_usd,
        completion_nano_usd=it.completion_nano_usd,
    )
