"""Small histories for the checkers' own tests: whole ones, and ways to break them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from google.protobuf.message import Message

from bench.chaos.history import Claim, History, Outcome, digest
from bus.decision import decide as say
from bus.decision import defer, drop, park
from bus.errors import BadEvent, BrokenRule
from bus.event import Draft, Event
from bus.handler import Handler
from bus.lane import Lane
from bus.subjects import Subject, partition_of
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerEnteredZone, PlayerLeftZone, PlayerMoved

WORLD, PARTITIONS = "w", 4


@dataclass(frozen=True, slots=True)
class Where:
    zone: str = ""


def _decide(event: Event, state: Where) -> Sequence[Message]:
    zone = event.data.zone  # type: ignore[attr-defined]
    if zone == "poison":
        raise BrokenRule("poison")
    return [] if zone == state.zone else [PlayerLeftZone(zone=state.zone), PlayerEnteredZone(zone=zone)]


def _evolve(state: Where, event: Event) -> Where:
    return Where(event.data.zone) if isinstance(event.data, PlayerEnteredZone) else state


walker = Handler(
    name="walker",
    listens_to=(PlayerMoved,),
    emits=(PlayerLeftZone, PlayerEnteredZone),
    initial=lambda entity: Where(),
    decide=_decide,
    evolve=_evolve,
)


class Scribe:
    """Writes a history the way the bus would."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.claims: dict[str, Claim] = {}
        self.lanes: dict[str, Lane[Where]] = {}

    @property
    def history(self) -> History:
        return History(tuple(self.events), dict(self.claims))

    def put(self, draft: Draft) -> Event:
        return self.put_raw(draft.subject, draft.encode())

    def put_raw(self, subject: Subject, raw: bytes) -> Event:
        partition = partition_of(subject.world, subject.entity, PARTITIONS)
        position = len(self.events) + 1
        event = Event(raw=raw, subject=subject, partition=partition, position=position, recorded_ns=position)
        self.events.append(event)
        return event

    def move(
        self, entity: str, zone: str, *, number: int = 1, shared: bool = False, time_ns: int = 1, group: str = "", size: int = 1
    ) -> Event:
        """A writer says something and is told where it is."""
        draft = Draft(data=PlayerMoved(zone=zone), world=WORLD, entity=entity, id=f"{entity}-{len(self.events)}", time_ns=time_ns)
        event = self.put(draft)
        claim = Claim(id=draft.id, lane=entity, number=number, sha256=digest(event.raw), shared=shared, group=group, size=size)
        self.claims[draft.id] = claim.told(Outcome("ok", event.position))
        return event

    def lane(self, entity: str) -> Lane[Where]:
        return self.lanes.setdefault(entity, Lane(walker, WORLD, entity, PARTITIONS))

    def answer(self, event: Event) -> list[Event]:
        """The handler decides, and parks or defers what it cannot."""
        lane = self.lane(event.entity)
        if lane.parked:
            return self._write(lane, defer(lane, event))
        try:
            return self._write(lane, say(lane, event))
        except (BrokenRule, BadEvent) as error:
            return self._write(lane, park(lane, event, error, attempts=1, failed_ns=(1, 1)))

    def take_up(self, event: Event) -> list[Event]:
        """The handler decides a waiting input again."""
        lane = self.lane(event.entity)
        return self._write(lane, say(lane, event, retried=True))

    def drop(self, event: Event) -> list[Event]:
        """A waiting input is given up."""
        lane = self.lane(event.entity)
        return self._write(lane, drop(lane, event, "test"))

    def _write(self, lane: Lane[Where], drafts: Sequence[Draft]) -> list[Event]:
        written = [self.put(draft) for draft in drafts]
        lane.extend(written)
        return written


def told(claim: Claim, *outcomes: Outcome) -> Claim:
    """The claim, told something else."""
    return replace(claim, outcomes=outcomes)


def renumbered(events: Sequence[Event]) -> list[Event]:
    """Events at the positions 1, 2, 3 …"""
    return [
        Event(raw=event.raw, subject=event.subject, partition=event.partition, position=position, recorded_ns=position)
        for position, event in enumerate(events, start=1)
    ]
