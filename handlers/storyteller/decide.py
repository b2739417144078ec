"""The course of an arc: the world stirs it, a pulse may bring a beat, the beat is told, players choose."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from google.protobuf.message import Message

from bus.event import Event
from handlers.answers import by_model
from handlers.names import NAME_RULE, is_token
from handlers.storyteller import telling
from handlers.storyteller.causes import causes, player_of
from handlers.storyteller.curve import chosen, considered, finished, wanted
from handlers.storyteller.state import CHOOSING, OVER, RESTING, TELLING, WAITING, Arc
from handlers.storyteller.tables import MAX_TENSION, ArcTable, Beat, Tables, Way
from schemas.gen.worldbus.inference.v1.inference_pb2 import (
    InferenceCancelled,
    InferenceCompleted,
    InferenceDegraded,
    InferenceExpired,
    InferenceRejected,
)
from schemas.gen.worldbus.narrative.v1.narrative_pb2 import SceneChangeRequested
from schemas.gen.worldbus.storyteller.v1 import storyteller_pb2 as proto
from schemas.gen.worldbus.storyteller.v1.types_pb2 import StoryPath
from schemas.gen.worldbus.time.v1.time_pb2 import WakeCancelRequested, WakeFired, WakeRequested

MINUTE_MS: Final = 60_000
PULSE: Final = "pulse"
PATIENCE_MS: Final = 10_000  # real milliseconds until a beat is told in its author's words

Said = Sequence[Message]


def decide(tables: Tables, event: Event, arc: Arc) -> Said:
    """The arc's answer to `event`."""
    table = tables.arcs.get(arc.name)
    if table is None:
        return ()
    match event.data:
        case WakeFired() as it:
            return _woken(table, event, it, arc)
        case InferenceCompleted() | InferenceDegraded() as it:
            return _told(table, arc, it.request_id, it.text, it.rung) if by_model(it) else _told(table, arc, it.request_id)
        case InferenceExpired(request_id=request) | InferenceCancelled(request_id=request) | InferenceRejected(request_id=request):
            return _told(table, arc, request)
        case proto.StoryChoiceRequested() as it:
            return _choose(table, event, it, arc)
        case proto.StoryArcStartRequested():
            return _begin(table) if arc.phase == WAITING else _refused(event, "ALREADY_BEGUN", f"{arc.name} is {arc.phase}: it begins once")
        case _:
            return _stirred(table, event, arc)


def _refused(event: Event, code: str, reason: str) -> Said:
    return (proto.StoryRequestRefused(request=event.name, request_event_id=event.id, code=code, reason=reason),)


def _begin(table: ArcTable) -> Said:
    began = proto.StoryArcBegan(title=table.title, premise=table.premise)
    return began, WakeRequested(name=PULSE, in_world_ms=table.pulse_minutes * MINUTE_MS)


def _stirred(table: ArcTable, event: Event, arc: Arc) -> Said:
    happened, number = causes(event), len(arc.played)
    if arc.phase == OVER or (arc.phase == WAITING and not any(cause in table.starts for cause in happened)):
        return ()
    said: list[Message] = [*_begin(table)] if arc.phase == WAITING else []
    tension = arc.tension
    for stir in table.stirs:
        if (stir.on, stir.value) in happened:
            previous, tension = tension, max(0, min(MAX_TENSION, tension + stir.tension))
            said.append(
                proto.StoryTensionChanged(previous=previous, tension=tension, cause="stirred", detail=stir.key, player=player_of(event))
            )
            said += _establish(arc, stir.establishes, number, "deed")
            arc = _knowing(arc, stir.establishes)
    return said


def _woken(table: ArcTable, event: Event, it: WakeFired, arc: Arc) -> Said:
    number = len(arc.played)
    if it.name == PULSE and arc.phase != OVER:
        return _pulse(table, event, arc)
    if it.name == f"told-{number}" and arc.phase == TELLING:
        return _told(table, arc, arc.request)
    if it.name == f"choice-{number}" and arc.phase == CHOOSING:
        return _made(table, arc, _way(table, arc, arc.open[0]), "")
    return ()  # of a beat that is over


def _pulse(table: ArcTable, event: Event, arc: Arc) -> Said:
    following = WakeRequested(name=PULSE, in_world_ms=table.pulse_minutes * MINUTE_MS)
    calmer = max(0, arc.tension - table.calm)
    eased: list[Message] = []
    if calmer != arc.tension:
        eased = [proto.StoryTensionChanged(previous=arc.tension, tension=calmer, cause="eased")]
    arc = replace(arc, tension=calmer)
    if arc.phase != RESTING:
        return *eased, following
    if (beat := chosen(table, arc)) is not None:
        return *eased, *_play(table, event, arc, beat), following
    if finished(table, arc):
        return *eased, proto.StoryArcEnded(beat=arc.beat, beats=len(arc.played))
    return *eased, following


