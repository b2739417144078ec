"""The arcs of the world's story as a handler, `storyteller`.

    what happens ──▶ StoryArcBegan, StoryTensionChanged      a pulse ──▶ StoryBeatBegan, StoryFactEstablished, InferenceRequested
    the answer   ──▶ StoryNarrated, StoryChoiceOpened        a choice ──▶ StoryChoiceMade, StoryConsequence, SceneChangeRequested

What everybody may know is looked up for the prompt of a beat. The arcs are data: `storyteller_of(tables)` makes the
handler under given ones; a game gives `storyteller` its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from bus.event import Event
from bus.handler import ByWorld, Handler
from handlers.answering import ANSWERS, Silence, answering
from handlers.plausible import UNBOUNDED, Bounds
from handlers.storyteller.causes import CAUSE_EVENTS, causes
from handlers.storyteller.decide import decide
from handlers.storyteller.state import Arc, evolve
from handlers.storyteller.tables import Tables
from schemas.gen.worldbus.inference.v1 import inference_pb2 as inference
from schemas.gen.worldbus.narrative.v1.narrative_pb2 import SceneChangeRequested
from schemas.gen.worldbus.storyteller.v1 import storyteller_pb2 as said
from schemas.gen.worldbus.time.v1.time_pb2 import WakeCancelRequested, WakeFired, WakeRequested

if TYPE_CHECKING:
    from handlers.content import Content

NAME: Final = "storyteller"
_REQUESTS: Final = frozenset({"StoryArcStartRequested", "StoryChoiceRequested"})
_ANSWERS: Final = frozenset({"InferenceCompleted", "InferenceDegraded", "InferenceExpired", "InferenceCancelled", "InferenceRejected"})


def entities(tables: Tables, event: Event) -> Sequence[str]:
    """The arc that is asked or answered, or every arc that cares about what happened; arcs that are not in the table are nobody's."""
    name, data = event.kind, _fields(event)
    if name in _REQUESTS:
        return (event.entity,) if event.entity in tables.arcs else ()
    if name in _ANSWERS:
        return (data.requester_entity,) if event.subsystem == "inference" and data.requester_subsystem == NAME else ()
    if name == "WakeFired":
        return (data.entity,) if data.subsystem == NAME and event.subsystem == "time" else ()
    return tuple(arc for cause in causes(event) for arc in tables.listening.get(cause, ()))


def _fields(event: Event) -> Any:
    return event.data


def silence(tables: Tables, event: Event) -> Silence:
    """Explain why nothing came of a request: there is no such arc."""
    return Silence("UNKNOWN_ARC", f"wanted one of {', '.join(tables.arcs)}, found {event.entity}: say it about an arc")


storyteller: Final[ByWorld[Content]] = ByWorld(
    name=NAME,
    listens_to=(
        *CAUSE_EVENTS,
        WakeFired,
        inference.InferenceCompleted,
        inference.InferenceDegraded,
        inference.InferenceExpired,
        inference.InferenceCancelled,
        inference.InferenceRejected,
        said.StoryArcStartRequested,
        said.StoryChoiceRequested,
    ),
    emits=(
        said.StoryArcBegan,
        said.StoryTensionChanged,
        said.StoryBeatBegan,
        said.StoryFactEstablished,
        said.StoryFactRefused,
        said.StoryConsequence,
        said.StoryNarrated,
        said.StoryChoiceOpened,
        said.StoryChoiceMade,
        said.StoryArcEnded,
        said.StoryRequestRefused,
        inference.InferenceRequested,
        SceneChangeRequested,
        WakeRequested,
        WakeCancelRequested,
        *ANSWERS,
    ),
    make=lambda content: storyteller_of(content.story, content.bounds),
)


def storyteller_of(tables: Tables, bounds: Bounds = UNBOUNDED) -> Handler[Arc]:
    """The handler under the given tables."""
    handler = storyteller.with_rules(
        initial=lambda entity: Arc(name=entity),
        decide=partial(decide, tables),
        evolve=evolve,
        entities=partial(entities, tables),
    )
    return answering(handler, bounds, partial(silence, tables))
