"""The two sides that are compared after a run: the writers' answers (`Claim`) and the log's events (`Event`)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from typing import Literal

from bus.errors import BadEvent
from bus.event import Event

Kind = Literal["ok", "no", "maybe"]
"""The end of a publish: in the log at a position; not recorded; nobody knows."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was broken: which one (an id of docs/explanation/reliability.md), and what was wanted and found."""

    rule: str
    what: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.what}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one call of `publish`. `at_s` is the machine's monotonic clock; `code` the error's, for anything but "ok"."""

    kind: Kind
    position: int = 0
    code: str = ""
    at_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """The parts that a writer needs to publish the same event again."""

    entity: str
    type: str  # full protobuf name
    data: bytes
    time_ns: int
    expected: int = -1  # position of the last event on the lane, -1: whatever it is
    subsystem: str = "game"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One event that a writer wanted in the log, and everything it was told about it. No outcome: the writer died while it waited."""

    id: str
    lane: str
    number: int  # which one of its lane's, from 1
    sha256: str  # of the bytes that went out
    shared: bool = False  # several writers write this lane, each behind the last event it has seen
    group: str = ""
    size: int = 1  # events of the group
    wish: Wish | None = None
    outcomes: tuple[Outcome, ...] = ()

    @property
    def last(self) -> Outcome:
        """The last answer to the writer."""
        return self.outcomes[-1] if self.outcomes else Outcome("maybe")

    def told(self, outcome: Outcome) -> Claim:
        """With one more outcome."""
        return replace(self, outcomes=(*self.outcomes, outcome))


@dataclass(frozen=True)
class History:
    """The log from its first event, and the claims of every writer, by event id."""

    events: Sequence[Event]
    claims: Mapping[str, Claim] = field(default_factory=dict)

    @cached_property
    def places(self) -> Mapping[str, Sequence[int]]:
        """The positions of each event id, by id."""
        found: dict[str, list[int]] = defaultdict(list)
        for event in self.events:
            if known := id_of(event):
                found[known].append(event.position)
        return found

    @cached_property
    def by_position(self) -> Mapping[int, Event]:
        return {event.position: event for event in self.events}

    def in_log_order(self, claims: Iterable[Claim]) -> list[Claim]:
        """The claims that are in the log, by the position at which each stands first."""
        there = [claim for claim in claims if claim.id in self.places]
        return sorted(there, key=lambda claim: self.places[claim.id][0])

    def lanes(self, *, shared: bool) -> Mapping[str, Sequence[Claim]]:
        """The claims that are in the log, in its order, by lane."""
        found: dict[str, list[Claim]] = defaultdict(list)
        for claim in self.in_log_order(claim for claim in self.claims.values() if claim.shared is shared and not claim.group):
            found[claim.lane].append(claim)
        return found


def id_of(event: Event) -> str:
    """The event's id, or nothing where the envelope cannot be read."""
    try:
        return event.id
    except BadEvent:
        return ""


def digest(raw: bytes) -> str:
    """The fingerprint by which bytes are compared."""
    return sha256(raw).hexdigest()
