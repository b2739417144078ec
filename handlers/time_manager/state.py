"""What the clock knows about itself, folded from what it said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

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
from schemas.gen.worldbus.time.v1.types_pb2 import WishCounted

DEFAULT_SCALE: Final = 1000  # world milliseconds per real second
PAUSE: Final = "ClockPauseRequested"


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
        """What a started clock showed at its last step."""
        return None if self.calendar is None else cal.read(self.calendar, self.world_ms)

    @property
    def anchor(self) -> Anchor:
        """Its last step."""
        return Anchor(world_ms=self.world_ms, real_ms=self.real_ms, scale=self.scale, owed=self.owed, paused=self.paused)

    @property
    def due_schedules(self) -> tuple[Schedule, ...]:
        """What may become due by world time."""
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
        """Whether anything is planned under `key`."""
        return any(schedule.get(key) is not None for schedule in (self.wakes, self.life, self.real_wakes, *self.soon))

    @property
    def soon(self) -> tuple[Schedule, ...]:
        """What counts from the next step."""
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
            moved = replace(clock, world_ms=it.now.world_ms, real_ms=it.real_ms, owed=it.owed_thousandths)
            return _stepped(moved, it)
        case PausedTimePassed() as it:
            return _stepped(replace(clock, real_ms=it.real_ms), it)
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


def _stepped(clock: Clock, it: ClockAdvanced | PausedTimePassed) -> Clock:
    """Behind a step: what waited for it counts, or comes true with the events that follow."""
    clock = replace(clock, rests=it.rests_ms > 0, asleep=it.asleep, changes=())
    for wish in it.counted:
        clock = _counted(clock, wish)
    return clock


def _counted(clock: Clock, wish: WishCounted) -> Clock:
    key = wake_key(wish.subsystem, wish.entity, wish.name) if wish.subsystem else wish.name
    clock = _heard(clock, key)
    if wish.due_real_ms:
        return replace(clock, real_wakes=clock.real_wakes.put(key, wish.due_real_ms))
    return _due(clock, key, wish.due_world_ms)


def _heard(clock: Clock, key: str) -> Clock:
    """Without a wish that waits for the next step."""
    return replace(
        clock, soon_world=clock.soon_world.remove(key), soon_real=clock.soon_real.remove(key), soon_past=clock.soon_past.remove(key)
    )


def _due(clock: Clock, key: str, due_world_ms: int) -> Clock:
    """With a wake at a world time; one that names none is for right now, and never waits."""
    if due_world_ms and is_life(key):
        return replace(clock, life=clock.life.put(key, due_world_ms))
    return replace(clock, wakes=clock.wakes.put(key, due_world_ms))


def _scheduled(clock: Clock, it: WakeScheduled) -> Clock:
    key = wake_key(it.subsystem, it.entity, it.name)
    clock = _without(clock, key)
    clock = replace(clock, about=clock.about + is_presence(key))
    if it.from_next_step:
        return _soon(clock, key, it.due_world_ms, it.in_world_ms, it.in_real_ms)
    if it.due_real_ms:
        return replace(clock, real_wakes=clock.real_wakes.put(key, it.due_real_ms))
    return _due(clock, key, it.due_world_ms)


def _soon(clock: Clock, key: str, due_world_ms: int, in_world_ms: int, in_real_ms: int) -> Clock:
    if in_real_ms:
        return replace(clock, soon_real=clock.soon_real.put(key, in_real_ms))
    if in_world_ms:
        return replace(clock, soon_world=clock.soon_world.put(key, in_world_ms))
    return replace(clock, soon_past=clock.soon_past.put(key, due_world_ms))


def _without(clock: Clock, key: str) -> Clock:
    if not clock.planned(key):
        return clock
    return replace(
        _heard(clock, key),
        about=clock.about - is_presence(key),
        wakes=clock.wakes.remove(key),
        life=clock.life.remove(key),
        real_wakes=clock.real_wakes.remove(key),
    )


def _announced(clock: Clock, it: EventScheduled) -> Clock:
    planned = Planned(every_ms=it.every_world_ms, times=it.times, note=it.note)
    clock = replace(_without(clock, it.name), events={**clock.events, it.name: planned})
    if it.from_next_step:
        return _soon(clock, it.name, it.due_world_ms, it.in_world_ms, 0)
    return replace(clock, wakes=clock.wakes.put(it.name, it.due_world_ms))


def _happened(clock: Clock, it: ScheduledEventFired) -> Clock:
    known = clock.events.get(it.name)
    if known is None or not it.next_world_ms:
        return _forgotten(clock, it.name)
    planned = replace(known, happened=it.occurrence)
    return replace(clock, wakes=clock.wakes.put(it.name, it.next_world_ms), events={**clock.events, it.name: planned})


def _forgotten(clock: Clock, name: str) -> Clock:
    events = {other: planned for other, planned in clock.events.items() if other != name}
    return replace(_without(clock, name), events=events)
