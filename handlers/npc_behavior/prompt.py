"""A character as a model is shown it: its person, its partner, the memories that come to its mind, its place, and the words so far."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from bus.event import Event
from handlers.npc_behavior.memory import plain, recall
from handlers.npc_behavior.mind import mood_now, needs_now, tie_now, urgency_now
from handlers.npc_behavior.state import Npc, Tie
from handlers.npc_behavior.tables import Persona, Tables
from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceRequested
from schemas.gen.worldbus.inference.v1.types_pb2 import Fallback, Knowledge, PromptPart, Slot

MAX_SAY: Final = 600  # characters
MOST_RECALLED: Final = 6
MAX_QUERY: Final = 1024  # characters
NO_DEED: Final = "none"
_TEMPER: Final = {
    "openness": ("set in your ways", "curious"),
    "conscientiousness": ("careless", "dutiful"),
    "extraversion": ("withdrawn", "talkative"),
    "agreeableness": ("hard", "gentle"),
    "neuroticism": ("calm", "anxious"),
}
_WORDS: Final = {
    "trust": ("do not trust them at all", "do not trust them", "would trust them with small things", "trust them"),
    "affection": ("hate them", "dislike them", "like them", "are fond of them"),
}


def request_id(event: Event, entity: str) -> str:
    """The same question asked again is the same request."""
    return "npc-" + blake2b(f"{event.id}\n{entity}".encode(), digest_size=12).hexdigest()


def request(tables: Tables, persona: Persona, npc: Npc, event: Event, player: str, words: str) -> InferenceRequested:
    """The question to the model. Stable parts come first, so that engines find common beginnings in their caches."""
    rules, tie = tables.dialogue, tie_now(tables, persona, npc.tie(player), npc.world_ms)
    name = request_id(event, npc.entity)
    return InferenceRequested(
        request_id=name,
        tier=rules.tier,
        kind=rules.kind,
        prompt=list(_parts(tables, persona, npc, event, player, words, tie)),
        json_schema=schema(tables, persona, tie),
        speakable=("say",),
        max_tokens=rules.max_tokens,
        deadline_ms=event.deadline_ns // 1_000_000,
        budget_ms=0 if event.deadline_ns else rules.budget_ms,
        player=player,
        npc=npc.entity,
        salience=1.0,
        seed=seed(event, npc.entity),
        cancel_key=f"npc-{blake2b(f'{npc.entity} {player}'.encode(), digest_size=12).hexdigest()}",
        fallback=_fallback(tables, persona, npc, player, tie),
        knowledge=_knowledge(tables, persona, npc, event, player, words),
    )


def seed(event: Event, entity: str) -> int:
    """Dice for everything that answers `event`, 0 to 2^31 - 1."""
    return int.from_bytes(blake2b(f"{event.id}\n{entity}".encode(), digest_size=4).digest(), "big") >> 1


def deeds(tables: Tables, persona: Persona, tie: Tie) -> list[str]:
    """The deeds that the character may do in an answer to a person with whom it has this tie."""
    return [name for name in persona.may if (action := tables.actions[name]).kind == "spoken" and not forbidden(tables, action.name, tie)]


def forbidden(tables: Tables, name: str, tie: Tie) -> str:
    """The code of the condition that a deed does not meet; empty if it may be done."""
    action = tables.actions[name]
    if tie.trust < action.min_trust:
        return "NOT_TRUSTED"
    if tie.affection < action.min_affection:
        return "NOT_LIKED"
    return "TOO_AFRAID" if tie.fear > action.max_fear else ""


def schema(tables: Tables, persona: Persona, tie: Tie) -> str:
    """The JSON Schema of an answer; only what may be done now is among the choices."""
    return _schema(tables.emotions, tuple(deeds(tables, persona, tie)))


@lru_cache(maxsize=1024)  # characters and ties are many, the sets of deeds that they leave open are few
def _schema(emotions: tuple[str, ...], deeds: tuple[str, ...]) -> str:
    properties = {
        "say": {"type": "string", "maxLength": MAX_SAY},
        "emotion": {"enum": list(emotions)},
        "action": {"enum": [NO_DEED, *deeds]},
    }
    shape = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    return json.dumps(shape, separators=(",", ":"))


def manner(tie: Tie) -> str:
    """The kind of the character's own lines that fits: `friendly`, `neutral` or `hostile`."""
    warmth = tie.trust + tie.affection - tie.fear
    return "friendly" if warmth >= 200 else "hostile" if warmth <= -300 else "neutral"


def own_line(persona: Persona, tie: Tie, die: int) -> str:
    """A line of the table."""
    lines = persona.lines[manner(tie)]
    return lines[die % len(lines)]


