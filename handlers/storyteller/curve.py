"""The curve of tension: what an arc wants next, and which beat comes nearest to it."""

from __future__ import annotations

from collections.abc import Sequence

from handlers.storyteller.state import Arc
from handlers.storyteller.tables import MAX_TENSION, ArcTable, Beat
from schemas.gen.worldbus.storyteller.v1.types_pb2 import StoryCandidate


def wanted(table: ArcTable, arc: Arc) -> tuple[int, int]:
    """The tension that the curve wants of the next beat, and the one aimed at: corrected by half of what the arc is off it. Thousandths."""
    want = table.curve[min(len(arc.played), len(table.curve) - 1)]
    return want, max(0, min(MAX_TENSION, want + (want - arc.tension) // 2))


def contradicts(arc: Arc, beat: Beat) -> str:
    """The known fact that a beat would contradict; empty if none."""
    against = (fact for fact, value in beat.establishes.items() if arc.fact(fact) not in ("", value))
    fact = next(against, "")
    return f"fact:{fact}={arc.fact(fact)}" if fact else ""


def barred_by(arc: Arc, beat: Beat) -> str:
    """The reason why a beat cannot come now; empty if it can."""
    return contradicts(arc, beat) or next((need.text for need in beat.needs if not need.holds(arc)), "")


def unplayed(table: ArcTable, arc: Arc) -> Sequence[Beat]:
    """The beats not played yet, in the order of the table."""
    return [beat for beat in table.beats.values() if beat.name not in arc.played]


def considered(table: ArcTable, arc: Arc) -> Sequence[StoryCandidate]:
    """Every beat not played yet, and how it fares."""
    _, aim = wanted(table, arc)
    return [
        StoryCandidate(beat=beat.name, distance=abs(beat.tension - aim), barred_by=barred_by(arc, beat)) for beat in unplayed(table, arc)
    ]


def chosen(table: ArcTable, arc: Arc) -> Beat | None:
    """The beat to come: of those that can, the nearest to the tension aimed at, of equals the first of the table."""
    _, aim = wanted(table, arc)
    possible = [beat for beat in unplayed(table, arc) if not barred_by(arc, beat)]
    return min(possible, key=lambda beat: abs(beat.tension - aim), default=None)


def finished(table: ArcTable, arc: Arc) -> bool:
    """Return whether no beat can ever come any more: all that are left contradict the known facts."""
    return all(contradicts(arc, beat) for beat in unplayed(table, arc))
