"""Decisions about the languages that a player hears, and about the player's growing understanding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from google.protobuf.message import Message

from bus.event import Event
from handlers.language_system.compose import compose, glossed, problem, sentence
from handlers.language_system.comprehension import MAX_EXPOSURE, ear, level
from handlers.language_system.lexicon import Lexicon, prepare
from handlers.language_system.tables import Tables
from handlers.language_system.translate import heard
from handlers.names import NAME_RULE, is_token
from schemas.gen.worldbus.language.v1.language_pb2 import (
    ComprehensionGrew,
    LanguageRequestRefused,
    LanguageStudied,
    SpeechHeard,
    UtteranceComposed,
    UtteranceRequested,
)
from schemas.gen.worldbus.npc.v1.npc_pb2 import NpcSpoke

MAX_STUDY: Final = 10_000  # words at once
MAX_SOURCE: Final = 64  # characters
STEP: Final = 10  # thousandths: growth by hearing is said at every hundredth

Said = Sequence[Message]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """A player: how many words of each language came by so far."""

    exposure: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Languages:
    """The languages of a world, ready to be spoken."""

    tables: Tables
    lexicons: Mapping[str, Lexicon]
    common_words: frozenset[str]


def ready(tables: Tables) -> Languages:
    """Make the words that must not sound alike."""
    return Languages(tables, prepare(tables), frozenset(tables.common_words))


def decide(languages: Languages, event: Event, player: Listener) -> Said:
    """The events that follow for the player's understanding."""
    match event.data:
        case NpcSpoke() as it:
            return tuple(_listened(languages, event, it, player))
        case LanguageStudied() as it:
            return _studied(languages, event, it, player)
        case UtteranceRequested() as it:
            return _asked(languages, event, it, player)
        case _:
            return ()


def evolve(player: Listener, event: Event) -> Listener:
    """The player after the handler said `event`."""
    match event.data:
        case SpeechHeard(language=language, words=words):
            total = min(player.exposure.get(language, 0) + words, MAX_EXPOSURE)
            return replace(player, exposure={**player.exposure, language: total})
        case ComprehensionGrew(language=language, exposure=exposure):
            return replace(player, exposure={**player.exposure, language: exposure})
        case _:
            return player


def _listened(languages: Languages, event: Event, it: NpcSpoke, player: Listener) -> Iterator[Message]:
    lexicon = languages.lexicons.get(it.language)
    if lexicon is None:
        return
    before = player.exposure.get(it.language, 0)
    understands = ear(lexicon.language, it.player, languages.common_words)
    found = heard(languages.tables, lexicon, it.text, understands, level(lexicon.language, before))
    yield SpeechHeard(
        npc=event.entity,
        language=it.language,
        spoken=found.spoken,
        understood=found.understood,
        share=found.share,
        words=found.words,
        about_position=event.position,
    )
    grew = _grew(languages, it.language, before, found.words, "speech")
    if grew.stage_reached or grew.level // STEP != grew.previous // STEP:
        yield grew


def _grew(languages: Languages, name: str, before: int, words: int, cause: str) -> ComprehensionGrew:
    language, after = languages.tables.languages[name], min(before + words, MAX_EXPOSURE)
    previous, now = level(language, before), level(language, after)
    stage = languages.tables.stage(now)
    return ComprehensionGrew(
        language=name,
        exposure=after,
        previous=previous,
        level=now,
        stage=stage,
        stage_reached=stage != languages.tables.stage(previous),
        cause=cause,
    )


def _studied(languages: Languages, event: Event, it: LanguageStudied, player: Listener) -> Said:
    if it.language not in languages.lexicons:
        return _unknown(languages, event, it.language)
    if not 1 <= it.words <= MAX_STUDY:
        return _refused(event, "BAD_WORDS", f"words must be 1 to {MAX_STUDY}, found {it.words}")
    if len(it.source) > MAX_SOURCE:
        return _refused(event, "TOO_LONG", f"source may have {MAX_SOURCE} characters, found {len(it.source)}")
    return (_grew(languages, it.language, player.exposure.get(it.language, 0), it.words, "study"),)


def _asked(languages: Languages, event: Event, it: UtteranceRequested, player: Listener) -> Said:
    lexicon = languages.lexicons.get(it.language)
    if not is_token(it.request_id):
        return _refused(event, "BAD_ID", f"request_id must be {NAME_RULE}, found {ascii(it.request_id)[:80]}")
    if lexicon is None:
        return _unknown(languages, event, it.language)
    if wrong := problem(it.meaning):
        return _refused(event, "BAD_MEANING", wrong)
    words = compose(lexicon, it.meaning)
    at = level(lexicon.language, player.exposure.get(it.language, 0))
    understands = ear(lexicon.language, event.entity, languages.common_words)
    clear = [each.gloss if each.gloss and understands(each.gloss, at) else each.form for each in words]
    return (
        UtteranceComposed(
            request_id=it.request_id,
            language=it.language,
            text=sentence([each.form for each in words], question=it.meaning.question),
            gloss=glossed(words),
            understood=sentence(clear, question=it.meaning.question),
        ),
    )


def _unknown(languages: Languages, event: Event, found: str) -> Said:
    return _refused(event, "UNKNOWN_LANGUAGE", f"wanted one of {', '.join(languages.lexicons)}, found {ascii(found)[:80]}")


def _refused(event: Event, code: str, reason: str) -> Said:
    return (LanguageRequestRefused(request=event.name, request_event_id=event.id, code=code, reason=reason),)
