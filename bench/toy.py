"""The work that handlers do in the benchmarks, ours and the peers': look at a move, say that a zone was entered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from google.protobuf.message import Message

from bus.event import Draft, Event
from bus.handler import Handler
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerEnteredZone, PlayerMoved

WORLD = "bench"
NAME = "benchmover"


@dataclass(frozen=True, slots=True)
class Moves:
    """The number of an entity's moves, and its place."""

    count: int = 0
    zone: str = ""


def answer(moved: PlayerMoved, state: Moves) -> PlayerEnteredZone:
    """The decision: trivial on purpose, so that the path around it is what is measured."""
    return PlayerEnteredZone(zone=moved.zone, previous=state.zone, x=moved.x, y=moved.y, z=moved.z, session=state.count)


def _decide(event: Event, state: Moves) -> Sequence[Message]:
    return (answer(event.data, state),) if isinstance(event.data, PlayerMoved) else ()


def _evolve(state: Moves, event: Event) -> Moves:
    return replace(state, count=state.count + 1, zone=getattr(event.data, "zone", ""))


mover = Handler(
    name=NAME, listens_to=(PlayerMoved,), emits=(PlayerEnteredZone,), initial=lambda entity: Moves(), decide=_decide, evolve=_evolve
)


def move(number: int, entities: int, *, time_ns: int = 0) -> Draft:
    """One input event; `time_ns` 0 means now."""
    data = PlayerMoved(zone=f"zone-{number % 7}", x=number % 640, y=1.5, z=-3.25)
    entity = f"player-{number % entities}"
    return Draft(data=data, world=WORLD, entity=entity, id=f"move-{number:012d}", **({"time_ns": time_ns} if time_ns else {}))


def moves(count: int, entities: int) -> Iterator[Draft]:
    """`count` input events over `entities` entities."""
    return (move(number, entities) for number in range(count))
