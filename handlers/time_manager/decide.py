"""The clock's answers to commands. A refusal has its reason; a command that is fulfilled already is answered with nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from google.protobuf.message import Message

from bus.event import Event
from handlers.names import NAME_RULE, is_token
from handlers.time_manager import calendar as cal
from handlers.time_manager.advance import advance
from handlers.time_manager.state import DEFAULT_SCALE, Clock, wake_key
from schemas.gen.worldbus.time.v1.time_pb2 import (
    ClockChangeTaken,
    ClockPaused,
    ClockPauseRequested,
    ClockRequestRefused,
    ClockResumed,
    ClockResumeRequested,
    ClockScaleChanged,
    ClockScaleRequested,
    ClockStarted,
    ClockStartRequested,
    EventScheduled,
    RealTimePassed,
    ScheduledEventCancelled,
    ScheduledEventCancelRequested,
    ScheduledEventRequested,
    WakeCancelled,
    WakeCancelRequested,
    WakeRequested,
    WakeScheduled,
)

MAX_SCALE: Final = 3_600_000  # a world hour per real second
MAX_REAL_MS: Final = 3_600_000  # real milliseconds in one RealTimePassed
MAX_MOMENT: Final = 10**15  # world or real milliseconds, about 30 000 years
MAX_WAKES: Final = 10_000  # of each kind
MAX_EVENTS: Final = 256
MIN_EVERY_MS: Final = 60_000
MAX_REASON: Final = 256  # characters
MAX_NOTE: Final = 1024  # characters
MAX_CHANGES: Final = 8  # of how time runs that wait for one step

Said = Sequence[Message]


def decide(default: cal.Calendar, event: Event, clock: Clock) -> Said:
    """The clock's answer to `event`; `default` is the calendar of a clock that is started without one."""
    match event.data:
        case RealTimePassed() as it:
            return _time_passed(event, it, clock)
        case WakeRequested() as it:
            return _wake(event, it, clock)
        case WakeCancelRequested() as it:
            return _cancel_wake(event, it, clock)
        case ClockStartRequested() as it:
            return _start(event, it, clock, default)
        case ClockScaleRequested() as it:
            return _scale(event, it, clock)
        case ClockPauseRequested() as it:
            return _pause(event, it, clock)
        case ClockResumeRequested():
            return _resume(event, clock)
        case ScheduledEventRequested() as it:
            return _schedule(event, it, clock)
        case ScheduledEventCancelRequested() as it:
            return (ScheduledEventCancelled(name=it.name),) if it.name in clock.events else ()
        case _:
            return ()


def _refused(event: Event, code: str, reason: str) -> Said:
    return (ClockRequestRefused(request=event.name, request_event_id=event.id, code=code, reason=reason),)


def _not_started(event: Event) -> Said:
    return _refused(event, "NOT_STARTED", f"clock {event.entity} has not started: say ClockStartRequested first")


def _bad_scale(event: Event, scale: int) -> Said:
    return _refused(event, "BAD_SCALE", f"scale must be 1 to {MAX_SCALE} world milliseconds per real second, found {scale}; to stop, pause")


def _time_passed(event: Event, it: RealTimePassed, clock: Clock) -> Said:
    if clock.calendar is None:
        return _not_started(event)
    if not 1 <= it.real_ms <= MAX_REAL_MS:
        return _refused(event, "BAD_DURATION", f"real_ms must be 1 to {MAX_REAL_MS}, found {it.real_ms}: say less, or in several steps")
    if not 0 <= it.rests_ms <= MAX_REAL_MS:
        return _refused(event, "BAD_DURATION", f"rests_ms must be 0 to {MAX_REAL_MS}, found {it.rests_ms}")
    return advance(clock, clock.calendar, it)


def _start(event: Event, it: ClockStartRequested, clock: Clock, default: cal.Calendar) -> Said:
    scale = it.scale or DEFAULT_SCALE
    if not 1 <= scale <= MAX_SCALE:
        return _bad_scale(event, scale)
    calendar = cal.from_proto(it.calendar) if it.HasField("calendar") else clock.calendar or default
    if clock.calendar is not None:
        return _already_started(event, clock, same=(scale, calendar) == (clock.first_scale, clock.calendar))
    if found := cal.problems(calendar):
        return _refused(event, "BAD_CALENDAR", "; ".join(found)[:1000])
    return (ClockStarted(scale=scale, calendar=calendar.to_proto(), now=cal.read(calendar, 0).to_proto()),)


def _already_started(event: Event, clock: Clock, *, same: bool) -> Said:
    if same:
        return ()
    why = f"clock {event.entity} runs since {clock.world_ms} world ms with scale {clock.first_scale} and its own calendar"
    return _refused(event, "ALREADY_STARTED", f"{why}: change its speed with ClockScaleRequested; a calendar is for ever")


def _scale(event: Event, it: ClockScaleRequested, clock: Clock) -> Said:
    now = clock.now()
    if now is None:
        return _not_started(event)
    if not 1 <= it.scale <= MAX_SCALE:
        return _bad_scale(event, it.scale)
    if it.scale == clock.wanted[0]:
        return ()
    if clock.rests:
        return _at_the_next_step(event, clock, scale=it.scale)
    return (ClockScaleChanged(previous=clock.scale, scale=it.scale, now=now.to_proto()),)


