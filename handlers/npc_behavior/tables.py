"""The characters of a world as their designer means them; `read` reads them from a file, `check` says what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
FACTORS: Final = ("openness", "conscientiousness", "extraversion", "agreeableness", "neuroticism")
HALVES: Final = ("trust", "affection", "fear", "mood", "memory", "goal")
MOODS: Final = ("friendly", "neutral", "hostile")  # for which every character has lines of its own

Points = Mapping[str, int]
Trigger = tuple[str, str]  # (what happened, its name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Halves:
    """After how much world time half of something is gone, milliseconds."""

    trust: int
    affection: int
    fear: int
    mood: int
    memory: int
    goal: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialogue:
    """The settings of a request to a model."""

    tier: str
    kind: str
    max_tokens: int
    budget_ms: int
    most_open: int
    mention: int  # salience for each mention of what a character cares about
    world: str
    rules: str
    passages: int = 0  # of the knowledge base that a model is shown at most
    passage_tokens: int = 0  # of all of them together


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """The growth of a need per world hour, thousandths; below 0 it eases by itself."""

    per_hour: int
    trait: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """The effect of an event on a character. `goal`, `urgency` and `reaches` move a goal."""

    trust: int = 0
    fear: int = 0
    affection: int = 0
    mood: int = 0
    salience: int = 0  # 0: not worth remembering
    needs: Points = field(default_factory=dict)
    goal: str = ""
    urgency: int = 0
    reaches: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """A deed: what speaks for it, what it does, and when it may be part of an answer."""

    name: str
    kind: str  # `life`, `reaction` or `spoken`
    base: int = 0
    relieves: Points = field(default_factory=dict)  # need → thousandths per world hour
    by: Points = field(default_factory=dict)  # trait → points
    times: Points = field(default_factory=dict)  # time of day → points
    skies: Points = field(default_factory=dict)  # sky → points
    moods: int = 0  # points per full mood
    fear: int = 0  # points per full fear of who attacked
    affection: int = 0  # points per full affection for who attacked
    asleep: bool = False
    min_trust: int = -1000
    min_affection: int = -1000
    max_fear: int = 1000
    settles: int = 0  # share of a debt that counts as repaid
    hands_over: bool = False  # something of the character's own changes hands: it counts when the inventory says so
    effect: Effect = field(default_factory=Effect)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """The deed and the place of a character from this minute of the day on."""

    minute: int
    action: str
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A goal of a character in the long run; `by` are points per full urgency for the deeds that serve it."""

    urgency: int
    text: str
    by: Points = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Persona:
    """One character. `traits` run from -1000 to 1000, 0 is everybody."""

    name: str
    title: str
    text: str
    traits: Points
    language: str
    night_language: str
    home: str
    may: tuple[str, ...]
    likes: frozenset[str]
    dislikes: frozenset[str]
    bonds: Points  # other characters → affection
    places: Mapping[str, str]  # deed → where, if not where the schedule says
    schedule: tuple[Slot, ...]
    lines: Mapping[str, tuple[str, ...]]
    goals: Mapping[str, Goal]
    cares: frozenset[str]  # words of its goals, and names of whom and what it likes or not
    reacts: Mapping[Trigger, Effect]
    factions: tuple[str, ...] = ()

    @property
    def knows(self) -> tuple[str, ...]:
        """The tokens of what it may know."""
        return ("public", f"npc:{self.name}", *(f"faction:{faction}" for faction in self.factions))

    @property
    def haunts(self) -> frozenset[str]:
        """Every place where this character can ever be."""
        return frozenset((self.home, *self.places.values(), *(slot.place for slot in self.schedule)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """Checked characters of a world; `at` says who can be where, `concerned` who reacts to what."""

    pulse_ms: int
    halves: Halves
    forget_below: int
    habit: int
    schedule: int
    whim: int
    emotions: tuple[str, ...]
    dialogue: Dialogue
    needs: Mapping[str, Need]
    actions: Mapping[str, Action]
    effects: Mapping[str, Effect]
    npcs: Mapping[str, Persona]
    at: Mapping[str, tuple[str, ...]]
    concerned: Mapping[Trigger, tuple[str, ...]]
