"""The world clock as a handler, `time`: scale, pause, calendar, seasons, wakes and scheduled events.

    RealTimePassed, Clock...Requested ──▶ clock ──▶ ClockAdvanced, DayBegan, SeasonChanged, TimeOfDayChanged, ...
    WakeRequested (any subsystem)     ──▶ clock ──▶ WakeScheduled … WakeFired {subsystem, entity, name, now}

The entity is the clock's name. Wishes to be woken go to the world's clock, `clock`, whoever says them about whatever.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from bus.event import Event
from bus.handler import ByWorld, Handler
from handlers.answering import ANSWERS, answering
from handlers.plausible import UNBOUNDED, Bounds
from handlers.time_manager.calendar import Calendar
from handlers.time_manager.decide import decide
from handlers.time_manager.state import Clock, evolve
from schemas.gen.worldbus.time.v1 import time_pb2 as said

if TYPE_CHECKING:
    from handlers.content import Content

CLOCK: Final = "clock"
_WISHES_OF_OTHERS: Final = frozenset({"WakeRequested", "WakeCancelRequested"})


def entities(event: Event) -> Sequence[str]:
    """Wakes concern the world's clock, everything else the clock it is said about."""
    return (CLOCK,) if event.kind in _WISHES_OF_OTHERS else (event.entity,)


time: Final[ByWorld[Content]] = ByWorld(
    name="time",
    listens_to=(
        said.RealTimePassed,
        said.WakeRequested,
        said.WakeCancelRequested,
        said.ClockStartRequested,
        said.ClockScaleRequested,
        said.ClockPauseRequested,
        said.ClockResumeRequested,
        said.ScheduledEventRequested,
        said.ScheduledEventCancelRequested,
    ),
    emits=(
        said.ClockAdvanced,
        said.PausedTimePassed,
        said.WakeScheduled,
        said.WakeFired,
        said.WakeCancelled,
        said.DayBegan,
        said.SeasonChanged,
        said.TimeOfDayChanged,
        said.ClockStarted,
        said.ClockChangeTaken,
        said.ClockScaleChanged,
        said.ClockPaused,
        said.ClockResumed,
        said.EventScheduled,
        said.ScheduledEventFired,
        said.ScheduledEventCancelled,
        said.ClockRequestRefused,
        *ANSWERS,
    ),
    make=lambda content: time_manager(content.calendar, content.bounds),
)


def time_manager(calendar: Calendar, bounds: Bounds = UNBOUNDED) -> Handler[Clock]:
    """The handler, with the calendar for clocks that are started without one of their own."""
    handler = time.with_rules(
        initial=lambda entity: Clock(),
        decide=partial(decide, calendar),
        evolve=evolve,
        entities=entities,
    )
    return answering(handler, bounds)
