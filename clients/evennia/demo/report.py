"""The report of a run: counted from the log, from the tables, and from the players' screens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bus.event import Event
from worldbus.demo.report import percentile

NS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Hops:
    """Milliseconds, p50 and p95, of a spoken word's way through the bus, by the log's own clock; `shown` by the player's."""

    said_to_recorded: tuple[float | None, float | None]
    recorded_to_asked: tuple[float | None, float | None]
    asked_to_started: tuple[float | None, float | None]
    asked_to_answered: tuple[float | None, float | None]
    answered_to_spoken: tuple[float | None, float | None]
    recorded_to_spoken: tuple[float | None, float | None]
    typed_to_shown: tuple[float | None, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """`lost`, `duplicated` and `errors_shown` are 0 in a good run.

    joined               different players that came in, the demo's own three among them
    published, recorded  events of the game: handed to the client, and acknowledged to it
    in_log               of these, found in the log; each once
    lines                answers of people of the bus in the log, by rung of the ladder; `shown` to the players who watched
    own_lines            said by the adapter, because the bus was away for too long
    latency_ratio        p95 of Evennia's commands with the adapter on, over that with it off; `latency_*_ms` are both
    latency_ratio_between  where that ratio lies nine times of ten, as far as this run can say: its windows drawn anew, with replacement
    bus_nice             niceness of the bus's programs meanwhile: on one machine the game goes first
    processor_on, _off   share of a processor that Evennia's server process took; other programs on the machine do not change it much
    """

    players: int
    joined: int
    seconds: float
    engine: str
    published: int
    recorded: int
    failed: int
    dropped: int
    in_log: int
    lost: int
    duplicated: int
    events: int
    by_event: dict[str, int]
    spoken_to: int
    lines: dict[str, int]
    shown: int
    own_lines: int
    commands: int
    latency_on_ms: float | None
    latency_off_ms: float | None
    latency_ratio: float | None
    latency_ratio_between: tuple[float, float] | None
    processor_on: float | None
    processor_off: float | None
    bus_nice: int
    nats_kills: int
    errors_shown: int
    rows: dict[str, int]
    hops: Hops
    problems: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """True if every promise was kept."""
        return self.lost == self.duplicated == self.failed == self.errors_shown == 0 and self.in_log > 0

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def spread(values_s: Iterable[float]) -> tuple[float | None, float | None]:
    """p50 and p95 in milliseconds."""
    ordered = sorted(round(value * NS) for value in values_s)
    return percentile(ordered, 0.5), percentile(ordered, 0.95)


def hops(events: Sequence[Event], typed_to_shown: Sequence[float]) -> Hops:
    """Follow every word that a player said to one of the people, by its causes."""
    spoke = {event.id: event for event in events if event.subsystem == "game" and event.name == "PlayerSpoke"}
    asked = {event.data.request_id: event for event in events if event.subsystem == "npc" and event.name == "InferenceRequested"}
    started: dict[str, Event] = {}
    ended: dict[str, Event] = {}
    for event in events:
        if event.subsystem == "inference" and hasattr(event.data, "request_id"):
            (started if event.name == "InferenceStarted" else ended).setdefault(event.data.request_id, event)
    said = {event.data.request_id: event for event in events if event.subsystem == "npc" and event.name == "NpcSpoke"}

    def between(pairs: Iterable[tuple[Event | None, Event | None]]) -> tuple[float | None, float | None]:
        return spread((b.recorded_ns - a.recorded_ns) / NS for a, b in pairs if a is not None and b is not None)

    first = {name: spoke.get(event.cause) for name, event in asked.items()}
    return Hops(
        said_to_recorded=spread((event.recorded_ns - event.time_ns) / NS for event in spoke.values()),
        recorded_to_asked=between((first[name], event) for name, event in asked.items()),
        asked_to_started=between((event, started.get(name)) for name, event in asked.items()),
        asked_to_answered=between((event, ended.get(name)) for name, event in asked.items()),
        answered_to_spoken=between((ended.get(name), event) for name, event in said.items()),
        recorded_to_spoken=between((first.get(name), event) for name, event in said.items()),
        typed_to_shown=spread(typed_to_shown),
    )


def of_game(events: Iterable[Event]) -> Counter[str]:
    """The number of times that each id of the adapter stands in the log."""
    return Counter(event.id for event in events if event.id.startswith("ev-"))


def lines(events: Iterable[Event]) -> dict[str, int]:
    """Lines of people of the bus by rung."""
    return dict(Counter(event.data.rung for event in events if event.subsystem == "npc" and event.name == "NpcSpoke"))
