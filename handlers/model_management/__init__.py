"""Model management as a handler, `models`: which model serves a tier, and how a new one takes over.

    RolloutStartRequested ──▶ RolloutStarted, RolloutStageReached … RolloutCompleted       RollbackRequested ──▶ RolloutRolledBack
    ModelHealthReported (inference) ──▶ RolloutHealthCounted [, RolloutRolledBack]
    ModelAddRequested ──▶ ModelAdded     ModelRetireRequested ──▶ ModelRetired     ModelChoiceRequested ──▶ ModelChosen

A lane is a tier. A stage lasts its real time and until enough requests were told of. A sick model is taken back at the very report.
The first catalogue is data: `model_management(tables)` makes the handler under given ones; a game gives `models` its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from bus.event import Event
from bus.handler import ByWorld, Handler
from handlers.answering import ANSWERS, answering
from handlers.model_management.decide import decide
from handlers.model_management.state import Tier, evolve, model_for
from handlers.model_management.tables import TIERS, Tables
from handlers.plausible import UNBOUNDED, Bounds
from schemas.gen.worldbus.inference.v1.inference_pb2 import ModelHealthReported
from schemas.gen.worldbus.models.v1 import models_pb2 as said
from schemas.gen.worldbus.time.v1.time_pb2 import WakeCancelRequested, WakeFired, WakeRequested

if TYPE_CHECKING:
    from handlers.content import Content

__all__ = ["Tier", "entities", "model_for", "model_management", "models"]


def entities(event: Event) -> Sequence[str]:
    """Wishes of operators concern the tier they are about; choices and reports the tier they name."""
    match event.data:
        case ModelHealthReported() as it:
            return (it.tier,) if event.subsystem == "inference" and it.tier in TIERS else ()
        case said.ModelChoiceRequested() as it:
            return (it.tier if it.tier in TIERS else event.entity,)
        case WakeFired() as woken:
            return (woken.entity,) if woken.subsystem == "models" and event.subsystem == "time" else ()
        case _:
            return (event.entity,)


def _initial(tables: Tables, tier: str) -> Tier:
    table = tables.tiers.get(tier)
    return Tier(name=tier) if table is None else Tier(name=tier, serves=table.serves, models=table.models)


models: Final[ByWorld[Content]] = ByWorld(
    name="models",
    listens_to=(
        said.ModelAddRequested,
        said.ModelRetireRequested,
        said.RolloutStartRequested,
        said.RollbackRequested,
        said.ModelChoiceRequested,
        ModelHealthReported,
        WakeFired,
    ),
    emits=(
        said.ModelAdded,
        said.ModelRetired,
        said.RolloutStarted,
        said.RolloutStageReached,
        said.RolloutHealthCounted,
        said.RolloutStageExtended,
        said.RolloutCompleted,
        said.RolloutRolledBack,
        said.ModelChosen,
        said.ModelRequestRefused,
        WakeRequested,
        WakeCancelRequested,
        *ANSWERS,
    ),
    make=lambda content: model_management(content.models, content.bounds),
)


def model_management(tables: Tables, bounds: Bounds = UNBOUNDED) -> Handler[Tier]:
    """The handler under the given tables."""
    handler = models.with_rules(
        initial=partial(_initial, tables),
        decide=partial(decide, tables),
        evolve=evolve,
        entities=entities,
    )
    return answering(handler, bounds)