def _play(table: ArcTable, event: Event, arc: Arc, beat: Beat) -> Iterable[Message]:
    number, (want, aim) = len(arc.played) + 1, wanted(table, arc)
    yield proto.StoryBeatBegan(
        number=number,
        beat=beat.name,
        title=beat.title,
        wanted=want,
        aimed=aim,
        tension=beat.tension,
        considered=considered(table, arc),
    )
    yield from _establish(arc, beat.establishes, number, "beat")
    yield from _follow(beat, number)
    after = (arc.tension + beat.tension) // 2
    if after != arc.tension:
        yield proto.StoryTensionChanged(previous=arc.tension, tension=after, cause="beat", detail=beat.name)
    yield telling.asked(table, _knowing(arc, beat.establishes), beat, number, event.id)
    yield WakeRequested(name=f"told-{number}", in_real_ms=PATIENCE_MS)


def _knowing(arc: Arc, facts: Mapping[str, str]) -> Arc:
    return replace(arc, facts=(*arc.facts, *((fact, value) for fact, value in facts.items() if not arc.fact(fact))))


def _establish(arc: Arc, facts: Mapping[str, str], number: int, source: str) -> Iterable[Message]:
    for fact, value in facts.items():
        if not arc.fact(fact):
            yield proto.StoryFactEstablished(fact=fact, value=value, number=number, source=source)


def _follow(part: Beat | Way, number: int) -> Iterable[Message]:
    for each in part.consequences:
        yield proto.StoryConsequence(number=number, kind=each.kind, target=each.target, amount=each.amount, text=each.text)
    for change in part.changes:
        yield SceneChangeRequested(scene=change.scene, object=change.object, condition=change.condition, reason=part.name)


def _told(table: ArcTable, arc: Arc, request: str, text: str = "", rung: str = "") -> Said:
    """An answer came, or (without a text) none will."""
    beat = table.beats.get(arc.beat)
    if arc.phase != TELLING or request != arc.request or beat is None:
        return ()  # an answer to what is not asked any more
    said, arc = telling.told(table, arc, beat, telling.read(beat, text, rung))
    number = len(arc.played)
    ways = [way for way in beat.choices if _fits(arc, way.establishes)]
    cancel = WakeCancelRequested(name=f"told-{number}")
    if not ways:
        return *said, cancel, *_after(arc, beat)
    paths = [StoryPath(name=way.name, text=way.text) for way in ways]
    opened = proto.StoryChoiceOpened(number=number, choices=paths, minutes=table.choice_minutes)
    return *said, cancel, opened, WakeRequested(name=f"choice-{number}", in_world_ms=table.choice_minutes * MINUTE_MS)


def _fits(arc: Arc, facts: Mapping[str, str]) -> bool:
    return all(arc.fact(fact) in ("", value) for fact, value in facts.items())


def _after(arc: Arc, beat: Beat) -> Said:
    if not beat.ends:
        return ()
    return proto.StoryArcEnded(beat=beat.name, beats=len(arc.played)), WakeCancelRequested(name=PULSE)


def _choose(table: ArcTable, event: Event, it: proto.StoryChoiceRequested, arc: Arc) -> Said:
    if arc.phase != CHOOSING:
        return _refused(event, "NO_CHOICE", f"{arc.name} waits for no choice now")
    if not is_token(it.player):
        return _refused(event, "NO_PLAYER", f"wanted the player who chooses, {NAME_RULE}, found {ascii(it.player)[:80]}")
    if it.choice not in arc.open:
        return _refused(event, "UNKNOWN_CHOICE", f"wanted one of {', '.join(arc.open)}, found {ascii(it.choice)[:80]}")
    return _made(table, arc, _way(table, arc, it.choice), it.player)


def _way(table: ArcTable, arc: Arc, name: str) -> Way | None:
    beat = table.beats.get(arc.beat)
    return next((way for way in beat.choices if way.name == name), None) if beat else None


def _made(table: ArcTable, arc: Arc, way: Way | None, player: str) -> Said:
    number, beat = len(arc.played), table.beats.get(arc.beat)
    if way is None or beat is None:  # the table does not know the open choice any more: the story goes on without it
        return (proto.StoryChoiceMade(number=number, choice=arc.open[0], player=player),)
    made = proto.StoryChoiceMade(number=number, choice=way.name, player=player)
    cancel = (WakeCancelRequested(name=f"choice-{number}"),) if player else ()
    return made, *cancel, *_establish(arc, way.establishes, number, "choice"), *_follow(way, number), *_after(arc, beat)
