"""Model management as tables: rollouts, what serves where, and models added to or taken from the catalogue."""

from __future__ import annotations

from bus.event import Event
from projections.projection import Change, Projection, Table, sql_beside
from schemas.gen.worldbus.models.v1 import models_pb2 as said

CATALOGUE = Table("models", key=("world", "tier", "model"))
ROLLOUTS = Table("rollouts", key=("world", "tier", "number"))
CHOICES = Table("model_choices", key=("world", "tier", "model"), adds=("chosen",))


def added(event: Event, it: said.ModelAdded) -> Change:
    model = it.model
    return CATALOGUE.put(
        *(event.world, event.entity, model.name),
        retired=False, source=model.source, engine=model.engine, license=model.license, context_tokens=model.context_tokens,
        prompt_nano_usd=model.prompt_nano_usd, completion_nano_usd=model.completion_nano_usd,
    )  # fmt: skip


def retired(event: Event, it: said.ModelRetired) -> Change:
    return CATALOGUE.put(event.world, event.entity, it.model, retired=True)


def started(event: Event, it: said.RolloutStarted) -> Change:
    return ROLLOUTS.put(
        *(event.world, event.entity, it.number),
        model=it.model, previous=it.previous, worlds=list(it.worlds), stages=len(it.stages), why=it.reason, standing="under_way",
        started_at=event.time_ns,
    )  # fmt: skip


def staged(event: Event, it: said.RolloutStageReached) -> Change:
    return ROLLOUTS.put(
        event.world, event.entity, it.number, stage=it.stage, percent=it.percent, requests=0, failures=0, late=0, staged_at=event.time_ns
    )


def counted(event: Event, it: said.RolloutHealthCounted) -> Change:
    return ROLLOUTS.put(event.world, event.entity, it.number, requests=it.requests, failures=it.failures, late=it.late)


def completed(event: Event, it: said.RolloutCompleted) -> Change:
    return ROLLOUTS.put(event.world, event.entity, it.number, standing="completed", ended_at=event.time_ns)


def rolled_back(event: Event, it: said.RolloutRolledBack) -> Change:
    return ROLLOUTS.put(
        event.world, event.entity, it.number, standing="rolled_back", percent=0, code=it.code, reason=it.reason, ended_at=event.time_ns
    )


def chosen(event: Event, it: said.ModelChosen) -> Change:
    return CHOICES.put(event.world, event.entity, it.model, chosen=1)


models = Projection(
    name="models",
    version=1,
    said_by="models",
    schema=sql_beside(__file__),
    tables=(CATALOGUE, ROLLOUTS, CHOICES),
    on={
        said.ModelAdded: added,
        said.ModelRetired: retired,
        said.RolloutStarted: started,
        said.RolloutStageReached: staged,
        said.RolloutHealthCounted: counted,
        said.RolloutCompleted: completed,
        said.RolloutRolledBack: rolled_back,
        said.ModelChosen: chosen,
    },
)
