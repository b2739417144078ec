"""L1 to L11: the log holds what its writers were told, once, whole, in order, unchanged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.chaos.history import Claim, History, Violation, digest, id_of


@dataclass(frozen=True, slots=True)
class Sight:
    """An event as somebody saw it at a position of the log at some time."""

    position: int
    sha256: str


def acknowledged_once(history: History) -> list[Violation]:
    """L1. Every acknowledged event is in the log exactly once."""
    return [
        Violation("L1", f"{claim.id} was acknowledged at {claim.last.position}, the log has it at {list(places) or 'no position'}")
        for claim in history.claims.values()
        if claim.last.kind == "ok" and len(places := history.places.get(claim.id, ())) != 1
    ]


def unknown_at_most_once(history: History) -> list[Violation]:
    """L2. Whatever a writer was told, its event is in the log at most once; handlers' events too."""
    return [
        Violation("L2", f"{name} stands at positions {list(places)}, wanted at most one")
        for name, places in history.places.items()
        if len(places) > 1
    ]


def all_resolved(history: History) -> list[Violation]:
    """L2. After the retry protocol no outcome is unknown."""
    return [Violation("L2", f"{claim.id} is still unknown") for claim in history.claims.values() if claim.last.kind == "maybe"]


def positions_are_true(history: History) -> list[Violation]:
    """L3. The position in every acknowledgement is where the event really is."""
    found = []
    for claim in history.claims.values():
        for outcome in claim.outcomes:
            event = history.by_position.get(outcome.position)
            if outcome.kind == "ok" and (event is None or id_of(event) != claim.id):
                found.append(
                    Violation(
                        "L3", f"{claim.id} was acknowledged at {outcome.position}, where {(event and id_of(event)) or 'nothing'} stands"
                    )
                )
    return found


def versions_are_contiguous(history: History) -> list[Violation]:
    """L4. On an entity that several writers write under expected positions, versions are 1, 2, 3 … in log order: no gap, no repeat."""
    return [violation for lane, claims in history.lanes(shared=True).items() for violation in _counting("L4", lane, claims)]


def nothing_lost_in_the_middle(history: History) -> list[Violation]:
    """L5. Reading a writer's n+1st event about an entity implies that its nth was read before."""
    return [violation for lane, claims in history.lanes(shared=False).items() for violation in _counting("L5", lane, claims)]


def _counting(rule: str, lane: str, claims: Sequence[Claim]) -> list[Violation]:
    numbers = [claim.number for claim in claims]
    for wanted, (claim, found) in enumerate(zip(claims, numbers, strict=True), start=1):
        if found != wanted:
            return [Violation(rule, f"lane {lane} has number {found} ({claim.id}) where {wanted} was to come")]
    return []


def contiguous(history: History) -> list[Violation]:
    """L6. Positions are 1, 2, 3 …"""
    for wanted, event in enumerate(history.events, start=1):
        if event.position != wanted:
            return [Violation("L6", f"position {wanted} is missing, the log goes on at {event.position}")]
    return []


def never_taken_back(history: History, sights: Iterable[Sight]) -> list[Violation]:
    """L6. The log never gets shorter and never uses a position again: what was seen there once is there."""
    found = []
    for sight in sights:
        event = history.by_position.get(sight.position)
        if event is None or digest(event.raw) != sight.sha256:
            now = "nothing" if event is None else f"another event ({id_of(event)})"
            found.append(Violation("L6", f"position {sight.position} was seen to hold {sight.sha256[:12]}, now holds {now}"))
    return found


def readers_agree(readings: Mapping[str, Sequence[tuple[int, str]]]) -> list[Violation]:
    """L7. Every reader sees the same log: (position, fingerprint) pairs by reader."""
    (first, wanted), *others = readings.items()
    found = []
    for name, reading in others:
        if list(reading) != list(wanted):
            where = next((a[0] for a, b in zip(wanted, reading, strict=False) if a != b), min(len(wanted), len(reading)) + 1)
            found.append(Violation("L7", f"{first} ({len(wanted)} events) and {name} ({len(reading)}) differ from position {where} on"))
    return found


def groups_are_whole(history: History) -> list[Violation]:
    """L8. Of a group either every event is in the log, one behind the other, or none."""
    groups: dict[str, list[Claim]] = defaultdict(list)
    for claim in history.claims.values():
        if claim.group:
            groups[claim.group].append(claim)
    found = []
    for name, claims in groups.items():
        places = sorted(place for claim in claims for place in history.places.get(claim.id, ()))
        if places and places != list(range(places[0], places[0] + claims[0].size)):
            found.append(Violation("L8", f"group {name} of {claims[0].size} stands at positions {places}"))
    return found


def refusals_are_true(history: History) -> list[Violation]:
    """L9. What a writer was told was not recorded, and did not try again, is not in the log."""
    return [
        Violation("L9", f"{claim.id} was refused ({claim.last.code}) and stands at {list(history.places[claim.id])}")
        for claim in history.claims.values()
        if claim.last.kind == "no" and claim.id in history.places
    ]


def bytes_are_unchanged(history: History) -> list[Violation]:
    """L10. An event has the bytes that were acknowledged."""
    return [
        Violation("L10", f"{claim.id} at {claim.last.position} has other bytes than were acknowledged")
        for claim in history.claims.values()
        if claim.last.kind == "ok"
        and (event := history.by_position.get(claim.last.position)) is not None
        and digest(event.raw) != claim.sha256
    ]


def clocks_do_not_order(history: History) -> list[Violation]:
    """L11. Where a writer's clock jumped back, its events are in the order in which it said them all the same."""
    found = []
    for lane, claims in history.lanes(shared=False).items():
        times = [history.by_position[history.places[claim.id][0]].time_ns for claim in claims]
        numbers = [claim.number for claim in claims]
        if times != sorted(times) and numbers != sorted(numbers):
            found.append(Violation("L11", f"lane {lane} is not in the order of saying, and its clock had jumped"))
    return found


def check(history: History, sights: Iterable[Sight] = ()) -> list[Violation]:
    """Check all rules that log and journals alone can show."""
    rules = (
        *(acknowledged_once, unknown_at_most_once, all_resolved, positions_are_true, versions_are_contiguous, nothing_lost_in_the_middle),
        *(contiguous, groups_are_whole, refusals_are_true, bytes_are_unchanged, clocks_do_not_order),
    )
    return [violation for rule in rules for violation in rule(history)] + never_taken_back(history, sights)
