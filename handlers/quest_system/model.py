"""The parts of a quest, as a designer writes them in a table, and as a pattern fills them in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

KINDS: Final = ("kill", "collect", "talk", "visit", "discover", "examine", "give", "sell", "hear", "state", "wait")
DEEDS: Final = (*KINDS[:-1], "attack")  # what a player can do; waiting is what the clock does
REPEATS: Final = ("once", "daily", "always")


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """One thing to do. An empty `place` is anywhere; an empty `target` anything; `minutes` is for `wait`, world minutes.

    For `state` the target is a key of the player's state, the place a text it must have, and the count a number it must reach.
    """

    name: str
    kind: str
    target: str = ""
    place: str = ""
    count: int = 1
    minutes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """A deed that a player did, or (in `forbids`) must not do."""

    kind: str
    target: str = ""
    place: str = ""
    quantity: int = 1

    def after(self, count: int) -> int:
        """A count after this deed: most deeds add up, a state is as high as it ever was."""
        return max(count, self.quantity) if self.kind == "state" else count + self.quantity

    def is_a(self, kind: str, target: str, place: str) -> bool:
        """Return whether this deed is of that kind, about that target (empty: any) and at that place (empty: any)."""
        return self.kind == kind and target in ("", self.target) and place in ("", self.place)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One way to go on; `next` is a stage or an ending."""

    name: str
    text: str
    next: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Part of a quest. When every objective is met it goes on to `next`, or to a choice."""

    name: str
    text: str = ""
    objectives: tuple[Objective, ...] = ()
    next: str = ""
    choices: tuple[Choice, ...] = ()
    forbids: tuple[Deed, ...] = ()
    limit_minutes: int = 0  # world minutes; 0 is none


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """A good ending of a quest, and its pay."""

    name: str
    currency: str = ""
    amount_minor: int = 0
    items: tuple[tuple[str, int], ...] = ()  # (sku, quantity)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quest:
    """A quest. `after` names quests that must be completed before, or `quest=ending`."""

    name: str
    title: str
    first: str
    giver: str = ""
    repeat: str = "once"
    shared: bool = False
    after: tuple[str, ...] = ()
    limit_minutes: int = 0
    stages: tuple[Stage, ...] = ()
    endings: tuple[Ending, ...] = ()

    def stage(self, name: str) -> Stage | None:
        """The stage of that name, if it is one."""
        return next((stage for stage in self.stages if stage.name == name), None)

    def ending(self, name: str) -> Ending | None:
        """The ending of that name, if it is one."""
        return next((ending for ending in self.endings if ending.name == name), None)

    def wants(self, deed: Deed) -> bool:
        """Return whether some stage counts or forbids the deed."""
        return any(
            any(deed.is_a(goal.kind, goal.target, goal.place) for goal in stage.objectives)
            or any(deed.is_a(ban.kind, ban.target, ban.place) for ban in stage.forbids)
            for stage in self.stages
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """A pattern of made-up work. Ranges are inclusive; `minutes_each` world minutes per piece make the time limit (0: none)."""

    name: str
    title: str
    givers: tuple[str, ...]
    kind: str
    targets: tuple[str, ...]
    places: tuple[str, ...]
    count: tuple[int, int]
    minutes_each: int
    currency: str
    pay_each: tuple[int, int]
