"""The clock's state, folded from its own events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from google.protobuf.message import Message

from bus.event import Event
from handlers.time_manager import calendar as cal
from handlers.time_manager.anchor import Anchor
from handlers.time_manager.rest import is_life, is_presence
from handlers.time_manager.schedule import EMPTY, Schedule
from schemas.gen.worldbus.time.v1.time_pb2 import (
    ClockAdvanced,
    ClockChangeTaken,
    ClockPaused,
    ClockResumed,
    ClockScaleChanged,
    ClockStarted,
    EventScheduled,
    PausedTimePassed,
    ScheduledEventCancelled,
    ScheduledEventFired,
    WakeCancelled,
    WakeFired,
    WakeScheduled,
)

DEFAULT_SCALE: Final = 1000  # world milliseconds per real second
PAUSE: Final = "ClockPauseRequested"
SCHEDULES: Final = ("wakes", "life", "real_wakes", "soon_world", "soon_real", "soon_past")
"""Fields of a clock; a key stands in one of them at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A scheduled event that has not happened for the last time. `times` 0: for ever; `every_ms` 0: once."""

    every_ms: int
    times: int
    note: str
    happened: int = 0

    def next_after(self, due: int) -> int:
        """The next moment after `due`; 0 if there is none."""
        over = self.every_ms == 0 or (self.times > 0 and self.happened + 1 >= self.times)
        return 0 if over else due + self.every_ms


class Change(NamedTuple):
    """A wish to change how time runs that comes true at the next step. `scale` 0: it is to pause or to go on."""

    request: str
    event_id: str
    scale: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """One clock. Without a calendar it has not started: wishes are taken, time does not run.

    While it rests, its own count of time lies behind the present by as much as nobody has said. Wishes that count from now are therefore
    kept, by how much later than the next step they are due, until that step; and so are changes of scale, pauses and resumptions.
    """

    calendar: cal.Calendar | None = None
    first_scale: int = DEFAULT_SCALE
    scale: int = DEFAULT_SCALE
    paused: bool = False
    world_ms: int = 0
    real_ms: int = 0
    owed: int = 0  # thousandths of a world millisecond
    wakes: Schedule = EMPTY  # by world time; scheduled events too, under keys without a dot
    life: Schedule = EMPTY  # those that wait while nobody is about, by world time
    real_wakes: Schedule = EMPTY  # by real time
    events: Mapping[str, Planned] = field(default_factory=dict)
    rests: bool = False  # the last step was said by an edge that rests
    asleep: bool = False  # nobody was about at the last step
    about: int = 0  # wakes that stand for somebody who is about
    soon_world: Schedule = EMPTY  # wishes by how many world milliseconds behind the next step they are due
    soon_real: Schedule = EMPTY  # the same by real milliseconds
    soon_past: Schedule = EMPTY  # wishes for a moment that is over, by that moment; 0 if none was named
    changes: tuple[Change, ...] = ()  # that come true at the next step, in order

    def now(self) -> cal.Reading | None:
        """The time that a started clock showed at its last step."""
        return None if self.calendar is None else cal.read(self.calendar, self.world_ms)

    @property
    def anchor(self) -> Anchor:
        """The anchor of its last step."""
        return Anchor(world_ms=self.world_ms, real_ms=self.real_ms, scale=self.scale, owed=self.owed, paused=self.paused)

    @property
    def due_schedules(self) -> tuple[Schedule, ...]:
        """The schedules of what may become due by world time."""
        return (self.wakes,) if self.asleep else (self.wakes, self.life)

    @property
    def wanted(self) -> tuple[int, bool]:
        """Scale and pause as they will be at the next step."""
        scale, paused = self.scale, self.paused
        for change in self.changes:
            scale = change.scale or scale
            paused = paused if change.scale else change.request == PAUSE
        return scale, paused

    def planned(self, key: str) -> bool:
        """True if anything is planned under `key`."""
        return any(getattr(self, name).get(key) is not None for name in SCHEDULES)

    @property
    def soon(self) -> tuple[Schedule, ...]:
        """The schedules of what counts from the next step."""
        return self.soon_world, self.soon_real, self.soon_past


def wake_key(subsystem: str, entity: str, name: str) -> str:
    """The key of a wake; the parts have no dots."""
    return f"{subsystem}.{entity}.{name}"


def evolve(clock: Clock, event: Event) -> Clock:
    """The clock after it said `event`."""
    return after(clock, event.data)


def after(clock: Clock, said: Message) -> Clock:
    """The clock after it said `said`."""
    match said:
        case ClockAdvanced() as it:
            return _stepped(clock, it, world_ms=it.now.world_ms, owed=it.owed_thousandths)
        case PausedTimePassed() as it:
            return _stepped(clock, it)
        case WakeScheduled() as it:
            return _scheduled(clock, it)
        case WakeFired() as it:
            return _without(clock, wake_key(it.subsystem, it.entity, it.name))
        case WakeCancelled() as it:
            return _without(clock, wake_key(it.subsystem, it.entity, it.name))
        case EventScheduled() as it:
            return _announced(clock, it)
        case ScheduledEventFired() as it:
            return _happened(clock, it)
        case ScheduledEventCancelled() as it:
            return _forgotten(clock, it.name)
        case ClockChangeTaken() as it:
            change = Change(it.request, it.request_event_id, it.scale, it.reason)
            return replace(clock, changes=(*clock.changes, change))
        case ClockScaleChanged() as it:
            return replace(clock, scale=it.scale)
        case ClockPaused():
            return replace(clock, paused=True)
        case ClockResumed():
            return replace(clock, paused=False)
        case ClockStarted() as it:
            return replace(clock, calendar=cal.from_proto(it.calendar), scale=it.scale, first_scale=it.scale)
        case _:
            return clock


def _stepped(clock: Clock, it: ClockAdvanced | PausedTimePassed, **moved: Any) -> Clock:
    """Behind a step: what waited for it counts, or comes true with the events that follow."""
    clock = replace(clock, **moved, real_ms=it.real_ms, rests=it.rests_ms > 0, asleep=it.asleep, changes=())
    for wish in it.counted:
        key = wake_key(wish.subsystem, wish.entity, wish.name) if wish.subsystem else wish.name
        clock = _moved(clock, key, _place(key, wish.due_world_ms, wish.due_real_ms), wish.due_real_ms or wish.due_world_ms)
    return clock


def _place(key: str, due_world_ms: int, due_real_ms: int) -> str:
    """The schedule of a wake by when it is due; one that names no moment is for right now, and never waits."""
    if due_real_ms:
        return "real_wakes"
    return "life" if due_world_ms and is_life(key) else "wakes"


def _soon_place(in_world_ms: int, in_real_ms: int) -> str:
    """The schedule of a wish that counts from the next step."""
    return "soon_real" if in_real_ms else "soon_world" if in_world_ms else "soon_past"


def _moved(clock: Clock, key: str, place: str, due: int, **more: Any) -> Clock:
    """With `key` in the schedule `place`, and in no other. One copy of the clock, however many of its fields change."""
    return replace(clock, **{**_gone(clock, key, place), place: getattr(clock, place).put(key, due)}, **more)


def _gone(clock: Clock, key: str, but: str = "") -> dict[str, Any]:
    """The schedules that have `key`, all but one, without it."""
    return {name: schedule.remove(key) for name in SCHEDULES if (schedule := getattr(clock, name)).get(key) is not None and name != but}


def _scheduled(clock: Clock, it: WakeScheduled) -> Clock:
    key = wake_key(it.subsystem, it.entity, it.name)
    about = clock.about + (is_presence(key) and not clock.planned(key))
    if it.from_next_step:
        due = it.in_real_ms or it.in_world_ms or it.due_world_ms
        return _moved(clock, key, _soon_place(it.in_world_ms, it.in_real_ms), due, about=about)
    return _moved(clock, key, _place(key, it.due_world_ms, it.due_real_ms), it.due_real_ms or it.due_world_ms, about=about)


def _without(clock: Clock, key: str) -> Clock:
    gone = _gone(clock, key)
    return replace(clock, **gone, about=clock.about - is_presence(key)) if gone else clock


def _announced(clock: Clock, it: EventScheduled) -> Clock:
    events = {**clock.events, it.name: Planned(every_ms=it.every_world_ms, times=it.times, note=it.note)}
    if it.from_next_step:
        return _moved(clock, it.name, _soon_place(it.in_world_ms, 0), it.in_world_ms or it.due_world_ms, events=events)
    return _moved(clock, it.name, "wakes", it.due_world_ms, events=events)


def _happened(clock: Clock, it: ScheduledEventFired) -> Clock:
    known = clock.events.get(it.name)
    if known is None or not it.next_world_ms:
        return _forgotten(clock, it.name)
    planned = replace(known, happened=it.occurrence)
    return replace(clock, wakes=clock.wakes.put(it.name, it.next_world_ms), events={**clock.events, it.name: planned})


def _forgotten(clock: Clock, name: str) -> Clock:
    events = {other: planned for other, planned in clock.events.items() if other != name}
    return replace(_without(clock, name), events=events)
