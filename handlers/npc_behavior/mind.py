"""Effects of time on feelings, needs and memories. Whole numbers only, so that every machine comes to the same result."""

from __future__ import annotations

from typing import Final

from handlers.npc_behavior.state import Memory, Npc, Tie
from handlers.npc_behavior.tables import HOUR_MS, Effect, Persona, Tables

MOST_DEBT: Final = 10**12  # minor units, either way


def clamp(value: int, low: int, high: int) -> int:
    """`value`, or the bound that it passes."""
    return max(low, min(high, value))


def faded(value: int, elapsed_ms: int, half_ms: int) -> int:
    """The rest of `value`: half of it after each `half_ms`, in straight lines between. Never rises, never changes sign."""
    halvings, rest = divmod(max(elapsed_ms, 0), half_ms)
    whole = abs(value) >> halvings
    left = whole - whole * rest // (2 * half_ms)
    return left if value >= 0 else -left


def tie_now(tables: Tables, persona: Persona, tie: Tie, world_ms: int) -> Tie:
    """The feelings of a tie at `world_ms`; debts do not fade."""
    elapsed, halves = world_ms - tie.world_ms, tables.halves
    return tie._replace(
        trust=faded(tie.trust, elapsed, halves.trust),
        fear=faded(tie.fear, elapsed, halves.fear * (1250 + persona.traits["neuroticism"] * 3 // 4) // 1000),
        affection=faded(tie.affection, elapsed, halves.affection),
        world_ms=world_ms,
    )


def needs_now(tables: Tables, persona: Persona, npc: Npc, world_ms: int) -> dict[str, int]:
    """Every need at `world_ms`: it grew at its own pace, and the deed that went on meanwhile relieved it."""
    elapsed = max(world_ms - npc.needs_ms, 0)
    action = tables.actions.get(npc.action)
    relieves = action.relieves if action is not None else {}
    levels: dict[str, int] = {}
    for name, need in tables.needs.items():
        pace = need.per_hour * (1000 + (persona.traits[need.trait] // 2 if need.trait else 0)) // 1000
        levels[name] = clamp(npc.needs.get(name, 0) + (pace - relieves.get(name, 0)) * elapsed // HOUR_MS, 0, 1000)
    return levels


def mood_now(tables: Tables, npc: Npc, world_ms: int) -> int:
    """The mood at `world_ms`."""
    return faded(npc.mood.value, world_ms - npc.mood.world_ms, tables.halves.mood)


def urgency_now(tables: Tables, npc: Npc, goal: str, world_ms: int) -> int:
    """The urgency of a goal at `world_ms`; 0 once it is reached."""
    known = npc.goals.get(goal)
    return 0 if known is None or known.reached else faded(known.value, world_ms - known.world_ms, tables.halves.goal)


def salience_now(tables: Tables, memory: Memory, world_ms: int) -> int:
    """The weight of a memory at `world_ms`; the weightiest ones last up to four times as long."""
    return faded(memory.salience, world_ms - memory.world_ms, tables.halves.memory * (1000 + 3 * memory.salience) // 1000)


def moved(tie: Tie, effect: Effect, persona: Persona, debt_minor: int = 0) -> Tie:
    """The tie after `effect`, as strongly as the character takes it."""
    return tie._replace(
        trust=clamp(tie.trust + _taken(effect.trust, persona), -1000, 1000),
        fear=clamp(tie.fear + effect.fear * (1000 + persona.traits["neuroticism"] // 2) // 1000, 0, 1000),
        affection=clamp(tie.affection + _taken(effect.affection, persona), -1000, 1000),
        debt_minor=clamp(tie.debt_minor + debt_minor, -MOST_DEBT, MOST_DEBT),
    )


def _taken(change: int, persona: Persona) -> int:
    """The agreeable take kindness to heart, the others offence."""
    kindness = persona.traits["agreeableness"] // 2
    strength = 1000 + kindness if change >= 0 else 1000 - kindness
    return change * strength // 1000 if change >= 0 else -(-change * strength // 1000)
