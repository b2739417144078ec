"""Warm-up of an engine before it takes work: the prompts that the world's characters and stories will ask, one token each.

The first request with a schema waits for that schema to be compiled, and the first one of a character for its persona to be read: this is
where that happens. Made from the same tables and by the same code as the requests themselves, so the beginnings are the same text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from itertools import product
from typing import Final, cast

from bus.event import Draft, Event
from handlers.content import Content
from handlers.npc_behavior import prompt as npc_prompt
from handlers.npc_behavior.state import Tie, newborn
from handlers.npc_behavior.tables import Persona, Tables
from handlers.storyteller.state import Arc
from handlers.storyteller.tables import Tables as Tales
from handlers.storyteller.telling import asked
from inference.engine import Part, Prompt, Role
from schemas.gen.worldbus.game.v1.game_pb2 import PlayerSpoke
from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceRequested

MOST: Final = 128
WORDS: Final = "Good evening."


@cache
def prompts(content: Content) -> tuple[Prompt, ...]:
    """At most `MOST` prompts, every character's first, then every other shape of an answer that the world can ask for, each once.

    A game has characters, stories, both or neither.
    """
    npcs = content.npcs if (content.folder / "npcs.toml").exists() else None
    asks = [*(_first_words(npcs) if npcs is not None else ())]
    asks += _beats(content.story) if (content.folder / "story.toml").exists() else ()
    found = [_prompt(ask) for ask in asks]
    if not found:
        return ()
    shapes = _other_shapes(npcs, {one.json_schema for one in found}) if npcs is not None else []
    short = replace(found[0], parts=found[0].parts[:1] + found[0].parts[-1:])
    return tuple([*found, *(replace(short, json_schema=shape) for shape in shapes)][:MOST])


def _first_words(tables: Tables) -> Iterator[InferenceRequested]:
    """A stranger speaks to each character."""
    draft = Draft(data=PlayerSpoke(text=WORDS), world="somewhere", entity="somebody", subsystem="game", id="warm-up")
    event = Event(raw=draft.encode(), subject=draft.subject, partition=0, position=0)
    for name, persona in tables.npcs.items():
        yield npc_prompt.request(tables, persona, newborn(tables, name), event, event.entity, WORDS)


def _beats(story: Tales) -> Iterator[InferenceRequested]:
    """Each beat as it is told when nothing is known yet; most differ in the facts that they leave open."""
    seen: set[str] = set()
    for table in story.arcs.values():
        for beat in table.beats.values():
            ask = asked(table, Arc(name=table.name), beat, 0, "warm-up")
            if ask.json_schema not in seen:
                seen.add(ask.json_schema)
                yield ask


def _other_shapes(tables: Tables, known: Iterable[str]) -> list[str]:
    """List the other shapes of answers, since the possible deeds depend on a character's feelings: one tie on each side of every limit."""
    shapes = dict.fromkeys(npc_prompt.schema(tables, persona, tie) for persona in tables.npcs.values() for tie in _ties(tables, persona))
    return [shape for shape in shapes if shape not in set(known)]


def _ties(tables: Tables, persona: Persona) -> Iterator[Tie]:
    deeds = [tables.actions[name] for name in persona.may if tables.actions[name].kind == "spoken"]
    trust = sorted({0, *(deed.min_trust for deed in deeds)})
    affection = sorted({0, *(deed.min_affection for deed in deeds)})
    fear = sorted({0, *(deed.max_fear + 1 for deed in deeds if deed.max_fear < 1000)})
    for points in product(trust, affection, fear):
        yield Tie(trust=points[0], affection=points[1], fear=points[2])


def _prompt(ask: InferenceRequested) -> Prompt:
    parts = tuple(Part(cast(Role, part.role), part.text) for part in ask.prompt)
    return Prompt(parts=parts, json_schema=ask.json_schema, max_tokens=1, id="warm-up")
