"""The choice of a character's next deed: every deed that it may do is weighed, and every reason recorded beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b

from handlers.npc_behavior.mind import mood_now, needs_now, urgency_now
from handlers.npc_behavior.state import Npc, Tie
from handlers.npc_behavior.tables import Action, Persona, Slot, Tables
from schemas.gen.worldbus.npc.v1.types_pb2 import NpcNeed, NpcOption, NpcScorePart
from schemas.gen.worldbus.time.v1.types_pb2 import WorldTime


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """All that weighs at one moment. `slot` is what the schedule says, `foe` the tie to whoever attacked."""

    tables: Tables
    persona: Persona
    npc: Npc
    needs: Mapping[str, int]
    mood: int
    goals: Mapping[str, int]  # goal → urgency
    dice: str
    slot: Slot | None = None
    foe: Tie | None = None


def moment(
    tables: Tables, persona: Persona, npc: Npc, world_ms: int, *, dice: str, slot: Slot | None = None, foe: Tie | None = None
) -> Moment:
    """Gather the facts that weigh at `world_ms`; `dice` is a text from which chance is made."""
    return Moment(
        tables=tables,
        persona=persona,
        npc=npc,
        needs=needs_now(tables, persona, npc, world_ms),
        mood=mood_now(tables, npc, world_ms),
        goals={goal: urgency_now(tables, npc, goal, world_ms) for goal in persona.goals},
        dice=dice,
        slot=slot,
        foe=foe,
    )


def scheduled(persona: Persona, now: WorldTime) -> Slot:
    """The schedule's slot for this time of the day; before the day's first slot, the last one of the day before."""
    minute = now.hour * 60 + now.minute
    return next((slot for slot in reversed(persona.schedule) if slot.minute <= minute), persona.schedule[-1])


def weigh(at: Moment, kind: str) -> list[NpcOption]:
    """Every deed of this kind that the character may do, best first; of equals in the order of its own list."""
    deeds = (at.tables.actions[name] for name in at.persona.may)
    options = [_option(at, action) for action in deeds if action.kind == kind]
    return sorted(options, key=lambda option: -option.score)


def place_of(at: Moment, action: str) -> str:
    """The place of a deed: the schedule's, else the character's own place for it, else the place where it is."""
    if at.slot is not None and at.slot.action == action:
        return at.slot.place
    return at.persona.places.get(action, at.npc.place)


def _option(at: Moment, action: Action) -> NpcOption:
    parts = [NpcScorePart(part=part, points=points) for part, points in _parts(at, action) if points]
    return NpcOption(action=action.name, score=sum(part.points for part in parts), parts=parts)


def _parts(at: Moment, action: Action) -> Iterator[tuple[str, int]]:
    persona, rules, npc = at.persona, at.tables, at.npc
    yield "base", action.base
    yield from ((f"need:{need}", at.needs[need] * relief // 1000) for need, relief in action.relieves.items())
    yield from ((f"goal:{goal}", at.goals[goal] * body.by.get(action.name, 0) // 1000) for goal, body in persona.goals.items())
    yield from ((f"trait:{trait}", persona.traits[trait] * points // 1000) for trait, points in action.by.items())
    if at.slot is not None and at.slot.action == action.name:
        yield "schedule", rules.schedule * (1000 + persona.traits["conscientiousness"] // 2) // 1000
    yield "time", action.times.get(npc.time_of_day, 0)
    yield "weather", action.skies.get(npc.skies.get(place_of(at, action.name), ""), 0)
    yield "mood", at.mood * action.moods // 1000
    if at.foe is not None:
        yield "fear", at.foe.fear * action.fear // 1000
        yield "affection", at.foe.affection * action.affection // 1000
    if npc.action == action.name:
        yield "habit", rules.habit
    yield "whim", _die(f"{at.dice}\n{npc.entity}\n{action.name}") * rules.whim * (1000 + persona.traits["openness"]) // 2_000_000


def _die(text: str) -> int:
    """0 to 999, always the same for the same text."""
    return int.from_bytes(blake2b(text.encode(), digest_size=4).digest(), "big") % 1000


def needs_said(needs: Mapping[str, int]) -> Iterable[NpcNeed]:
    """The needs as an event holds them."""
    return [NpcNeed(need=need, level=level) for need, level in needs.items()]
