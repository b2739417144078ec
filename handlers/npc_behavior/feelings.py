"""Effects of an event on a character: feelings for the person who caused it, mood, needs, goals, and a memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from google.protobuf.message import Message

from bus.event import Event
from handlers.npc_behavior.choose import needs_said
from handlers.npc_behavior.memory import remember, room
from handlers.npc_behavior.mind import clamp, mood_now, moved, needs_now, tie_now, urgency_now
from handlers.npc_behavior.state import Npc, Tie
from handlers.npc_behavior.tables import Effect, Persona, Tables
from schemas.gen.worldbus.npc.v1.npc_pb2 import NpcGoalChanged, NpcMoodChanged, NpcNeedsChanged, RelationshipChanged


def affected(
    tables: Tables,
    persona: Persona,
    npc: Npc,
    event: Event,
    effect: Effect,
    *,
    cause: str,
    kind: str,
    player: str = "",
    debt_minor: int = 0,
    words: Mapping[str, str] | None = None,
) -> Iterator[Message]:
    """The events that follow from `effect`; `words` fill its text. Nothing is said of values that do not change."""
    if player:
        yield from room(npc, player)
        yield from feel(tables, persona, npc, effect, player=player, cause=cause, debt_minor=debt_minor)
    yield from _lifted(tables, npc, effect, cause)
    yield from _needing(tables, persona, npc, effect, cause)
    yield from _wanting(tables, npc, effect, cause)
    text = effect.text.format_map({"player": player, **(words or {})})
    yield from remember(tables, npc, kind=kind, text=text, salience=effect.salience, player=player, position=event.position)


def feel(tables: Tables, persona: Persona, npc: Npc, effect: Effect, *, player: str, cause: str, debt_minor: int = 0) -> Iterator[Message]:
    """The tie to a player after `effect`; whoever asks for it made room for the player."""
    before = tie_now(tables, persona, npc.tie(player), npc.world_ms)
    after = moved(before, effect, persona, debt_minor)
    if after != before:
        yield _relationship(before, after, player, cause)


def _relationship(before: Tie, after: Tie, player: str, cause: str) -> RelationshipChanged:
    return RelationshipChanged(
        player=player,
        trust=after.trust,
        fear=after.fear,
        affection=after.affection,
        debt_minor=after.debt_minor,
        trust_change=after.trust - before.trust,
        fear_change=after.fear - before.fear,
        affection_change=after.affection - before.affection,
        debt_change_minor=after.debt_minor - before.debt_minor,
        cause=cause,
        world_ms=after.world_ms,
    )


def _lifted(tables: Tables, npc: Npc, effect: Effect, cause: str) -> Iterator[Message]:
    before = mood_now(tables, npc, npc.world_ms)
    after = clamp(before + effect.mood, -1000, 1000)
    if after != before:
        yield NpcMoodChanged(mood=after, cause=cause, world_ms=npc.world_ms)


def _needing(tables: Tables, persona: Persona, npc: Npc, effect: Effect, cause: str) -> Iterator[Message]:
    before = needs_now(tables, persona, npc, npc.world_ms)
    after = {need: clamp(level + effect.needs.get(need, 0), 0, 1000) for need, level in before.items()}
    if after != before:
        yield NpcNeedsChanged(needs=needs_said(after), cause=cause, world_ms=npc.world_ms)


def _wanting(tables: Tables, npc: Npc, effect: Effect, cause: str) -> Iterator[Message]:
    goal = effect.reaches or effect.goal
    known = npc.goals.get(goal)
    if not goal or (known is not None and known.reached):
        return
    before = urgency_now(tables, npc, goal, npc.world_ms)
    after = 0 if effect.reaches else clamp(before + effect.urgency, 0, 1000)
    if effect.reaches or after != before:
        yield NpcGoalChanged(goal=goal, urgency=after, reached=bool(effect.reaches), cause=cause, world_ms=npc.world_ms)


def scaled(effect: Effect, thousandths: int) -> Effect:
    """The effect's feelings for the doer, by a factor; the rest as it is."""
    trust, fear, affection = (value * thousandths // 1000 for value in (effect.trust, effect.fear, effect.affection))
    return replace(effect, trust=trust, fear=fear, affection=affection)
