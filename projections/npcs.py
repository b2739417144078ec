"""Characters as tables: how they are, whom they trust, what they did and why, what they said and remember."""

from __future__ import annotations

from collections.abc import Iterable

from bus.event import Event
from projections.projection import Change, Projection, Table, sql_beside
from schemas.gen.worldbus.npc.v1 import npc_pb2 as said
from schemas.gen.worldbus.npc.v1.types_pb2 import NpcNeed, NpcOption

NPCS = Table("npcs", key=("world", "npc"), adds=("lines", "deeds", "silences", "rejected"))
RELATIONSHIPS = Table("relationships", key=("world", "npc", "player"), adds=("lines", "changes"))
MEMORIES = Table("npc_memories", key=("world", "npc", "player", "number"))
LINES = Table("npc_lines", key=("world", "npc", "position"))
DEEDS = Table("npc_deeds", key=("world", "npc", "position"))
REFUSALS = Table("npc_refusals", key=("world", "npc", "position"))
GOALS = Table("npc_goals", key=("world", "npc", "goal"))


def _levels(needs: Iterable[NpcNeed]) -> dict[str, int]:
    return {need.need: need.level for need in needs}


def _option(option: NpcOption) -> dict[str, object]:
    parts = [{"part": part.part, "points": part.points} for part in option.parts]
    return {"action": option.action, "score": option.score, "parts": parts}


def appeared(event: Event, it: said.NpcAppeared) -> Change:
    return NPCS.put(event.world, event.entity, name=it.name, place=it.place)


def noticed(event: Event, it: said.NpcNoticed) -> Change | None:
    return NPCS.put(event.world, event.entity, **{it.kind: it.value}) if it.kind in ("time_of_day", "season") else None


def acted(event: Event, it: said.NpcActed) -> list[Change]:
    who = (event.world, event.entity)
    goes_on = {"place": it.place, "action": it.action, "since_world_ms": it.world_ms, "needs": _levels(it.needs)}
    deed = DEEDS.put(
        *(*who, event.position),
        action=it.action,
        target=it.target,
        place=it.place,
        previous_place=it.previous_place,
        cause=it.cause,
        considered=[_option(option) for option in it.considered],
        needs=_levels(it.needs),
        world_ms=it.world_ms,
        request_id=it.request_id,
    )
    return [NPCS.put(*who, deeds=1, **({} if it.cause == "dialogue" else goes_on)), deed]


def spoke(event: Event, it: said.NpcSpoke) -> list[Change]:
    line = LINES.put(
        *(event.world, event.entity, event.position),
        player=it.player,
        heard=it.heard,
        text=it.text,
        language=it.language,
        emotion=it.emotion,
        place=it.place,
        rung=it.rung,
        interrupted=it.interrupted,
        request_id=it.request_id,
        spoken_at=event.time_ns,
    )
    return [NPCS.put(event.world, event.entity, lines=1), RELATIONSHIPS.put(event.world, event.entity, it.player, lines=1), line]


def kept_silent(event: Event, it: said.NpcKeptSilent) -> list[Change]:
    return [NPCS.put(event.world, event.entity, silences=1), _refusal(event, it, "silence", "")]


def rejected(event: Event, it: said.NpcActionRejected) -> list[Change]:
    return [NPCS.put(event.world, event.entity, rejected=1), _refusal(event, it, "deed", it.action)]


def _refusal(event: Event, it: said.NpcKeptSilent | said.NpcActionRejected, kind: str, action: str) -> Change:
    return REFUSALS.put(
        *(event.world, event.entity, event.position),
        player=it.player,
        kind=kind,
        action=action,
        code=it.code,
        reason=it.reason,
        request_id=it.request_id,
        refused_at=event.time_ns,
    )


def felt(event: Event, it: said.RelationshipChanged) -> Change:
    return RELATIONSHIPS.put(
        *(event.world, event.entity, it.player),
        trust=it.trust,
        fear=it.fear,
        affection=it.affection,
        debt_minor=it.debt_minor,
        cause=it.cause,
        world_ms=it.world_ms,
        changes=1,
        changed_at=event.time_ns,
    )


def remembered(event: Event, it: said.NpcRemembered) -> list[Change]:
    whom = (event.world, event.entity, it.player)
    memory = MEMORIES.put(
        *(*whom, it.number),
        kind=it.kind,
        memory=it.memory,
        salience=it.salience,
        world_ms=it.world_ms,
        about_position=it.about_position,
    )
    return [*(MEMORIES.drop(*whom, number) for number in it.crowded_out), memory]


def forgot(event: Event, it: said.NpcForgot) -> list[Change]:
    return [MEMORIES.drop(event.world, event.entity, "", number) for number in it.numbers]


def forgot_player(event: Event, it: said.NpcForgotPlayer) -> list[Change]:
    whom = (event.world, event.entity, it.player)
    return [RELATIONSHIPS.drop(*whom), MEMORIES.drop(*whom)]


def mood_changed(event: Event, it: said.NpcMoodChanged) -> Change:
    return NPCS.put(event.world, event.entity, mood=it.mood, mood_cause=it.cause)


def needs_changed(event: Event, it: said.NpcNeedsChanged) -> Change:
    return NPCS.put(event.world, event.entity, needs=_levels(it.needs))


def goal_changed(event: Event, it: said.NpcGoalChanged) -> Change:
    return GOALS.put(event.world, event.entity, it.goal, urgency=it.urgency, reached=it.reached, cause=it.cause, world_ms=it.world_ms)


npcs = Projection(
    name="npcs",
    version=1,
    said_by="npc",
    schema=sql_beside(__file__),
    tables=(NPCS, RELATIONSHIPS, MEMORIES, LINES, DEEDS, REFUSALS, GOALS),
    on={
        said.NpcAppeared: appeared,
        said.NpcNoticed: noticed,
        said.NpcActed: acted,
        said.NpcSpoke: spoke,
        said.NpcKeptSilent: kept_silent,
        said.NpcActionRejected: rejected,
        said.RelationshipChanged: felt,
        said.NpcRemembered: remembered,
        said.NpcForgot: forgot,
        said.NpcForgotPlayer: forgot_player,
        said.NpcMoodChanged: mood_changed,
        said.NpcNeedsChanged: needs_changed,
        said.NpcGoalChanged: goal_changed,
    },
)
