"""The verification of one lane: its fold, its inputs without an answer, the answer that is being compared."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from bus.event import Draft, Event
from bus.lane import Lane


@dataclass(slots=True)
class Group:
    """The answer that is being compared: what today's rules say, what the log says so far."""

    position: int
    today: list[Draft]
    error: str
    same: bool = True
    recorded: list[Event] = field(default_factory=list)


class Track:
    """One lane and its inputs without an answer, per partition in log order."""

    __slots__ = ("folded", "group", "lane", "waiting")

    def __init__(self, lane: Lane[Any]) -> None:
        self.lane = lane
        self.folded = False  # up to where a window begins
        self.waiting: dict[int, deque[int]] = {}
        self.group: Group | None = None
