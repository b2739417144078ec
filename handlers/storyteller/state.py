"""The state of an arc of the story, folded from the handler's events about it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from bus.event import Event
from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceRequested
from schemas.gen.worldbus.storyteller.v1 import storyteller_pb2 as said

WAITING: Final = "waiting"  # not begun
RESTING: Final = "resting"  # the next pulse may bring a beat
TELLING: Final = "telling"  # a beat waits for its narration
CHOOSING: Final = "choosing"
OVER: Final = "over"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arc:
    """One arc. Its size is bounded by its table: facts, keys and beats are named there."""

    name: str = ""
    phase: str = WAITING
    tension: int = 0
    beat: str = ""  # the last one that began
    played: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    counts: tuple[tuple[str, int], ...] = ()  # stirs by key
    request: str = ""  # the narration asked for
    open: tuple[str, ...] = ()  # ways that may be chosen

    def fact(self, name: str) -> str:
        """The value of a fact; empty while nothing is known."""
        return next((value for fact, value in self.facts if fact == name), "")

    def count(self, key: str) -> int:
        """The number of times that the world stirred the arc so."""
        return next((count for each, count in self.counts if each == key), 0)


def evolve(arc: Arc, event: Event) -> Arc:
    """The arc after the handler said `event`."""
    match event.data:
        case said.StoryTensionChanged() as it:
            return _tension(arc, it)
        case said.StoryArcBegan():
            return replace(arc, phase=RESTING)
        case said.StoryBeatBegan(beat=beat):
            return replace(arc, phase=TELLING, beat=beat, played=(*arc.played, beat), request="", open=())
        case InferenceRequested(request_id=request):
            return replace(arc, request=request)
        case said.StoryFactEstablished(fact=fact, value=value):
            return replace(arc, facts=(*arc.facts, (fact, value)))
        case said.StoryNarrated():
            return replace(arc, phase=RESTING, request="")
        case said.StoryChoiceOpened() as it:
            return replace(arc, phase=CHOOSING, open=tuple(path.name for path in it.choices))
        case said.StoryChoiceMade():
            return replace(arc, phase=RESTING, open=())
        case said.StoryArcEnded():
            return replace(arc, phase=OVER)
        case _:
            return arc


def _tension(arc: Arc, it: said.StoryTensionChanged) -> Arc:
    if it.cause != "stirred":
        return replace(arc, tension=it.tension)
    others = tuple(each for each in arc.counts if each[0] != it.detail)
    return replace(arc, tension=it.tension, counts=(*others, (it.detail, arc.count(it.detail) + 1)))
