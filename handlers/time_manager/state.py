"""What the clock knows about itself, folded from what it said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from bus.event import Event
from handlers.time_manager import calendar as cal
from handlers.time_manager.schedule import EMPTY, Schedule
from schemas.gen.worldbus.time.v1.time_pb2 import (
    ClockAdvanced,
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A scheduled event that has not happened for the last time. `times` 0: for ever; `every_ms` 0: once."""

    every_ms: int
    times: int
    note: str
    happened: int = 0

    def next_after(self, due: int) -> int:
        """When it happens next after happening at `due`; 0 if never again."""
        over = self.every_ms == 0 or (self.times > 0 and self.happened + 1 >= self.times)
        return 0 if over else due + self.every_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """One clock. Without a calendar it has not started: wishes are taken, time does not run."""

    calendar: cal.Calendar | None = None
    first_scale: int = DEFAULT_SCALE
    scale: int = DEFAULT_SCALE
    paused: bool = False
    world_ms: int = 0
    real_ms: int = 0
    owed: int = 0  # thousandths of a world millisecond
    wakes: Schedule = EMPTY  # by world time; scheduled events too, under keys without a dot
    real_wakes: Schedule = EMPTY  # by real time
    events: Mapping[str, Planned] = field(default_factory=dict)

    def now(self) -> cal.Reading | None:
        """What a started clock shows."""
        return None if self.calendar is None else cal.read(self.calendar, self.world_ms)


def wake_key(subsystem: str, entity: str, name: str) -> str:
    """The key of a wake; the parts have no dots."""
    return f"{subsystem}.{entity}.{name}"


def evolve(clock: Clock, event: Event) -> Clock:
    """The clock after it said `event`."""
    match event.data:
        case ClockAdvanced() as it:
            return replace(clock, world_ms=it.now.world_ms, real_ms=it.real_ms, owed=it.owed_thousandths)
        case PausedTimePassed() as it:
            return replace(clock, real_ms=it.real_ms)
        case WakeScheduled() as it:
            return _scheduled(clock, it)
        case WakeFired() as it:
            return _without(clock, wake_key(it.subsystem, it.entity, it.name))
        case WakeCancelled() as it:
            return _without(clock, wake_key(it.subsystem, it.entity, it.name))
        case EventScheduled() as it:
            planned = Planned(every_ms=it.every_world_ms, times=it.times, note=it.note)
            return replace(clock, wakes=clock.wakes.put(it.name, it.due_world_ms), events={**clock.events, it.name: planned})
        case ScheduledEventFired() as it:
            return _happened(clock, it)
        case ScheduledEventCancelled() as it:
            return _forgotten(clock, it.name)
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


def _scheduled(clock: Clock, it: WakeScheduled) -> Clock:
    key = wake_key(it.subsystem, it.entity, it.name)
    if it.due_real_ms:
        return replace(clock, wakes=clock.wakes.remove(key), real_wakes=clock.real_wakes.put(key, it.due_real_ms))
    return replace(clock, wakes=clock.wakes.put(key, it.due_world_ms), real_wakes=clock.real_wakes.remove(key))


def _without(clock: Clock, key: str) -> Clock:
    return replace(clock, wakes=clock.wakes.remove(key), real_wakes=clock.real_wakes.remove(key))


def _happened(clock: Clock, it: ScheduledEventFired) -> Clock:
    known = clock.events.get(it.name)
    if known is None or not it.next_world_ms:
        return _forgotten(clock, it.name)
    planned = replace(known, happened=it.occurrence)
    return replace(clock, wakes=clock.wakes.put(it.name, it.next_world_ms), events={**clock.events, it.name: planned})


def _forgotten(clock: Clock, name: str) -> Clock:
    events = {other: planned for other, planned in clock.events.items() if other != name}
    return replace(clock, wakes=clock.wakes.remove(name), events=events)
