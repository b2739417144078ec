"""Asking models again what they were asked then, and comparing the answers. Only on request: nothing else that reads a log calls a model.

The prompt is made anew from the recorded request, by the code that workers use, and held against the recorded hash: equal hashes mean that
the model is shown the same text and asked for the same shape with the same seed. What it says is compared with what was recorded. Nothing
is written to the log.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from bus.errors import BadEvent, WorldbusError
from bus.subjects import stored_filter
from inference.dressing import dressed, plain, spoken_of
from inference.engine import Answer, Engine, Prompt, answer
from inference.ladder import ENGINE_RUNGS, Ladders, Rung
from inference.passages import Passage
from inference.request import Ask, ask_of, prompt_hash, prompt_of
from inference.retrieval import shown_of
from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceCompleted, InferenceDegraded, InferenceRequested
from schemas.gen.worldbus.inference.v1.types_pb2 import Citation
from schemas.upcast import recorded_names

if TYPE_CHECKING:
    from bus.event import Event
    from bus.log import Log

Outcome = Literal["same", "beginning", "different", "refused", "failed", "no_engine"]
"""`beginning`: what was recorded is how today's answer begins (it was cut at its deadline); `no_engine`: its tier has no engine here."""
ASKED: Final = (InferenceRequested, InferenceCompleted, InferenceDegraded)
Texts = Callable[[str, Sequence[str]], Awaitable[Mapping[str, str]]]
"""Passages of the knowledge base by (world, ids)."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A request that a model answered, and its end."""

    request: Event
    end: Event

    @property
    def answer(self) -> InferenceCompleted | InferenceDegraded:
        return cast(InferenceCompleted | InferenceDegraded, self.end.data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One request asked again. `prompt_same`: the prompt made anew has the recorded hash."""

    request_id: str
    world: str
    position: int
    tier: str
    rung: str
    outcome: Outcome
    prompt_same: bool
    recorded_model: str
    today_model: str
    recorded: str
    today: str
    note: str = ""


@dataclass(slots=True)
class Reinferred:
    """The outcome of asking models again."""

    compared: list[Compared] = field(default_factory=list)

    def count(self, outcome: Outcome) -> int:
        """The number of answers that ended so."""
        return sum(one.outcome == outcome for one in self.compared)

    @property
    def other_prompts(self) -> int:
        """The number of prompts that could not be made anew as they were."""
        return sum(not one.prompt_same for one in self.compared)

    @property
    def alike(self) -> bool:
        """True if every model that was asked says today what it said then."""
        return all(one.outcome in ("same", "beginning") for one in self.compared)


async def recorded(log: Log, *, until: int | None = None, only: Collection[str] = ()) -> AsyncIterator[Recorded]:
    """The requests in the log that a model answered, or those named, in the order of their ends."""
    requests: dict[tuple[str, str], Event] = {}
    filters = [stored_filter(name=name) for name in sorted(recorded_names(ASKED))]
    async for events in log.read(until=until, filters=filters):
        for event in events:
            try:
                data = cast(Any, event.data)
            except BadEvent:
                continue
            key = event.world, data.request_id
            if event.kind == InferenceRequested.DESCRIPTOR.name:
                requests.setdefault(key, event)
            elif (request := requests.pop(key, None)) is not None and data.rung in ENGINE_RUNGS and (not only or key[1] in only):
                yield Recorded(request, event)


async def reinfer(found: Sequence[Recorded], ladders: Ladders, engines: Mapping[str, Engine], texts: Texts) -> Reinferred:
    """Ask again, tier by tier, one request after the other: what runs beside it must not change an answer. Engines are opened here."""
    report = Reinferred()
    for tier in dict.fromkeys(one.answer.tier for one in found):
        async with AsyncExitStack() as stack:
            engine = engines.get(tier)
            if engine is not None:
                await stack.enter_async_context(engine.open())
                await engine.ready()
            for one in found:
                if one.answer.tier == tier:
                    report.compared.append(await _again(one, ladders, engine, texts))
    report.compared.sort(key=lambda one: one.position)
    return report


async def _again(one: Recorded, ladders: Ladders, engine: Engine | None, texts: Texts) -> Compared:
    ladder = ladders.of(cast(InferenceRequested, one.request.data).kind)
    if ladder is None:
        return _compared(one, engine, "refused", note="its kind has no ladder any more")
    ask = ask_of(one.request, ladder, 1, b"")
    known = await texts(ask.world, [citation.passage_id for citation in one.answer.citations])
    ask.passages = shown_of(ask.request, list(_passages(one.answer.citations, known)))
    prompt = prompt_then(ask, one.answer.rung, one.answer.measured.prompt_hash)
    same = prompt_hash(prompt) == one.answer.measured.prompt_hash
    if engine is None:
        return _compared(one, None, "no_engine", prompt_same=same)
    try:
        found = await answer(engine, prompt)
    except WorldbusError as error:
        refused = type(error).__name__ == "PromptRejected"
        return _compared(one, engine, "refused" if refused else "failed", prompt_same=same, note=str(error))
    today = _said(found, ask, one.answer.rung)
    return _compared(one, engine, _outcome(one.answer, today, ask), today=today, prompt_same=same)


def prompt_then(ask: Ask, rung: str, wanted: str) -> Prompt:
    """The prompt that has this hash, of those that a worker can have made of the request; the recorded rung's, if none has."""
    prompts = {one.name: _prompt(ask, one) for one in ask.ladder.of_engines}
    for prompt in prompts.values():
        if prompt_hash(prompt) == wanted:
            return prompt
    return prompts.get(rung) or prompt_of(ask, ask.request.max_tokens)


def _prompt(ask: Ask, rung: Rung) -> Prompt:
    most = ask.request.max_tokens
    if rung.name == "choice":
        return prompt_of(ask, most, choice=True)
    return prompt_of(ask, most if ask.request.choices else min(most, rung.max_tokens or most))


def _passages(citations: Sequence[Citation], texts: Mapping[str, str]) -> Iterator[Passage]:
    for citation in citations:
        if text := texts.get(citation.passage_id):
            yield Passage(text, citation)


def _said(found: Answer, ask: Ask, rung: str) -> str:
    """The answer as a worker records it."""
    request = ask.request
    if rung == "choice":
        return dressed(
            plain(found.text) if not request.choices else found.text,
            request.json_schema,
            request.choices,
            request.fallback.lines,
            ask.speakable,
        )
    return found.text if request.json_schema or request.choices else plain(found.text)


def _outcome(then: InferenceCompleted | InferenceDegraded, today: str, ask: Ask) -> Outcome:
    if today == then.text:
        return "same"
    schema, names = ask.request.json_schema, ask.speakable
    heard = spoken_of(then.text, schema, names)
    return "beginning" if then.rung == "shorter" and heard and spoken_of(today, schema, names).startswith(heard) else "different"


def _compared(
    one: Recorded, engine: Engine | None, outcome: Outcome, *, today: str = "", prompt_same: bool = False, note: str = ""
) -> Compared:
    then = one.answer
    return Compared(
        request_id=then.request_id,
        world=one.request.world,
        position=one.request.position,
        tier=then.tier,
        rung=then.rung,
        outcome=outcome,
        prompt_same=prompt_same,
        recorded_model=then.measured.model,
        today_model=engine.model if engine is not None else "",
        recorded=then.text,
        today=today,
        note=note,
    )
