"""The knowledge about one scene, and about one player's finds, folded from the handler's events about them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bus.event import Event
from schemas.gen.worldbus.narrative.v1.narrative_pb2 import SceneChanged, SceneDiscovered, SceneFirstDiscovered, TraceFound


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The last change of an object, by its number in the scene."""

    object: str
    condition: str
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """A player's knowledge of an object of a scene that is not discovered yet."""

    scene: str
    object: str
    weight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrative:
    """A scene uses `changed` to `first`, a player the others; bounded by the world's table, never by the number of players or changes."""

    entity: str = ""  # of the lane
    changed: tuple[Change, ...] = ()  # one per object that ever changed
    changes: int = 0
    first: str = ""  # who discovered the scene before everybody else
    traces: tuple[Trace, ...] = ()
    discovered: tuple[str, ...] = ()

    def change_of(self, thing: str) -> Change | None:
        """The last change of an object; None while it is as it began."""
        return next((change for change in self.changed if change.object == thing), None)

    def weight_of(self, scene: str, thing: str) -> int:
        """The weight of an object for this player; 0 if nothing was found yet."""
        return next((trace.weight for trace in self.traces if (trace.scene, trace.object) == (scene, thing)), 0)

    def found(self, scene: str) -> int:
        """Sum over the objects of a scene that is not discovered yet."""
        return sum(trace.weight for trace in self.traces if trace.scene == scene)


def evolve(known: Narrative, event: Event) -> Narrative:
    """The knowledge after the handler emitted `event`."""
    match event.data:
        case TraceFound() as it:
            others = tuple(trace for trace in known.traces if (trace.scene, trace.object) != (it.scene, it.object))
            return replace(known, traces=(*others, Trace(scene=it.scene, object=it.object, weight=it.weight)))
        case SceneDiscovered(scene=scene):
            rest = tuple(trace for trace in known.traces if trace.scene != scene)
            return replace(known, traces=rest, discovered=(*known.discovered, scene))
        case SceneChanged() as it:
            unlike = tuple(change for change in known.changed if change.object != it.object)
            return replace(known, changed=(*unlike, Change(object=it.object, condition=it.condition, number=it.number)), changes=it.number)
        case SceneFirstDiscovered(player=player):
            return replace(known, first=player)
        case _:
            return known