def _pause(event: Event, it: ClockPauseRequested, clock: Clock) -> Said:
    now = clock.now()
    if now is None:
        return _not_started(event)
    if len(it.reason) > MAX_REASON:
        return _refused(event, "TOO_LONG", f"reason may have {MAX_REASON} characters, found {len(it.reason)}")
    if clock.wanted[1]:
        return ()
    return _at_the_next_step(event, clock, reason=it.reason) if clock.rests else (ClockPaused(reason=it.reason, now=now.to_proto()),)


def _resume(event: Event, clock: Clock) -> Said:
    now = clock.now()
    if now is None:
        return _not_started(event)
    if not clock.wanted[1]:
        return ()
    return _at_the_next_step(event, clock) if clock.rests else (ClockResumed(now=now.to_proto()),)


def _at_the_next_step(event: Event, clock: Clock, *, scale: int = 0, reason: str = "") -> Said:
    """A resting clock does not know the present moment: the change waits for who says it."""
    if len(clock.changes) >= MAX_CHANGES:
        return _refused(event, "TOO_MANY", f"{MAX_CHANGES} changes wait for the clock's next step already: does a ticker run?")
    return (ClockChangeTaken(request=event.name, request_event_id=event.id, scale=scale, reason=reason),)


def _wake(event: Event, it: WakeRequested, clock: Clock) -> Said:
    if not is_token(it.name):
        return _refused(event, "BAD_NAME", f"name must be {NAME_RULE}, found {ascii(it.name)[:80]}")
    if refusal := _bad_times(event, it.at_world_ms, it.in_world_ms, it.in_real_ms):
        return refusal
    by_real = it.in_real_ms > 0
    known = (clock.real_wakes, clock.soon_real) if by_real else (clock.wakes, clock.life, clock.soon_world, clock.soon_past)
    key = wake_key(event.subsystem, event.entity, it.name)
    if sum(map(len, known)) >= MAX_WAKES and all(schedule.get(key) is None for schedule in known):
        return _refused(event, "TOO_MANY", f"{MAX_WAKES} wakes are planned already: cancel some, or plan fewer per entity")
    return (_planned(event, it, clock),)


def _planned(event: Event, it: WakeRequested, clock: Clock) -> WakeScheduled:
    """The wake by when it is due. A resting clock knows only when that is at the earliest, if it counts from now or is overdue."""
    wake = WakeScheduled(subsystem=event.subsystem, entity=event.entity, name=it.name)
    if it.in_real_ms:
        wake.due_real_ms = clock.real_ms + it.in_real_ms
    else:
        wake.due_world_ms = _moment(clock, it.at_world_ms, it.in_world_ms)
    if clock.rests and it.at_world_ms <= clock.world_ms:
        wake.from_next_step, wake.in_world_ms, wake.in_real_ms = True, it.in_world_ms, it.in_real_ms
    return wake


def _cancel_wake(event: Event, it: WakeCancelRequested, clock: Clock) -> Said:
    if not clock.planned(wake_key(event.subsystem, event.entity, it.name)):
        return ()
    return (WakeCancelled(subsystem=event.subsystem, entity=event.entity, name=it.name),)


def _schedule(event: Event, it: ScheduledEventRequested, clock: Clock) -> Said:
    if not is_token(it.name):
        return _refused(event, "BAD_NAME", f"name must be {NAME_RULE}, found {ascii(it.name)[:80]}")
    if refusal := _bad_times(event, it.at_world_ms, it.in_world_ms):
        return refusal
    if it.every_world_ms and not MIN_EVERY_MS <= it.every_world_ms <= MAX_MOMENT:
        return _refused(event, "BAD_DURATION", f"every_world_ms must be 0 or {MIN_EVERY_MS} to {MAX_MOMENT}, found {it.every_world_ms}")
    if it.times < 0 or (it.times and not it.every_world_ms):
        return _refused(
            event, "BAD_TIMES", f"times must be 0 or more and needs every_world_ms, found times {it.times}, every {it.every_world_ms}"
        )
    if len(it.note) > MAX_NOTE:
        return _refused(event, "TOO_LONG", f"note may have {MAX_NOTE} characters, found {len(it.note)}")
    if len(clock.events) >= MAX_EVENTS and it.name not in clock.events:
        return _refused(event, "TOO_MANY", f"{MAX_EVENTS} events are scheduled already: cancel some")
    due = _moment(clock, it.at_world_ms, it.in_world_ms)
    planned = EventScheduled(name=it.name, due_world_ms=due, every_world_ms=it.every_world_ms, times=it.times, note=it.note)
    if clock.rests and it.at_world_ms <= clock.world_ms:
        planned.from_next_step, planned.in_world_ms = True, it.in_world_ms
    return (planned,)


def _bad_times(event: Event, *times: int) -> Said:
    if any(not 0 <= time <= MAX_MOMENT for time in times):
        return _refused(event, "BAD_DURATION", f"a time must be 0 to {MAX_MOMENT} milliseconds, found {', '.join(map(str, times))}")
    if sum(time > 0 for time in times) > 1:
        return _refused(event, "TWO_TIMES", f"wanted at most one time, found {', '.join(map(str, times))}: at and in exclude each other")
    return ()


def _moment(clock: Clock, at_world_ms: int, in_world_ms: int) -> int:
    return clock.world_ms + in_world_ms if in_world_ms else at_world_ms
