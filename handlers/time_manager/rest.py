"""A resting clock: its edge is silent until something is due, so the clock says when that is, and what may wait.

While nobody is about, the world's own life waits: a wake by which weather, characters or the story would go on by themselves is not due.
It fires when somebody comes, and whoever is woken makes up for what was missed. Wishes for right now, and everybody else's wakes, never
wait: they are somebody's property, promise or order.

Somebody is about while a wake of `player` is planned: that handler keeps one for each player who is online, and for no other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from handlers.time_manager.calendar import next_turn

if TYPE_CHECKING:
    from handlers.time_manager.state import Clock

LIFE: Final = frozenset({("weather", "step"), ("npc", "pulse"), ("storyteller", "pulse")})  # (subsystem, name of the wake)
PRESENCE: Final = "player"  # the subsystem whose wakes mean that somebody is about


def is_life(key: str) -> bool:
    """True if the wake of this key is the world's own life. Keys of scheduled events have no dots."""
    parts = key.split(".")
    return len(parts) == 3 and (parts[0], parts[2]) in LIFE


def is_presence(key: str) -> bool:
    """True if the wake of this key stands for somebody who is about."""
    return key.startswith(f"{PRESENCE}.")


def next_due(clock: Clock) -> int:
    """The next moment at which something is due, in real milliseconds heard; `clock.real_ms` if overdue, 0 if nothing ever is."""
    dues = [first[0]] if (first := clock.real_wakes.first()) else []
    if not clock.paused and clock.calendar is not None:
        moments = [next_turn(clock.calendar, clock.world_ms)]
        moments += [first[0] for schedule in clock.due_schedules if (first := schedule.first())]
        dues.append(clock.anchor.real_when(min(moments)))
        if clock.owed >= 1000:  # the last step was cut short
            dues.append(clock.real_ms)
    if any(clock.soon):
        dues.append(clock.real_ms)
    return max(min(dues), clock.real_ms) if dues else 0
