"""World clocks as tables: the time now, what is scheduled, who will be woken."""

from __future__ import annotations

from typing import Any

from google.protobuf.json_format import MessageToDict

from bus.event import Event
from projections.projection import Change, Projection, Table, sql_beside
from schemas.gen.worldbus.time.v1 import time_pb2 as said
from schemas.gen.worldbus.time.v1.types_pb2 import WorldTime

CLOCK = Table("clock", key=("world", "clock"))
SCHEDULED = Table("scheduled_events", key=("world", "clock", "name"))
WAKES = Table("wakes", key=("world", "clock", "subsystem", "entity", "name"))


def _moment(now: WorldTime) -> dict[str, Any]:
    return {
        "world_ms": now.world_ms,
        "year": now.year,
        "season": now.season,
        "next_season": now.next_season,
        "season_ends_world_ms": now.season_ends_world_ms,
        "day": now.day,
        "day_of_season": now.day_of_season,
        "hour": now.hour,
        "minute": now.minute,
        "time_of_day": now.time_of_day,
    }


def _clock(event: Event, **columns: Any) -> Change:
    return CLOCK.put(event.world, event.entity, **columns)


def started(event: Event, it: said.ClockStarted) -> Change:
    calendar = MessageToDict(it.calendar, preserving_proto_field_name=True)
    return _clock(event, running=True, scale=it.scale, calendar=calendar, real_ms=0, **_moment(it.now))


def advanced(event: Event, it: said.ClockAdvanced) -> Change:
    return _clock(event, real_ms=it.real_ms, scale=it.scale, **_moment(it.now))


def time_passed_in_vain(event: Event, it: said.PausedTimePassed) -> Change:
    return _clock(event, real_ms=it.real_ms)


def turned(event: Event, it: said.DayBegan | said.SeasonChanged | said.TimeOfDayChanged) -> Change:
    return _clock(event, **_moment(it.now))


def scale_changed(event: Event, it: said.ClockScaleChanged) -> Change:
    return _clock(event, scale=it.scale, **_moment(it.now))


def paused(event: Event, it: said.ClockPaused) -> Change:
    return _clock(event, running=False, paused_reason=it.reason, **_moment(it.now))


def resumed(event: Event, it: said.ClockResumed) -> Change:
    return _clock(event, running=True, paused_reason=None, **_moment(it.now))


def scheduled(event: Event, it: said.EventScheduled) -> list[Change]:
    key = (event.world, event.entity, it.name)
    wanted = SCHEDULED.put(*key, due_world_ms=it.due_world_ms, every_world_ms=it.every_world_ms, times=it.times, note=it.note)
    return [SCHEDULED.drop(*key), wanted]


def fired(event: Event, it: said.ScheduledEventFired) -> Change:
    key = (event.world, event.entity, it.name)
    return SCHEDULED.put(*key, occurrences=it.occurrence, due_world_ms=it.next_world_ms) if it.next_world_ms else SCHEDULED.drop(*key)


def unscheduled(event: Event, it: said.ScheduledEventCancelled) -> Change:
    return SCHEDULED.drop(event.world, event.entity, it.name)


def wake_scheduled(event: Event, it: said.WakeScheduled) -> Change:
    return WAKES.put(event.world, event.entity, it.subsystem, it.entity, it.name, due_world_ms=it.due_world_ms, due_real_ms=it.due_real_ms)


def wake_over(event: Event, it: said.WakeCancelled | said.WakeFired) -> Change:
    return WAKES.drop(event.world, event.entity, it.subsystem, it.entity, it.name)


clock = Projection(
    name="clock",
    version=1,
    said_by="time",
    schema=sql_beside(__file__),
    tables=(CLOCK, SCHEDULED, WAKES),
    on={
        said.ClockStarted: started,
        said.ClockAdvanced: advanced,
        said.PausedTimePassed: time_passed_in_vain,
        said.DayBegan: turned,
        said.SeasonChanged: turned,
        said.TimeOfDayChanged: turned,
        said.ClockScaleChanged: scale_changed,
        said.ClockPaused: paused,
        said.ClockResumed: resumed,
        said.EventScheduled: scheduled,
        said.ScheduledEventFired: fired,
        said.ScheduledEventCancelled: unscheduled,
        said.WakeScheduled: wake_scheduled,
        said.WakeCancelled: wake_over,
        said.WakeFired: wake_over,
    },
)
