"""Kinds of simulated players as a designer writes them (TOML): who does what how often. Read and checked: every problem is named.

The rates are the definition of a concurrent player: `Kinds.events_per_minute` is what a game server publishes for the mean player while
online. What the world answers to it is measured by playing (`worlds.duskmarket.bots.concurrent`).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from bus import toml

MOST_PER_MINUTE: Final = 600.0  # of one deed
GOLDEN: Final = 0.6180339887498949  # numbers times this, modulo 1, lie evenly: any number of first players is a fair mix
DEEDS: Final = frozenset(
    {"heartbeat", "move", "look", "quest", "talk", "give", "study", "story", "trade", "money", "change", "keep", "forecast", "override"}
    | {"pester", "attack", "cheat", "rejoin", "leave"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of player."""

    name: str
    share: float
    per_minute: Mapping[str, float]

    @property
    def total(self) -> float:
        """Deeds a minute, and so events that a game server publishes."""
        return sum(self.per_minute.values())

    def pause_s(self, dice: random.Random, pace: float = 1.0) -> float:
        """The seconds until the next deed, at so many times the stated rates."""
        return dice.expovariate(self.total * pace / 60)

    def draw(self, dice: random.Random) -> str:
        """Draw the next deed."""
        (deed,) = dice.choices(tuple(self.per_minute), tuple(self.per_minute.values()))
        return deed


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The cost of one spoken line to a model."""

    tokens: int
    prompt_characters: int
    deadline_ms: int


@dataclass(frozen=True, kw_only=True)
class Kinds:
    """Checked kinds of players of a world."""

    line: Line
    kinds: Mapping[str, Kind]

    @cached_property
    def mean(self) -> Mapping[str, float]:
        """Deeds a minute of the mean player."""
        deeds = dict.fromkeys(deed for kind in self.kinds.values() for deed in kind.per_minute)
        return {deed: sum(kind.share * kind.per_minute.get(deed, 0.0) for kind in self.kinds.values()) for deed in deeds}

    @property
    def events_per_minute(self) -> float:
        """The events a minute that a game server publishes for the mean player."""
        return sum(self.mean.values())

    def of(self, number: int) -> Kind:
        """The kind of the player of that number. The first so many players of any world are mixed as the shares say, nearly."""
        place = number * GOLDEN % 1.0
        for kind in self.kinds.values():
            place -= kind.share
            if place < 0:
                return kind
        return tuple(self.kinds.values())[-1]


def load(path: Path) -> Kinds:
    """The players in a TOML file; raises `BadSettings` with every problem found."""
    return toml.read(path, parse)


def parse(table: Mapping[str, Any], name: str) -> Kinds:
    """The players in a parsed file called `name`; raises `BadSettings` with every problem found."""
    root = toml.of(table, name)
    root.only("line", "kinds")
    bots = Kinds(
        line=root.table("line").into(Line),
        kinds={kind: body.into(Kind, name=kind) for kind, body in root.tables("kinds").items()},
    )
    root.refuse(problems(bots))
    return bots


def problems(bots: Kinds) -> Iterator[str]:
    """The faults of the bots' table."""
    if not bots.kinds or abs(sum(kind.share for kind in bots.kinds.values()) - 1) > 1e-9:
        yield f"kinds: wanted shares that add up to 1, found {sum(kind.share for kind in bots.kinds.values()):g}"
    if min(bots.line.tokens, bots.line.prompt_characters, bots.line.deadline_ms) < 1:
        yield "line: wanted tokens, prompt_characters and deadline_ms of 1 or more"
    for kind in bots.kinds.values():
        if not kind.share > 0:
            yield f"kinds.{kind.name}: wanted a share above 0, found {kind.share!r}"
        if unknown := sorted(set(kind.per_minute) - DEEDS):
            yield f"kinds.{kind.name}: wanted deeds among {', '.join(sorted(DEEDS))}, found {', '.join(unknown)}"
        if bad := sorted(deed for deed, rate in kind.per_minute.items() if not 0 <= rate <= MOST_PER_MINUTE):
            yield f"kinds.{kind.name}: wanted 0 to {MOST_PER_MINUTE:g} a minute, found other rates of {', '.join(bad)}"
        elif not kind.total > 0:
            yield f"kinds.{kind.name}: wanted a player who does anything, found no deed with a rate"
