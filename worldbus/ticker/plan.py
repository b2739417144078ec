"""A ticker's knowledge of the clock, from the clock's own events: when something is due next, and whether anybody asks for the time."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from handlers.time_manager.anchor import Anchor
from handlers.time_manager.calendar import from_proto
from handlers.time_manager.rest import is_life
from handlers.time_manager.state import wake_key
from schemas.gen.worldbus.time.v1.time_pb2 import (
    ClockAdvanced,
    ClockChangeTaken,
    ClockPaused,
    ClockRequestRefused,
    ClockResumed,
    ClockScaleChanged,
    ClockStarted,
    EventScheduled,
    PausedTimePassed,
    RealTimePassed,
    WakeScheduled,
)

if TYPE_CHECKING:
    from bus.event import Event
    from handlers.time_manager.calendar import Calendar


class Plan:
    """Hears the clock's own events in order.

    anchor    the clock's last step; None before any was heard
    due       when something is due next, in real milliseconds that the clock has heard; None: nothing
    asked     something waits for the clock's next step
    rests     the clock knows how to rest (one of an older release has to be told the time steadily)
    answered  position of the last `RealTimePassed` that the clock answered, and `heard_ms`: all that it had heard by then
    """

    def __init__(self, calendar: Calendar | None = None) -> None:
        self.calendar = calendar
        self.anchor: Anchor | None = None
        self.due: int | None = None
        self.asked = False
        self.asleep = False
        self.rests = True
        self.answered = 0
        self.heard_ms = 0

    def hear(self, event: Event) -> None:
        """Take in the next event of the clock."""
        match event.data:
            case ClockAdvanced() as it:
                at = Anchor(world_ms=it.now.world_ms, real_ms=it.real_ms, scale=it.scale, owed=it.owed_thousandths)
                self._stepped(event, it, at)
            case PausedTimePassed() as it:
                before = self.anchor or Anchor(world_ms=0, real_ms=0, scale=1)
                self._stepped(event, it, replace(before, real_ms=it.real_ms, owed=before.owed, paused=True))
            case WakeScheduled() as it:
                self._planned(it, wake_key(it.subsystem, it.entity, it.name), it.due_real_ms)
            case EventScheduled() as it:
                self._planned(it, it.name, 0)
            case ClockChangeTaken():
                self.asked = True
            case ClockScaleChanged() as it:
                self._changed(it, scale=it.scale)
            case ClockPaused() as it:
                self._changed(it, paused=True)
            case ClockResumed() as it:
                self._changed(it, paused=False)
            case ClockStarted() as it:
                self.calendar, self.asked = from_proto(it.calendar), True
                self.anchor = Anchor(world_ms=0, real_ms=0, scale=it.scale)
            case ClockRequestRefused(request=request) if request == RealTimePassed.DESCRIPTOR.name:
                self._answered(event, self.heard_ms)
                self.asked, self.due = False, None
            case _:
                pass

    def _answered(self, event: Event, heard_ms: int) -> None:
        if event.lane is not None:
            self.answered, self.heard_ms = event.lane.position, heard_ms

    def _stepped(self, event: Event, it: ClockAdvanced | PausedTimePassed, anchor: Anchor) -> None:
        self._answered(event, it.real_ms)
        self.anchor, self.asleep, self.asked = anchor, it.asleep, False
        self.rests = it.rests_ms > 0
        self.due = it.next_real_ms or None

    def _planned(self, it: WakeScheduled | EventScheduled, key: str, due_real_ms: int) -> None:
        if it.from_next_step:
            self.asked = True
        elif due_real_ms:
            self._sooner(due_real_ms)
        elif self.anchor is not None and not self.anchor.paused and not (self.asleep and is_life(key)):
            self._sooner(self.anchor.real_when(it.due_world_ms))

    def _sooner(self, real_ms: int) -> None:
        self.due = real_ms if self.due is None else min(self.due, real_ms)

    def _changed(self, it: ClockScaleChanged | ClockPaused | ClockResumed, *, scale: int = 0, paused: bool | None = None) -> None:
        """A change that belongs to a step was part of its plan; one of its own makes a new plan needed."""
        if self.anchor is not None:
            stopped = self.anchor.paused if paused is None else paused
            self.anchor = replace(self.anchor, scale=scale or self.anchor.scale, paused=stopped)
        self.asked = self.asked or not it.request_event_id