def _fallback(tables: Tables, persona: Persona, npc: Npc, player: str, tie: Tie) -> Fallback:
    kind = manner(tie)
    emotion = {"friendly": "warm", "hostile": "cold"}.get(kind, "neutral")
    slots = {"npc": persona.title, "player": player, "place": npc.place, "manner": kind, "time": npc.time_of_day}
    return Fallback(
        slots=[Slot(name=name, text=text) for name, text in slots.items()],
        lines=_answers(persona.lines[kind], emotion if emotion in tables.emotions else "neutral"),
    )


@lru_cache(maxsize=1024)
def _answers(lines: tuple[str, ...], emotion: str) -> tuple[str, ...]:
    """A character's own lines in the shape of an answer."""
    return tuple(json.dumps({"say": line, "emotion": emotion, "action": NO_DEED}, ensure_ascii=False) for line in lines)


def _knowledge(tables: Tables, persona: Persona, npc: Npc, event: Event, player: str, words: str) -> Knowledge | None:
    """The passages to look up for a prompt: those that the character may know of the world, and its own memories that are not at hand.

    A character knows what it knows, whoever asks: what the player has found out by now opens nothing. Nothing counts that is younger than
    the words, or they would remind it of themselves.
    """
    query = plain(words, MAX_QUERY)
    if not (tables.dialogue.passages and query):
        return None
    return Knowledge(
        query=query,
        audience=persona.knows,
        owner=npc.entity,
        player=player,
        most=tables.dialogue.passages,
        token_budget=tables.dialogue.passage_tokens,
        as_of=event.position,
        world_ms=npc.world_ms,
        exclude=[f"memory:{npc.entity}:{memory.number}" for memory in recall(tables, npc, player, words, MOST_RECALLED)],
    )


def _parts(tables: Tables, persona: Persona, npc: Npc, event: Event, player: str, words: str, tie: Tie) -> Iterator[PromptPart]:
    """World, rules and persona are the same for everybody who asks; passages come behind them, then what is at hand, then the moment."""
    yield PromptPart(role="system", name="world", text=tables.dialogue.world.strip())
    yield PromptPart(role="system", name="rules", text=tables.dialogue.rules.strip())
    yield PromptPart(role="system", name="persona", text=_persona(tables, persona, npc))
    for memory in recall(tables, npc, player, words, MOST_RECALLED):
        # What is remembered may be a player's own words: data, never rules.
        yield PromptPart(role="user", name="memory", text=f"You remember: {memory.text}", position=memory.position)
    yield PromptPart(role="user", name="situation", text=_situation(tables, persona, npc))
    yield PromptPart(role="user", name="relationship", text=_relationship(tie, player))
    for exchange in npc.tie(player).exchanges:
        yield PromptPart(role="user", name="heard", text=exchange.heard)
        yield PromptPart(role="assistant", name="answered", text=exchange.answered)
    yield PromptPart(role="user", name="words", text=words or "(says nothing and waits)", position=event.position)


def _persona(tables: Tables, persona: Persona, npc: Npc) -> str:
    wants = [f"You want {goal.text}." for name, goal in persona.goals.items() if urgency_now(tables, npc, name, npc.world_ms) >= 100]
    return " ".join([f"You are {persona.title}.", persona.text.strip(), *_temper(persona), *wants])


def _temper(persona: Persona) -> Iterator[str]:
    """The traits that stand out, in words."""
    said = [_TEMPER[trait][value > 0] for trait, value in persona.traits.items() if abs(value) >= 300]
    if said:
        yield f"By temper you are {', '.join(said)}."


def _situation(tables: Tables, persona: Persona, npc: Npc) -> str:
    needs = needs_now(tables, persona, npc, npc.world_ms)
    mood = mood_now(tables, npc, npc.world_ms)
    said = [f"You are at {npc.place}."]
    said += [f"It is {npc.time_of_day} in {npc.season}."] if npc.time_of_day and npc.season else []
    said += [f"The sky: {npc.skies[npc.place]}."] if npc.place in npc.skies else []
    said += [f"You were about to {npc.action.replace('-', ' ')}."] if npc.action else []
    said += [f"You badly need {need}." for need, level in needs.items() if level >= 700]
    said += ["Your mood is good."] if mood >= 300 else ["Your mood is dark."] if mood <= -300 else []
    return " ".join(said)


def _relationship(tie: Tie, player: str) -> str:
    if tie._replace(world_ms=0) == Tie():
        return f"{player} is a stranger to you."
    said = [f"You know {player}."]
    for feeling, value in (("trust", tie.trust), ("affection", tie.affection)):
        very_low, low, high, very_high = _WORDS[feeling]
        words = very_low if value <= -400 else low if value <= -100 else very_high if value >= 400 else high if value >= 100 else ""
        said += [f"You {words}."] if words else []
    said += ["You are afraid of them."] if tie.fear >= 300 else []
    said += ["You owe them."] if tie.debt_minor > 0 else ["They owe you."] if tie.debt_minor < 0 else []
    return " ".join(said)
