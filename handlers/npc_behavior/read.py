"""Characters read from a file (TOML) and checked: every problem is named, none is guessed around."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from bus import toml
from handlers.npc_behavior.check import faction_problems, problems
from handlers.npc_behavior.memory import words_of
from handlers.npc_behavior.tables import (
    FACTORS,
    HALVES,
    HOUR_MS,
    MINUTE_MS,
    Action,
    Dialogue,
    Effect,
    Goal,
    Halves,
    Need,
    Persona,
    Slot,
    Tables,
    Trigger,
)

LONG_WORD: Final = 5  # letters
FACTIONS: Final = "factions.toml"
_FOR_PEOPLE: Final[Mapping[str, Any]] = {"title": str, "text": str, "buyers": tuple[str, ...]}  # of a faction
_TIME: Final = re.compile(r"([0-9]{1,2}):([0-9]{1,2})", re.ASCII)
_KEYS: Final = ("pulse_minutes", *(f"{half}_half_hours" for half in HALVES), "forget_below", "habit", "schedule", "whim", "emotions",
                "dialogue", "needs", "actions", "effects", "npcs")  # fmt: skip


def load(path: Path) -> Tables:
    """The characters in a TOML file, with the factions of `factions.toml` beside it, if there is one.

    Raises `BadSettings` with every problem found.
    """
    factions = path.with_name(FACTIONS)
    beside = toml.read(factions, toml.of) if factions.exists() else None
    return toml.read(path, lambda table, name: parse(table, name, beside))


def parse(table: Mapping[str, Any], name: str, factions: Mapping[str, Any] | None = None) -> Tables:
    """The characters in a parsed file called `name`, and in the one of factions; raises `BadSettings` with every problem found."""
    root, beside = toml.of(table, name), toml.of(factions or {}, FACTIONS)
    root.only(*_KEYS)
    beside.only("factions")
    members = {faction: _members(body) for faction, body in beside.tables("factions", optional=True).items()}
    tables = _tables(root, members)
    root.refuse(problems(tables))
    beside.refuse(faction_problems(tables, members))
    return tables


def _tables(table: toml.Table, members: Mapping[str, tuple[str, ...]]) -> Tables:
    npcs = {name: replace(_persona(name, body), factions=_factions(name, members)) for name, body in table.tables("npcs").items()}
    at: dict[str, tuple[str, ...]] = {}
    concerned: dict[Trigger, tuple[str, ...]] = {}
    for name, persona in npcs.items():
        for place in sorted(persona.haunts):
            at[place] = (*at.get(place, ()), name)
        for trigger in persona.reacts:
            concerned[trigger] = (*concerned.get(trigger, ()), name)
    return Tables(
        pulse_ms=table.value("pulse_minutes", int) * MINUTE_MS,
        halves=Halves(**{half: table.value(f"{half}_half_hours", int) * HOUR_MS for half in HALVES}),
        **{key: table.value(key, int) for key in ("forget_below", "habit", "schedule", "whim")},
        emotions=table.value("emotions", tuple[str, ...]),
        dialogue=table.table("dialogue").into(Dialogue),
        needs={need: body.into(Need) for need, body in table.tables("needs").items()},
        actions={action: _action(action, body) for action, body in table.tables("actions").items()},
        effects={effect: body.into(Effect) for effect, body in table.tables("effects").items()},
        npcs=npcs,
        at=at,
        concerned=concerned,
    )


def _members(body: toml.Table) -> tuple[str, ...]:
    """The characters of a faction. What else stands there is for people, and for those who check the lore."""
    body.only("members", *_FOR_PEOPLE)
    for key, kind in _FOR_PEOPLE.items():
        body.value(key, kind, None)
    members: tuple[str, ...] = body.value("members", tuple[str, ...])
    return members


def _factions(npc: str, members: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(sorted(faction for faction, who in members.items() if npc in who))


def _action(name: str, body: toml.Table) -> Action:
    return body.into(Action, name=name, effect=body.table("effect", optional=True).into(Effect))


def _persona(name: str, body: toml.Table) -> Persona:
    language = body.value("language", str)
    traits = body.value("traits", Mapping[str, int])
    if set(traits) != set(FACTORS):
        body.wrong("traits", ", ".join(FACTORS), ", ".join(traits))
    reacts = [_react(react) for react in body.rows("reacts", optional=True)]
    if len(dict(reacts)) < len(reacts):
        body.refuse(["reacts: two of them wait for the same"])
    bonds = body.value("bonds", Mapping[str, int], {})
    likes, dislikes = (body.value(key, frozenset[str], frozenset()) for key in ("likes", "dislikes"))
    goals = {goal: each.into(Goal) for goal, each in body.tables("goals", optional=True).items()}
    return body.into(
        Persona,
        renamed={"title": "name", "text": "persona", "name": "", "cares": "", "factions": ""},
        name=name,
        traits={factor: (value - 500) * 2 for factor, value in traits.items()},
        night_language=body.value("night_language", str, language),
        likes=likes,
        dislikes=dislikes,
        bonds=bonds,
        places=body.value("places", Mapping[str, str], {}),
        schedule=tuple(sorted(map(_slot, body.rows("schedule")), key=lambda slot: slot.minute)),
        cares=_cares(goals.values(), (*bonds, *likes, *dislikes)),
        goals=goals,
        reacts=dict(reacts),
    )


def _cares(goals: Iterable[Goal], names: Iterable[str]) -> frozenset[str]:
    """The words that a character listens for: the long words of its goals, and the names of people and things it has feelings about."""
    wants = [word for goal in goals for word in words_of(goal.text) if len(word) >= LONG_WORD]
    return frozenset(wants).union(*(words_of(name.replace("-", " ")) for name in names))


def _slot(body: toml.Table) -> Slot:
    body.only("from", "action", "place")
    at = body.value("from", str)
    found = _TIME.fullmatch(at)
    if found is None:
        body.wrong("from", "a time like 18:30", at)
    return Slot(minute=int(found[1]) * 60 + int(found[2]), action=body.value("action", str), place=body.value("place", str))


def _react(body: toml.Table) -> tuple[Trigger, Effect]:
    trigger = body.value("on", str), body.value("value", str)
    return trigger, body.without("on", "value").into(Effect)
