"""Constructed languages as a handler, `language`: what a player hears, understands and learns.

    NpcSpoke (in a language of the table) ──▶ SpeechHeard, ComprehensionGrew          LanguageStudied ──▶ ComprehensionGrew
    UtteranceRequested ──▶ UtteranceComposed

The languages are data: `language_system(tables)` makes the handler under given ones; a game gives `language` its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from bus.event import Event
from bus.handler import ByWorld, Handler
from handlers.answering import ANSWERS, answering
from handlers.language_system.decide import Listener, decide, evolve, ready
from handlers.language_system.tables import Tables
from handlers.names import is_token
from handlers.plausible import UNBOUNDED, Bounds
from schemas.gen.worldbus.language.v1 import language_pb2 as said
from schemas.gen.worldbus.npc.v1.npc_pb2 import NpcSpoke

if TYPE_CHECKING:
    from handlers.content import Content

NAME: Final = "language"


def entities(tables: Tables, event: Event) -> Sequence[str]:
    """Words of a character concern the player they were said to, if everybody does not understand them anyway."""
    match event.data:
        case NpcSpoke(player=player, language=language):
            return (player,) if event.subsystem == "npc" and language in tables.languages and is_token(player) else ()
        case _:
            return (event.entity,)


language: Final[ByWorld[Content]] = ByWorld(
    name=NAME,
    listens_to=(NpcSpoke, said.LanguageStudied, said.UtteranceRequested),
    emits=(
        said.SpeechHeard,
        said.ComprehensionGrew,
        said.UtteranceComposed,
        said.LanguageRequestRefused,
        *ANSWERS,
    ),
    make=lambda content: language_system(content.languages, content.bounds),
)


def language_system(tables: Tables, bounds: Bounds = UNBOUNDED) -> Handler[Listener]:
    """The handler under the given tables."""
    handler = language.with_rules(
        initial=lambda entity: Listener(),
        decide=partial(decide, ready(tables)),
        evolve=evolve,
        entities=partial(entities, tables),
    )
    return answering(handler, bounds)
