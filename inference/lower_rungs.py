"""The rungs that need no model: a line from a grammar, or one that an author wrote. They always stand, and take about a millisecond."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import structlog

from bus.errors import WorldbusError
from inference.dressing import SAY, dressed, fits, plain, speakable, spoken_of
from inference.engine import Engine, Part, Prompt, answer
from inference.work import Work
from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceRequested

GRAMMAR: Final = "grammar"
AUTHORED: Final = "authored"
MOST_WORDS: Final = 64

log = structlog.get_logger(__name__)


class Line(NamedTuple):
    """The answer of a rung: its text, the part of it that is spoken, and the rung."""

    text: str
    spoken: str
    rung: str


async def line(work: Work, grammar: Engine | None) -> Line:
    """The best answer that needs no model: by the grammar of its kind, else in an author's words. Never raises, never empty."""
    ask = work.ask
    if grammar is not None and ask.grammar and ask.ladder.has(GRAMMAR) and not ask.request.choices:
        try:
            text = work.in_shape(plain((await answer(grammar, _prompt(work))).text))
            if spoken := spoken_of(text, ask.request.json_schema, ask.speakable):
                return Line(text, spoken, GRAMMAR)
        except WorldbusError as error:
            log.debug("grammar_failed", request=ask.id, error=str(error))
    return authored(ask.request, ask.ladder.lines)


def _prompt(work: Work) -> Prompt:
    request = work.ask.request
    return Prompt(
        parts=(Part("user", SAY),),
        grammar=work.ask.grammar,
        slots=tuple((slot.name, plain(slot.text)) for slot in request.fallback.slots),
        seed=request.seed,
        max_tokens=MOST_WORDS,
    )


def authored(request: InferenceRequested, lines: Sequence[str]) -> Line:
    """An author's line: one of the request's own, verbatim, else of `lines`, those of the ladder. By the seed, so always the same.

    An own line that has not the shape of the answer is put into it; of the answer nothing is decided (`inference.dressing.dressed`).
    """
    schema, choices, names = request.json_schema, request.choices, speakable(request.speakable)
    own = [one for one in request.fallback.lines if fits(one, schema, choices) and spoken_of(one, schema, names)]
    words = [one for one in request.fallback.lines if plain(one).strip() and not one.lstrip().startswith("{")] if not own else []
    among = own or list(choices) or [dressed(one, schema, choices, request.fallback.lines, names) for one in words or lines]
    text = among[request.seed % len(among)]
    text = text if schema or choices else plain(text)
    return Line(text, spoken_of(text, schema, names), AUTHORED)  # never the shape itself: a line of which nothing can be heard is silence
