"""Stories as tables: arcs, their beats and how they were told, what is true, what followed, and how tension moved."""

from __future__ import annotations

from typing import Any

from bus.event import Event
from projections.projection import Change, Projection, Table, sql_beside
from schemas.gen.worldbus.storyteller.v1 import storyteller_pb2 as said

ARCS = Table("story_arcs", key=("world", "arc"))
BEATS = Table("story_beats", key=("world", "arc", "number"))
FACTS = Table("story_facts", key=("world", "arc", "fact"))
REFUSALS = Table("story_refusals", key=("world", "arc", "position"))
CONSEQUENCES = Table("story_consequences", key=("world", "arc", "position"))
TENSION = Table("story_tension", key=("world", "arc", "position"))


def _arc(event: Event, **columns: Any) -> Change:
    return ARCS.put(event.world, event.entity, **columns)


def _beat(event: Event, number: int, **columns: Any) -> Change:
    return BEATS.put(event.world, event.entity, number, **columns)


def began(event: Event, it: said.StoryArcBegan) -> Change:
    return _arc(event, title=it.title, premise=it.premise, began_at=event.time_ns)


def tension_changed(event: Event, it: said.StoryTensionChanged) -> list[Change]:
    moved = {"previous": it.previous, "tension": it.tension, "cause": it.cause, "detail": it.detail, "player": it.player}
    return [
        _arc(event, tension=it.tension),
        TENSION.put(event.world, event.entity, event.position, changed_at=event.time_ns, **moved),
    ]


def beat_began(event: Event, it: said.StoryBeatBegan) -> list[Change]:
    considered = [{"beat": each.beat, "distance": each.distance, "barred_by": each.barred_by} for each in it.considered]
    figures = {"wanted": it.wanted, "aimed": it.aimed, "tension": it.tension}
    return [
        _arc(event, phase="telling", beat=it.beat, beats=it.number),
        _beat(event, it.number, beat=it.beat, title=it.title, considered=considered, began_at=event.time_ns, **figures),
    ]


def narrated(event: Event, it: said.StoryNarrated) -> list[Change]:
    told = {"text": it.text, "rung": it.rung, "request_id": it.request_id, "narrated_at": event.time_ns}
    return [_arc(event, phase="resting"), _beat(event, it.number, **told)]


def choice_opened(event: Event, it: said.StoryChoiceOpened) -> list[Change]:
    return [_arc(event, phase="choosing"), _beat(event, it.number, choices=[path.name for path in it.choices])]


def choice_made(event: Event, it: said.StoryChoiceMade) -> list[Change]:
    return [_arc(event, phase="resting"), _beat(event, it.number, choice=it.choice, chosen_by=it.player)]


def established(event: Event, it: said.StoryFactEstablished) -> Change:
    return FACTS.put(
        *(event.world, event.entity, it.fact), value=it.value, number=it.number, source=it.source, established_at=event.time_ns
    )


def refused(event: Event, it: said.StoryFactRefused) -> Change:
    claim = {"fact": it.fact, "value": it.value, "known": it.known, "number": it.number}
    return REFUSALS.put(event.world, event.entity, event.position, refused_at=event.time_ns, **claim)


def followed(event: Event, it: said.StoryConsequence) -> Change:
    what = {"number": it.number, "kind": it.kind, "target": it.target, "amount": it.amount, "text": it.text}
    return CONSEQUENCES.put(event.world, event.entity, event.position, happened_at=event.time_ns, **what)


def ended(event: Event, it: said.StoryArcEnded) -> Change:
    return _arc(event, phase="over", ended_at=event.time_ns)


stories = Projection(
    name="stories",
    version=1,
    said_by="storyteller",
    schema=sql_beside(__file__),
    tables=(ARCS, BEATS, FACTS, REFUSALS, CONSEQUENCES, TENSION),
    on={
        said.StoryArcBegan: began,
        said.StoryTensionChanged: tension_changed,
        said.StoryBeatBegan: beat_began,
        said.StoryNarrated: narrated,
        said.StoryChoiceOpened: choice_opened,
        said.StoryChoiceMade: choice_made,
        said.StoryFactEstablished: established,
        said.StoryFactRefused: refused,
        said.StoryConsequence: followed,
        said.StoryArcEnded: ended,
    },
)
