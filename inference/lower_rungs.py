"""The rungs that need no model: a line from a grammar, or one that an author wrote. They always stand, and take about a millisecond."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import structlog

from bus.errors import WorldbusError
from inference.dressing import SAY, dressed, fits, plain, spoken_of
from inference.engine import Engine, Part, Prompt, answer
from inference.work import Work
from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceRequested

GRAMMAR: Final = "grammar"
AUTHORED: Final = "authored"
MOST_WORDS: Final = 64

log = structlog.get_logger(__name__)


class Line(NamedTuple):
    """What is answered, what of it is spoken, and by which rung."""

    text: str
    spoken: str
    rung: str


async def line(work: Work, grammar: Engine | None) -> Line:
    """The best answer that needs no model. Never raises, never empty."""
    if grammar is not None and work.ask.ladder.has(GRAMMAR) and not work.ask.request.choices:
        try:
            text = work.in_shape(plain((await answer(grammar, _prompt(work))).text))
            if spoken := spoken_of(text, work.ask.request.json_schema):
                return Line(text, spoken, GRAMMAR)
        except WorldbusError as error:
            log.debug("grammar_failed", request=work.ask.id, error=str(error))
    return authored(work.ask.request, work.ask.ladder.lines)


def _prompt(work: Work) -> Prompt:
    request = work.ask.request
    return Prompt(
        parts=(Part("user", SAY),),
        grammar=request.fallback.grammar or work.ask.ladder.grammar,
        slots=tuple((slot.name, plain(slot.text)) for slot in request.fallback.slots),
        seed=request.seed,
        max_tokens=MOST_WORDS,
    )


def authored(request: InferenceRequested, lines: Sequence[str]) -> Line:
    """A line that an author wrote: the request's own if one fits, else of `lines`, those of the ladder. By the seed, so always the same."""
    schema, choices = request.json_schema, request.choices
    own = [one for one in request.fallback.lines if fits(one, schema, choices) and spoken_of(one, schema)]
    among = list(choices) or own or [dressed(one, schema, choices, request.fallback.lines) for one in lines]
    text = among[request.seed % len(among)]
    text = text if schema or choices else plain(text)
    return Line(text, spoken_of(text, schema) or plain(text), AUTHORED)
