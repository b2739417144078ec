"""An engine of stated speed: text of the grammars, paced like a model of that speed on hardware with so many slots.

It shows what an engine's speed does to deadlines, with nothing else in the measurement: tokens are due at fixed moments after the call,
whoever reads them when. Like vLLM it gives a slow reader several tokens in one chunk. Text goes on until `max_tokens`; JSON and choices
until they are whole.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from bus.errors import BadSettings
from inference.engine import Abilities, Chunk, Load, Part, Prompt
from inference.engines.grammar import chunks, grammar_of, pieces, prompt_tokens, resumed
from inference.errors import EngineFailed, EngineOverloaded
from inference.grammar import Grammar
from inference.prompts import check

MOST_KNOWN: Final = 4_096  # beginnings of prompts that are remembered


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The speed of a `TimedEngine`, in seconds. The defaults are near a 3B model on one modern GPU."""

    first: float = 0.030
    """From the call to the first token, without the prompt's length."""
    per_prompt_token: float = 0.0
    """More until the first token, for each token of the prompt behind the `system` parts that an earlier prompt began with; while it is
    computed, no other generation gets on."""
    per_token: float = 0.012
    """Between tokens: one step of the engine."""

    def __post_init__(self) -> None:
        if min(self.first, self.per_prompt_token) < 0 or self.per_token <= 0:
            raise BadSettings(f"wanted times of 0 or more and a step above 0, found {self}")


class TimedEngine:
    """See the module. `tokens`, `calls` and `prefilled` (seconds for prompts) count since the engine was made, also what was stopped."""

    name = "timed"

    def __init__(
        self,
        pace: Pace | None = None,
        *,
        slots: int = 8,
        model: str = "timed",
        grammars: Mapping[str, Grammar],
        default: str = "npc_line",
    ) -> None:
        self.pace = pace or Pace()
        self.slots = slots
        self.model = model
        self.grammars = grammars
        self.default = default
        self.abilities = Abilities(json_schema=True, choices=True, seed=True, resume=True, grammars=frozenset(self.grammars))
        self.calls = 0
        self.tokens = 0
        self._running = 0
        self.prefilled = 0.0
        self._known: set[tuple[Part, ...]] = set()  # beginnings of prompts
        self._open = False

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[None]:
        self._open = True
        try:
            yield
        finally:
            self._open = False

    def open(self) -> AbstractAsyncContextManager[None]:
        return self._opened()

    def break_down(self) -> None:
        """End as an engine whose process died: what runs fails at its next token, nothing starts until the engine is opened again."""
        self._open = False

    async def ready(self, warm: Sequence[Prompt] = ()) -> None:
        self._check_open()
        for prompt in warm:
            async with aclosing(self.generate(prompt)) as answer:
                async for _ in answer:
                    pass

    async def healthy(self) -> bool:
        return self._open

    def load(self) -> Load:
        return Load(self._running)

    def step(self) -> float:
        """Seconds between tokens."""
        return self.pace.per_token

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Chunk, None]:
        check(prompt, self.abilities, self.name)
        self._check_open()
        words, finish = pieces(grammar_of(self.grammars, self.default, prompt), prompt, endless=True)
        if self._running >= self.slots:
            raise EngineOverloaded(f"wanted a free slot, found all {self.slots} taken: wait for one to end", slots=self.slots)
        self._running += 1
        self.calls += 1
        due, prefilled = time.monotonic() + self.pace.first + self._prefill(prompt), self.prefilled
        made: list[Chunk] = []
        try:
            for chunk in chunks(resumed(words, prompt.spoken) if prompt.spoken else words, finish, prompt):
                if due > time.monotonic():
                    if made:
                        yield _joined(made)
                        made = []
                    await asyncio.sleep(max(0.0, due - time.monotonic()))
                self._check_open()
                made.append(chunk)
                self.tokens += chunk.tokens
                due += self.pace.per_token + self.prefilled - prefilled
                prefilled = self.prefilled
            yield _joined(made)
        finally:
            self._running -= 1

    def _prefill(self, prompt: Prompt) -> float:
        """Seconds that the prompt takes; whoever is being answered waits as long."""
        if not self.pace.per_prompt_token:
            return 0.0
        took = self.pace.per_prompt_token * (prompt_tokens(prompt) - self._cached(prompt))
        self.prefilled += took
        return took

    def _cached(self, prompt: Prompt) -> int:
        """Tokens of the longest run of leading `system` parts that an earlier prompt began with."""
        parts, leading = prompt.parts, 0
        while leading < len(parts) and parts[leading].role == "system":
            leading += 1
        beginnings = [parts[: at + 1] for at in range(leading)]
        known = max((one for one in beginnings if one in self._known), key=len, default=())
        if len(self._known) > MOST_KNOWN:
            self._known.clear()
        self._known.update(beginnings)
        return sum(len(part.text.split()) for part in known)

    def _check_open(self) -> None:
        if not self._open:
            raise EngineFailed("wanted an open engine, found a closed or broken one: open it again", engine=self.name)


def _joined(made: list[Chunk]) -> Chunk:
    if len(made) == 1:
        return made[0]
    return Chunk("".join(each.text for each in made), sum(each.tokens for each in made), end=made[-1].end)
