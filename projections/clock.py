"""World clocks as tables: each clock's last step, from which a view tells the time now; what is scheduled, who will be woken."""

from __future__ import annotations

from typing import Any

from google.protobuf.json_format import MessageToDict

from bus.event import Event
from projections.projection import Change, Projection, Table, sql_beside
from schemas.gen.worldbus.time.v1 import time_pb2 as said
from schemas.gen.worldbus.time.v1.types_pb2 import WishCounted, WorldTime

STEPS = Table("clock_steps", key=("world", "clock"))
SCHEDULED = Table("scheduled_events", key=("world", "clock", "name"))
WAKES = Table("wakes", key=("world", "clock", "subsystem", "entity", "name"))


def _moment(event: Event, now: WorldTime, owed_thousandths: int = 0) -> dict[str, Any]:
    """A moment that the clock reached, and when: the view counts on from there."""
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
        "owed_thousandths": owed_thousandths,
        "stepped_at": event.recorded_ns // 1000 * 1000,
    }


def _clock(event: Event, **columns: Any) -> Change:
    return STEPS.put(event.world, event.entity, **columns)


def started(event: Event, it: said.ClockStarted) -> Change:
    calendar = MessageToDict(it.calendar, preserving_proto_field_name=True)
    return _clock(event, running=True, scale=it.scale, calendar=calendar, real_ms=0, **_moment(event, it.now))


def advanced(event: Event, it: said.ClockAdvanced) -> list[Change]:
    cut_short = it.owed_thousandths >= 1000  # much is due: the world waits until it was said
    moment = _moment(event, it.now, 0 if cut_short else it.owed_thousandths)
    return [
        _clock(event, scale=it.scale, **_rest(it, 0 if cut_short else it.rests_ms), **moment),
        *(_counted(event, wish) for wish in it.counted),
    ]


def time_passed_in_vain(event: Event, it: said.PausedTimePassed) -> list[Change]:
    return [_clock(event, **_rest(it, it.rests_ms)), *(_counted(event, wish) for wish in it.counted)]


def _rest(it: said.ClockAdvanced | said.PausedTimePassed, rests_ms: int) -> dict[str, Any]:
    return {"real_ms": it.real_ms, "rests_ms": rests_ms, "asleep": it.asleep, "next_real_ms": it.next_real_ms or None}


def turned(event: Event, it: said.DayBegan | said.SeasonChanged | said.TimeOfDayChanged) -> Change:
    return _clock(event, **_moment(event, it.now))


def scale_changed(event: Event, it: said.ClockScaleChanged) -> Change:
    return _clock(event, scale=it.scale, **_moment(event, it.now))


def paused(event: Event, it: said.ClockPaused) -> Change:
    return _clock(event, running=False, paused_reason=it.reason, **_moment(event, it.now))


def resumed(event: Event, it: said.ClockResumed) -> Change:
    return _clock(event, running=True, paused_reason=None, **_moment(event, it.now))


def _counted(event: Event, wish: WishCounted) -> Change:
    """A wish of which the clock has known only when it is due at the earliest."""
    if not wish.subsystem:
        return SCHEDULED.put(event.world, event.entity, wish.name, due_world_ms=wish.due_world_ms)
    key = (event.world, event.entity, wish.subsystem, wish.entity, wish.name)
    return WAKES.put(*key, due_world_ms=wish.due_world_ms, due_real_ms=wish.due_real_ms)


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
    version=2,
    said_by="time",
    schema=sql_beside(__file__),
    tables=(STEPS, SCHEDULED, WAKES),
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
