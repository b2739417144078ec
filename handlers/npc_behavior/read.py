"""Characters read from a file (TOML) and checked: every problem is named, none is guessed around."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from bus.errors import BadSettings
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


def load(path: Path) -> Tables:
    """The characters in a TOML file, with the factions of `factions.toml` beside it, if there is one.

    Raises `BadSettings` with every problem found.
    """
    factions = path.with_name("factions.toml")
    return parse(_toml(path), path.name, _toml(factions) if factions.exists() else {})


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise BadSettings(f"{path.name} cannot be read as TOML: {error}") from error


def parse(table: Mapping[str, Any], name: str, factions: Mapping[str, Any] | None = None) -> Tables:
    """The characters in a parsed file called `name`, and in the one of factions; raises `BadSettings` with every problem found."""
    try:
        members = {faction: tuple(body["members"]) for faction, body in (factions or {}).get("factions", {}).items()}
        tables = _tables(table, members)
        found = [*problems(tables), *faction_problems(tables, members)]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadSettings(f"{name} is not a table of characters: {error!r}; compare it with worlds/duskmarket/npcs.toml") from error
    if found:
        raise BadSettings(f"{name}: " + "; ".join(found))
    return tables


def _tables(table: Mapping[str, Any], members: Mapping[str, tuple[str, ...]]) -> Tables:
    npcs = {name: replace(_persona(name, body), factions=_factions(name, members)) for name, body in table["npcs"].items()}
    at: dict[str, tuple[str, ...]] = {}
    concerned: dict[Trigger, tuple[str, ...]] = {}
    for name, persona in npcs.items():
        for place in sorted(persona.haunts):
            at[place] = (*at.get(place, ()), name)
        for trigger in persona.reacts:
            concerned[trigger] = (*concerned.get(trigger, ()), name)
    return Tables(
        pulse_ms=table["pulse_minutes"] * MINUTE_MS,
        halves=Halves(**{half: table[f"{half}_half_hours"] * HOUR_MS for half in HALVES}),
        **{key: table[key] for key in ("forget_below", "habit", "schedule", "whim")},
        emotions=tuple(table["emotions"]),
        dialogue=Dialogue(**table["dialogue"]),
        needs={need: Need(**body) for need, body in table["needs"].items()},
        actions={action: _action(action, body) for action, body in table["actions"].items()},
        effects={effect: Effect(**body) for effect, body in table["effects"].items()},
        npcs=npcs,
        at=at,
        concerned=concerned,
    )


def _factions(npc: str, members: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(sorted(faction for faction, who in members.items() if npc in who))


def _action(name: str, body: Mapping[str, Any]) -> Action:
    return Action(**{**body, "name": name, "effect": Effect(**body.get("effect", {}))})


def _persona(name: str, body: Mapping[str, Any]) -> Persona:
    if set(body["traits"]) != set(FACTORS):
        raise ValueError(f"npcs.{name}.traits: wanted {', '.join(FACTORS)}, found {', '.join(body['traits'])}")
    reacts = body.get("reacts", ())
    if len({(react["on"], react["value"]) for react in reacts}) < len(reacts):
        raise ValueError(f"npcs.{name}.reacts: two of them wait for the same")
    return Persona(
        name=name,
        title=body["name"],
        text=body["persona"],
        traits={factor: (value - 500) * 2 for factor, value in body["traits"].items()},
        language=body["language"],
        night_language=body.get("night_language", body["language"]),
        home=body["home"],
        may=tuple(body["may"]),
        likes=frozenset(body.get("likes", ())),
        dislikes=frozenset(body.get("dislikes", ())),
        bonds=body.get("bonds", {}),
        places=body.get("places", {}),
        schedule=tuple(sorted((_slot(slot) for slot in body["schedule"]), key=lambda slot: slot.minute)),
        lines={mood: tuple(lines) for mood, lines in body["lines"].items()},
        cares=_cares(body),
        goals={goal: Goal(**each) for goal, each in body.get("goals", {}).items()},
        reacts={(react["on"], react["value"]): _react(react) for react in reacts},
    )


def _cares(body: Mapping[str, Any]) -> frozenset[str]:
    """What makes a character prick up its ears: the long words of its goals, and the names of people and things it has feelings about."""
    wants = [word for goal in body.get("goals", {}).values() for word in words_of(goal["text"]) if len(word) >= LONG_WORD]
    names = (*body.get("bonds", ()), *body.get("likes", ()), *body.get("dislikes", ()))
    return frozenset(wants).union(*(words_of(name.replace("-", " ")) for name in names))


def _slot(body: Mapping[str, str]) -> Slot:
    hour, minute = body["from"].split(":")
    return Slot(minute=int(hour) * 60 + int(minute), action=body["action"], place=body["place"])


def _react(body: Mapping[str, Any]) -> Effect:
    return Effect(**{key: value for key, value in body.items() if key not in ("on", "value")})
