"""One step of the clock: real time becomes world time, and what is due on the way is said in due order.

A step says at most `MAX_OUTPUTS` events. When more is due, the clock stops at the moment it has dealt with, remembers how much world
time it still owes, and the next steps go on from there: nothing is skipped, nothing comes early, and no single step takes long.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from heapq import heappop, heappush, merge
from itertools import islice
from typing import Final

from google.protobuf.message import Message

from bus.handler import MAX_OUTPUTS
from handlers.time_manager.calendar import Calendar, Reading, next_turn, read
from handlers.time_manager.rest import next_due
from handlers.time_manager.schedule import Entry
from handlers.time_manager.state import PAUSE, Clock, Planned, after
from schemas.gen.worldbus.time.v1.time_pb2 import (
    ClockAdvanced,
    ClockPaused,
    ClockResumed,
    ClockScaleChanged,
    DayBegan,
    PausedTimePassed,
    RealTimePassed,
    ScheduledEventFired,
    SeasonChanged,
    TimeOfDayChanged,
    WakeFired,
)
from schemas.gen.worldbus.time.v1.types_pb2 import WishCounted

ROOM: Final = MAX_OUTPUTS - 1  # the last output is the step itself
REAL_ROOM: Final = ROOM // 2  # so that neither kind of wake starves the other
MAX_COUNTED: Final = 1000  # wishes that begin to count with one step: as many fit into its event, however long their names


def advance(clock: Clock, calendar: Calendar, passed: RealTimePassed) -> Sequence[Message]:
    """The answer of a started clock when real time went by."""
    if passed.rests_ms or clock.rests or any(clock.soon):
        return _Rested(clock, calendar, passed).said()
    heard = clock.real_ms + passed.real_ms
    now = read(calendar, clock.world_ms)
    said: list[Message] = [_woken(key, now, due_real_ms=due) for due, key in islice(clock.real_wakes.until(heard), REAL_ROOM)]
    if clock.paused:
        return [*said, PausedTimePassed(real_ms=heard)]
    owed = clock.owed + passed.real_ms * clock.scale
    walk = _Walk(clock, calendar, target=clock.world_ms + owed // 1000, room=ROOM - len(said))
    reached = walk.run()
    moved = reached - clock.world_ms
    stepped = ClockAdvanced(
        now=read(calendar, reached).to_proto(), advanced_ms=moved, real_ms=heard, owed_thousandths=owed - moved * 1000, scale=clock.scale
    )
    return [*said, *walk.said, stepped]


class _Rested:
    """A step after a rest, or into one; lives for one decision. It may be minutes long, and what it reaches is the present moment.

    Wakes by real time are therefore said with the moment reached, behind those by world time; wishes that were heard on the way begin to
    count, and changes of how time runs come true.
    """

    def __init__(self, clock: Clock, calendar: Calendar, passed: RealTimePassed) -> None:
        self.clock = clock
        self.calendar = calendar
        self.passed = passed
        self.heard = clock.real_ms + passed.real_ms
        self.reached = clock.world_ms
        self.owed = clock.owed

    def said(self) -> Sequence[Message]:
        """The events in order: timers that are due, the step itself, changes that come true with it."""
        clock = self.clock
        real = list(islice(clock.real_wakes.until(self.heard), REAL_ROOM))
        walked = () if clock.paused else self._walked(ROOM - len(clock.changes) - len(real))
        now = read(self.calendar, self.reached)
        due = [*walked, *(_woken(key, now, due_real_ms=moment) for moment, key in real)]
        step, changed = self._step(now), list(self._changed(now))
        then = reduce(after, (*due, step, *changed), clock)
        step.next_real_ms = next_due(then)
        return [*due, step, *changed]

    def _walked(self, room: int) -> Sequence[Message]:
        clock = self.clock
        owed = clock.owed + self.passed.real_ms * clock.scale
        walk = _Walk(clock, self.calendar, target=clock.world_ms + owed // 1000, room=room)
        self.reached = walk.run()
        self.owed = owed - (self.reached - clock.world_ms) * 1000
        return walk.said

    def _step(self, now: Reading) -> ClockAdvanced | PausedTimePassed:
        clock, rests = self.clock, self.passed.rests_ms
        asleep = rests > 0 and clock.about == 0
        counted = list(islice(self._counted(), MAX_COUNTED))
        if clock.paused:
            return PausedTimePassed(real_ms=self.heard, rests_ms=rests, asleep=asleep, counted=counted)
        return ClockAdvanced(
            now=now.to_proto(),
            advanced_ms=self.reached - clock.world_ms,
            real_ms=self.heard,
            owed_thousandths=self.owed,
            scale=clock.scale,
            rests_ms=rests,
            asleep=asleep,
            counted=counted,
        )

    def _counted(self) -> Iterator[WishCounted]:
        for in_real_ms, key in self.clock.soon_real:
            yield _counted(key, due_real_ms=self.heard + in_real_ms)
        for in_world_ms, key in self.clock.soon_world:
            yield _counted(key, due_world_ms=self.reached + in_world_ms)
        for due_world_ms, key in self.clock.soon_past:
            yield _counted(key, due_world_ms=due_world_ms)

    def _changed(self, now: Reading) -> Iterator[Message]:
        scale, paused, moment = self.clock.scale, self.clock.paused, now.to_proto()
        for change in self.clock.changes:
            if change.scale:
                if change.scale != scale:
                    yield ClockScaleChanged(previous=scale, scale=change.scale, now=moment, request_event_id=change.event_id)
                scale = change.scale
            elif paused != (change.request == PAUSE):
                paused = not paused
                yield (
                    ClockPaused(reason=change.reason, now=moment, request_event_id=change.event_id)
                    if paused
                    else ClockResumed(now=moment, request_event_id=change.event_id)
                )


def _counted(key: str, *, due_world_ms: int = 0, due_real_ms: int = 0) -> WishCounted:
    subsystem, entity, name = key.split(".") if "." in key else ("", "", key)
    return WishCounted(subsystem=subsystem, entity=entity, name=name, due_world_ms=due_world_ms, due_real_ms=due_real_ms)


class _Walk:
    """From the clock's moment towards `target`, past everything that is due; lives for one decision."""

    def __init__(self, clock: Clock, calendar: Calendar, *, target: int, room: int) -> None:
        self.calendar = calendar
        self.target = target
        self.room = room
        self.said: list[Message] = []
        self.at = clock.world_ms
        self.asleep = clock.asleep
        due = merge(*(schedule.until(target) for schedule in clock.due_schedules))
        self.due: list[Entry] = list(islice(due, room + 1))  # sorted, hence a heap
        self.events: dict[str, Planned] = {key: clock.events[key] for _, key in self.due if key in clock.events}

    def run(self) -> int:
        """Say what is due and return the moment reached: the target, or where the room ended."""
        turn = next_turn(self.calendar, self.at)
        while True:
            wake = max(self.due[0][0], self.at) if self.due else self.target + 1
            if min(turn, wake) > self.target:
                return self.target
            if turn <= wake:
                if not self._turn(turn):
                    return self.at
                turn = next_turn(self.calendar, turn)
            elif not self._fire(wake):
                return self.at

    def _turn(self, moment: int) -> bool:
        changes = _changes(read(self.calendar, moment - 1), read(self.calendar, moment), asleep=self.asleep)
        if len(changes) > self.room - len(self.said):
            return False
        self.at = moment
        self.said += changes
        return True

    def _fire(self, moment: int) -> bool:
        if len(self.said) >= self.room:
            return False
        self.at = moment
        due, key = heappop(self.due)
        now = read(self.calendar, moment)
        self.said.append(self._happened(key, due, now) if key in self.events else _woken(key, now, due_world_ms=due))
        return True

    def _happened(self, name: str, due: int, now: Reading) -> ScheduledEventFired:
        planned = self.events[name]
        following = planned.next_after(due)
        if following:
            self.events[name] = Planned(every_ms=planned.every_ms, times=planned.times, note=planned.note, happened=planned.happened + 1)
            if following <= self.target:
                heappush(self.due, (following, name))
        return ScheduledEventFired(
            name=name,
            note=planned.note,
            occurrence=planned.happened + 1,
            due_world_ms=due,
            next_world_ms=following,
            now=now.to_proto(),
        )


def _changes(before: Reading, now: Reading, *, asleep: bool) -> list[Message]:
    """The beginnings at `now`: day, season, time of day, in this order."""
    said: list[Message] = []
    moment = now.to_proto()
    if now.day != before.day:
        said.append(DayBegan(now=moment, asleep=asleep))
        if now.season != before.season:
            said.append(SeasonChanged(previous=before.season, now=moment))
    if now.time_of_day != before.time_of_day:
        said.append(TimeOfDayChanged(previous=before.time_of_day, now=moment))
    return said


def _woken(key: str, now: Reading, *, due_world_ms: int = 0, due_real_ms: int = 0) -> WakeFired:
    subsystem, entity, name = key.split(".")
    return WakeFired(subsystem=subsystem, entity=entity, name=name, due_world_ms=due_world_ms, due_real_ms=due_real_ms, now=now.to_proto())
