"""Checks of a table of characters; faults are described for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from handlers.names import NAME_RULE, is_token
from handlers.npc_behavior.tables import FACTORS, HALVES, MINUTE_MS, MOODS, Action, Effect, Persona, Tables

KINDS: Final = ("life", "reaction", "spoken")
CAUSES: Final = ("quest", "quest_failed", "discovered", "changed", "story", "raid")
EFFECTS: Final = ("talk", "gift", "attack", "witness", "slain", "taken", "bargain", "rumour", "mood")
WORDS: Final = (
    "player",
    "words",
    "item",
    "place",
    "victim",
    "creature",
    "count",
    "title",
    "kind",
    "text",
)  # that a text may hold in braces
MAX_ACTIONS: Final = 32  # that one character may do: all of them are weighed and recorded
MAX_LINE: Final = 600  # characters
MOST_PASSAGES: Final = 32  # shown to a model
MOST_OPEN: Final = 32  # questions: all of them may have to be answered in one decision


def problems(tables: Tables) -> list[str]:
    """The faults of a table, each with its place in the file; empty if there are none."""
    found = [*_rule_problems(tables)]
    for name, action in tables.actions.items():
        found += [f"actions.{name}: {problem}" for problem in _action_problems(action, tables)]
    for name, effect in tables.effects.items():
        found += [f"effects.{name}: {problem}" for problem in _effect_problems(effect, tables, {})]
    for name, persona in tables.npcs.items():
        found += [f"npcs.{name}: {problem}" for problem in _persona_problems(persona, tables)]
    return found


def faction_problems(tables: Tables, members: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """The faults of the factions beside the characters."""
    for faction, who in members.items():
        if not is_token(faction):
            yield f"factions.{faction!a}: a faction's name must be {NAME_RULE}"
        yield from (f"factions.{faction}: {problem}" for problem in _unknown("members", who, tables.npcs))


def _rule_problems(tables: Tables) -> Iterator[str]:
    if tables.pulse_ms < MINUTE_MS:
        yield f"pulse_minutes must be 1 or more, found {tables.pulse_ms // MINUTE_MS}"
    if any(getattr(tables.halves, half) < MINUTE_MS for half in HALVES):
        yield "half lives must be 1 hour or more"
    if not 0 < tables.forget_below < 1000:
        yield f"forget_below must be 1 to 999, found {tables.forget_below}"
    if min(tables.habit, tables.schedule, tables.whim) < 0:
        yield "habit, schedule and whim must be 0 or more"
    if "neutral" not in tables.emotions or not all(map(is_token, tables.emotions)):
        yield f"emotions must be {NAME_RULE} and have neutral among them"
    if set(tables.effects) != set(EFFECTS):
        yield f"effects must be {', '.join(EFFECTS)}, found {', '.join(tables.effects)}"
    if (
        not 0 < tables.dialogue.most_open <= MOST_OPEN
        or min(tables.dialogue.budget_ms, tables.dialogue.mention + 1) < 1
        or not 0 < tables.dialogue.max_tokens <= 4096
    ):
        yield f"dialogue: wanted most_open 1 to {MOST_OPEN}, budget_ms 1 or more and max_tokens 1 to 4096"
    passages, tokens = tables.dialogue.passages, tables.dialogue.passage_tokens
    if not (0 <= passages <= MOST_PASSAGES and (not passages or 0 < tokens <= 8192)):
        yield f"dialogue: wanted passages 0 to {MOST_PASSAGES}, and passage_tokens 1 to 8192 if there are any"
    if not (is_token(tables.dialogue.kind) and tables.dialogue.tier in ("gold", "silver", "bronze")):
        yield "dialogue: wanted a kind's name and one of the tiers gold, silver and bronze"
    for need, body in tables.needs.items():
        if not is_token(need) or not -1000 <= body.per_hour <= 1000 or body.trait not in ("", *FACTORS):
            yield f"needs.{need}: wanted per_hour -1000 to 1000 and a trait of {', '.join(FACTORS)} or none"


def _unknown(what: str, names: Iterable[str], known: Iterable[str]) -> Iterator[str]:
    strange = sorted(set(names) - set(known))
    if strange:
        yield f"{what}: there is no {', '.join(strange)}"


def _action_problems(action: Action, tables: Tables) -> Iterator[str]:
    if not is_token(action.name) or action.name == "none":
        yield f"a deed's name must be {NAME_RULE} and not `none`"
    if action.kind not in KINDS:
        yield f"kind must be one of {', '.join(KINDS)}, found {action.kind!r}"
    yield from _unknown("relieves", action.relieves, tables.needs)
    yield from _unknown("by", action.by, FACTORS)
    if not all(0 <= relief <= 1000 for relief in action.relieves.values()):
        yield "relieves must be 0 to 1000 per hour"
    if not 0 <= action.settles <= 1000:
        yield f"settles must be 0 to 1000, found {action.settles}"
    yield from _effect_problems(action.effect, tables, {})


def _effect_problems(effect: Effect, tables: Tables, goals: Mapping[str, object]) -> Iterator[str]:
    feelings = (effect.trust, effect.fear, effect.affection, effect.mood, effect.urgency, *effect.needs.values())
    if not all(-1000 <= feeling <= 1000 for feeling in feelings) or not 0 <= effect.salience <= 1000:
        yield "feelings must be -1000 to 1000, salience 0 to 1000"
    if effect.salience and not effect.text:
        yield "what is remembered needs its text"
    yield from _text_problems(effect.text)
    yield from _unknown("needs", effect.needs, tables.needs)
    yield from _unknown("goals", filter(None, (effect.goal, effect.reaches)), goals)


def _text_problems(text: str) -> Iterator[str]:
    try:
        text.format_map(dict.fromkeys(WORDS, ""))
    except (KeyError, ValueError, IndexError, AttributeError) as error:
        yield f"text may hold {', '.join(WORDS)} in braces, found {text!r} ({error!r})"


def _persona_problems(persona: Persona, tables: Tables) -> Iterator[str]:
    deeds = tables.actions
    names = (persona.name, *persona.haunts, persona.language, persona.night_language, *persona.goals)
    yield from (f"{name!r} must be {NAME_RULE}" for name in names if not is_token(name))
    if not all(-1000 <= value <= 1000 for value in persona.traits.values()):
        yield "traits must be 0 to 1000"
    yield from _unknown("may", persona.may, deeds)
    if not 0 < len(set(persona.may)) == len(persona.may) <= MAX_ACTIONS:
        yield f"may must name 1 to {MAX_ACTIONS} deeds, each once"
    for kind in ("life", "reaction"):
        if not any(deeds[name].kind == kind for name in persona.may if name in deeds):
            yield f"may needs at least one deed of kind {kind}"
    yield from _unknown("places", persona.places, persona.may)
    yield from _unknown("bonds", persona.bonds, tables.npcs)
    yield from _schedule_problems(persona, tables)
    for mood in MOODS:
        if not persona.lines.get(mood) or not all(0 < len(line) <= MAX_LINE for line in persona.lines[mood]):
            yield f"lines.{mood}: wanted one line or more of 1 to {MAX_LINE} characters"
    for goal, body in persona.goals.items():
        yield from _unknown(f"goals.{goal}.by", body.by, persona.may)
        if not 0 <= body.urgency <= 1000:
            yield f"goals.{goal}: urgency must be 0 to 1000, found {body.urgency}"
    for (on, value), effect in persona.reacts.items():
        if on not in CAUSES:
            yield f"reacts: on must be one of {', '.join(CAUSES)}, found {on!r}"
        if not all(map(is_token, value.split("=", 1))):
            yield f"reacts: value {value!r} must be {NAME_RULE}"
        yield from (f"reacts {on} {value}: {problem}" for problem in _effect_problems(effect, tables, persona.goals))


def _schedule_problems(persona: Persona, tables: Tables) -> Iterator[str]:
    life = {name for name in persona.may if name in tables.actions and tables.actions[name].kind == "life"}
    yield from _unknown("schedule", (slot.action for slot in persona.schedule), life)
    minutes = [slot.minute for slot in persona.schedule]
    if not minutes or len(set(minutes)) < len(minutes) or min(minutes) < 0:
        yield f"schedule: wanted one slot or more at different times, found minutes {minutes}"
