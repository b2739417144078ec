"""One request in the hands of one worker, from its delivery to its end: what was generated, what was heard, what it took."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from inference.admission import CHARS_PER_TOKEN, Offer
from inference.delivery import Tale
from inference.dressing import dressed, plain, spoken_of
from inference.engine import End, Engine, Prompt
from inference.engines.cleaning import clean
from inference.errors import AnswerFailed, PromptRejected
from inference.fairness import Flow
from inference.request import Ask, prompt_hash, prompt_of
from inference.speech import Voice
from schemas.gen.worldbus.inference.v1.types_pb2 import Citation, Measured

BY_MODEL: Final = frozenset({"full", "shorter", "choice"})
"""Rungs whose words are a model's."""
Why = Literal["ended", "too_late", "cancelled", "preempted", "failed", "broken", "filtered", "overloaded", "refused", "lost", "drained"]
"""End of a generation."""


@dataclass(slots=True, eq=False)
class Work:
    """Changes as it goes; belongs to one worker's event loop. Times that end in `_at` are `time.perf_counter` seconds."""

    ask: Ask
    tale: Tale
    arrived_at: float = field(default_factory=time.perf_counter)
    code: str = "too_late"
    """Reason for taking no higher rung, if none is taken."""
    rung: str = "full"
    voice: Voice | None = None
    texts: list[str] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    tokens: int = 0
    """Generated, also what was thrown away."""
    kept: int = 0
    """Generated and part of the answer."""
    end: End | None = None
    refusal: PromptRejected | None = None
    reason: str = ""
    again_after_s: float = 0.0
    """For how long its engine takes nothing, as it said when it last refused for want of room."""
    preemptions: int = 0
    turned_away: int = 0
    """The number of times that its engine had no room."""
    routed: bool = False
    """The router was asked about it, or sent it here: it is not asked again."""
    stopped: Why | None = None
    stopped_at: float = 0.0
    generating: asyncio.Task[Any] | None = None
    timer: asyncio.TimerHandle | None = None
    began_at: float = 0.0
    called_ns: int = 0
    first_token_at: float = 0.0
    first_chunk_at: float = 0.0
    last_token_at: float = 0.0
    hash: str = ""
    allowed: int = 0
    _names: tuple[str, ...] = ()
    _whole: bool = False

    async def is_fresh(self) -> bool:
        """Return whether its id was not another request's; waits until that is known."""
        fresh = self.tale.fresh
        return fresh is None or (fresh.result() if fresh.done() else await asyncio.shield(fresh))

    @property
    def flow(self) -> Flow:
        return self.ask.flow

    @property
    def cost(self) -> float:
        return float(self.ask.request.max_tokens)

    @property
    def salience(self) -> float:
        return self.ask.salience

    @property
    def deadline_ns(self) -> int:
        return self.ask.deadline_ns

    @property
    def text(self) -> str:
        return "".join(self.texts)

    @property
    def shaped(self) -> bool:
        """The answer has a shape that no engine resumes in."""
        return bool(self.ask.request.json_schema or self.ask.request.choices) or self.rung == "choice"

    def choice_chars(self, engine: Engine) -> int:
        """Length of the longest prepared line, 0 if this engine cannot choose or there is nothing to choose from."""
        if not engine.abilities.choices or self.ask.request.choices or not self.ask.ladder.has("choice"):
            return 0
        return max(map(len, self.ask.choices()), default=0)

    def wanted(self) -> int:
        """Tokens that are still to come at most."""
        request = self.ask.request
        if request.choices:
            return max(1, round(max(map(len, request.choices)) / CHARS_PER_TOKEN))
        return max(1, request.max_tokens - self.kept)

    def prepare(self, offer: Offer, engine: Engine) -> Prompt:
        """Get ready for a generation: anew, or behind what was generated before, if the engine can."""
        request = self.ask.request
        resumes = bool(self.texts) and not self.shaped and engine.abilities.resume and offer.rung.name != "choice"
        if not resumes:
            self.texts, self.ids, self.kept, self.voice = [], [], 0, None
        self.rung = self.tale.rung = offer.rung.name
        choice = offer.rung.name == "choice"
        limit = request.max_tokens if choice or request.choices else offer.max_tokens
        prompt = prompt_of(self.ask, min(limit, self.wanted()) if not request.choices else request.max_tokens, choice=choice)
        self.hash = self.hash or prompt_hash(prompt)
        if self.voice is None:
            self._names, self._whole = self.ask.speakable if prompt.json_schema else (), bool(prompt.choices)
            self.voice = self._voice()
        self.allowed = prompt.max_tokens
        if resumes:
            ids = tuple(self.ids) if engine.abilities.token_ids else ()
            prompt = _resumed(prompt, self.text, ids)
        return prompt

    def begin_again(self) -> None:
        """Forget what was generated: it was no part of the answer. Raises `AnswerFailed` if somebody heard of it."""
        if self.tale.started:
            raise AnswerFailed("the model thought aloud before anybody could know: set `thinks` for its endpoint")
        assert self.voice is not None
        self.texts, self.ids, self.kept, self.voice = [], [], 0, self._voice()

    def _voice(self) -> Voice:
        return Voice(self._names, whole=self._whole)

    def answer(self) -> str:
        """The generated text, as it is recorded: plain words, or JSON whose spoken texts are plain."""
        request = self.ask.request
        if request.choices:
            return self.text.strip()
        if self.rung == "choice":
            return self.in_shape(plain(self.text) if not request.json_schema else self.text)
        if not request.json_schema:
            return plain(self.text)
        return self._shaped() or self.text

    def words(self) -> str:
        """The spoken words of an answer in JSON, whatever else is wrong with it; empty if there are none."""
        return spoken_of(self._shaped(), self.ask.request.json_schema, self.ask.speakable) if self.ask.request.json_schema else ""

    def _shaped(self) -> str:
        """The JSON object that was generated, with clean spoken texts; as it is if they are clean, empty if it is none."""
        try:
            parsed = json.loads(self.text)
        except (ValueError, RecursionError):
            return ""
        if not isinstance(parsed, dict):
            return ""
        names = self.ask.speakable
        cleaned = {key: clean(value) if key in names and isinstance(value, str) else value for key, value in parsed.items()}
        return self.text if cleaned == parsed else json.dumps(cleaned, ensure_ascii=False)

    def in_shape(self, line: str) -> str:
        """`line` as the request wants its answer."""
        request = self.ask.request
        return dressed(line, request.json_schema, request.choices, request.fallback.lines, self.ask.speakable)

    def without_passages(self) -> None:
        """The engine refused the prompt with them: they may be what is too long for it."""
        self.ask.passages, self.ask.knowledge, self.hash = (), "too_long", ""

    def citations(self) -> list[Citation]:
        """The passages that the model was shown; none if no model was asked or its words were not taken."""
        return [passage.citation for passage in self.ask.passages] if self.called_ns and self.tale.rung in BY_MODEL else []

    def measured(self, engine: Engine | None, worker: str, *, recorded_ns: int, bound_ns: int, prices: tuple[int, int]) -> Measured:
        """Measure what the request took. `engine` None: no engine was called; the tale's rung names the speaker."""
        now = time.perf_counter()
        end = self.end or End("stop")
        took = Measured(
            engine=self.tale.rung if engine is None else engine.name,
            model="" if engine is None else engine.model,
            worker=worker,
            prompt_hash=self.hash,
            prompt_tokens=end.prompt_tokens,
            cached_tokens=end.cached_tokens,
            completion_tokens=self.tokens,
            queue_us=max(0, (self.called_ns - recorded_ns) // 1000) if self.called_ns else 0,
            clock_offset_us=bound_ns // 1000,
            knowledge=self.ask.knowledge,
            retrieval_us=self.ask.retrieval_us,
        )
        if self.began_at:
            took.total_us = round((now - self.began_at) * 1e6)
            took.first_token_us = round(max(0.0, self.first_token_at - self.began_at) * 1e6)
            took.first_chunk_us = round(max(0.0, self.first_chunk_at - self.began_at) * 1e6)
            if self.kept > 1:
                took.per_token_us = round((self.last_token_at - self.first_token_at) / (self.kept - 1) * 1e6)
        took.cost_nano_usd = end.prompt_tokens * prices[0] + self.tokens * prices[1]
        return took


def _resumed(prompt: Prompt, spoken: str, ids: tuple[int, ...]) -> Prompt:
    return replace(prompt, spoken=spoken, spoken_ids=ids)
