"""Languages as tables: who understands how much, what was heard, what was composed."""

from __future__ import annotations

from bus.event import Event
from projections.projection import Change, Projection, Table, sql_beside
from schemas.gen.worldbus.language.v1 import language_pb2 as said

COMPREHENSION = Table("comprehension", key=("world", "player", "language"), adds=("words_heard", "speeches"))
SPEECHES = Table("speeches", key=("world", "player", "position"))
UTTERANCES = Table("utterances", key=("world", "player", "request_id"))


def heard(event: Event, it: said.SpeechHeard) -> list[Change]:
    speech = SPEECHES.put(
        *(event.world, event.entity, event.position),
        npc=it.npc,
        language=it.language,
        spoken=it.spoken,
        understood=it.understood,
        share=it.share,
        words=it.words,
        about_position=it.about_position,
        heard_at=event.time_ns,
    )
    return [COMPREHENSION.put(event.world, event.entity, it.language, words_heard=it.words, speeches=1), speech]


def grew(event: Event, it: said.ComprehensionGrew) -> Change:
    return COMPREHENSION.put(
        event.world, event.entity, it.language, level=it.level, stage=it.stage, exposure=it.exposure, grew_at=event.time_ns
    )


def composed(event: Event, it: said.UtteranceComposed) -> Change:
    return UTTERANCES.put(
        *(event.world, event.entity, it.request_id),
        language=it.language,
        text=it.text,
        gloss=it.gloss,
        understood=it.understood,
        made_at=event.time_ns,
    )


languages = Projection(
    name="languages",
    version=1,
    said_by="language",
    schema=sql_beside(__file__),
    tables=(COMPREHENSION, SPEECHES, UTTERANCES),
    on={said.SpeechHeard: heard, said.ComprehensionGrew: grew, said.UtteranceComposed: composed},
)
