"""From when on something is true in a world: conditions of lore and progress of players, as the log says them.

A document may be written long after what it waits for has happened, and a projection never looks back. So the first position of everything
that lore may wait for is kept: one row per condition, written once. What may be waited for are events that the world's subsystems say about
people, places and things; not wishes, refusals, or what happens with every step and tick.
"""

from __future__ import annotations

from typing import Final

from google.protobuf.message import Message

from bus.event import Event
from projections.projection import Change, Table, When
from schemas.gen.worldbus.quest.v1.quest_pb2 import QuestCompleted
from schemas.gen.worldbus.time.v1.time_pb2 import ClockStarted, DayBegan
from schemas.registry import all_events, is_ours, subsystem
from schemas.upcast import newest

TRUTHS = Table("truths", key=("world", "condition"), once=True)
PROGRESS = Table("progress", key=("world", "holder", "token"), once=True)

TELLING: Final = frozenset(
    [
        "broker",
        "coupon",
        "game",
        "inventory",
        "language",
        "market",
        "narrative",
        "npc",
        "player",
        "quest",
        "state",
        "storyteller",
        "time",
        "weather",
    ]
)
"""Subsystems of worldbus whose events lore may wait for, beside those of a game's own packages."""
_ASIDE: Final = ("Requested", "Refused", "Repeated", "Rejected", "Heartbeat")
_CHATTER: Final = frozenset(
    [
        "ClockAdvanced",
        "RealTimePassed",
        "PausedTimePassed",
        "WakeScheduled",
        "WakeCancelled",
        "WakeFired",
        "PlayerMoved",
        "PlayerSeen",
        "NpcNoticed",
        "NpcNeedsChanged",
        "StateSnapshotTaken",
        "ForecastIssued",
    ]
)
FIRST_DAYS: Final = 4000  # of the calendar that a clock may start behind and that are true at once


def may_be_waited_for(message: type[Message]) -> bool:
    """Return whether `event:<EventName>` of this type can ever come true."""
    name, full_name = message.DESCRIPTOR.name, message.DESCRIPTOR.full_name
    tells = subsystem(message) in TELLING if is_ours(message) else True
    return newest(full_name) == full_name and tells and not name.endswith(_ASIDE) and name not in _CHATTER


def of_a_game(message: type[Message]) -> When | None:
    """The function for a type of a game's own packages."""
    return happened if may_be_waited_for(message) else None


def first(event: Event, *conditions: str) -> list[Change]:
    """Note conditions as true from here on, if they were not before."""
    return [TRUTHS.put(event.world, condition, since=event.position) for condition in conditions]


def happened(event: Event, it: Message) -> list[Change]:
    """Conditions that any event makes true, if the subsystem whose event it is says it."""
    if event.subject.subsystem != subsystem(type(it)):
        return []
    name = it.DESCRIPTOR.name
    return first(event, f"event:{name}", f"event:{name}:{event.entity}")


def completed(event: Event, it: QuestCompleted) -> list[Change]:
    """A quest ended well: the world knows, and so does whoever completed it."""
    if event.subject.subsystem != "quest":
        return []
    plain, outcome = it.quest, f"{it.quest}={it.ending}"
    truths = first(event, f"quest:{plain}", f"quest:{outcome}")
    who = (event.world, event.entity)
    progress = [PROGRESS.put(*who, f"progress:{token}", since=event.position) for token in (plain, outcome)]
    return [*happened(event, it), *truths, *progress]


def day_began(event: Event, it: DayBegan) -> list[Change]:
    """The clock says every midnight, so every day gets its row."""
    return [*happened(event, it), *(first(event, f"date:{it.now.day}") if event.subject.subsystem == "time" else ())]


def clock_started(event: Event, it: ClockStarted) -> list[Change]:
    """Days before the first one are true with it."""
    days = range(max(1, it.now.day - FIRST_DAYS), it.now.day + 1) if event.subject.subsystem == "time" else ()
    return [*happened(event, it), *first(event, *(f"date:{day}" for day in days))]


ON: Final[dict[type[Message], When]] = {
    **{message: happened for message in all_events() if is_ours(message) and may_be_waited_for(message)},
    QuestCompleted: completed,
    DayBegan: day_began,
    ClockStarted: clock_started,
}
