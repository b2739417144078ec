"""The engine that needs nothing: authored grammars and seeded dice. The embedded default, and the lower rungs of the ladder.

A token is a word with the space after it. What holds JSON together costs nothing.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from random import Random
from typing import Final

from inference.engine import Abilities, Chunk, End, Finish, Load, Prompt
from inference.engines.authored import fill
from inference.errors import EngineFailed, EngineOverloaded, PromptRejected
from inference.grammar import Grammar
from inference.json_schema import schema
from inference.prompts import check

_WORD: Final = re.compile(r"\s*\S+\s*")


def pieces(grammar: Grammar, prompt: Prompt, *, endless: bool = False) -> tuple[Iterator[str], Finish]:
    """The words of the answer, and how it ends when they are not cut; `endless`: text goes on with new dice for ever."""
    slots = dict(prompt.slots)
    if prompt.choices:
        return iter(_words(prompt.choices[int(Random(prompt.seed).random() * len(prompt.choices))])), "matched"
    if prompt.json_schema:

        def text(name: str) -> str | None:
            return grammar.expand(prompt.seed, slots, name or "origin") if not name or name in grammar.rules else None

        return iter(_words(fill(schema(prompt.json_schema), text, prompt.max_tokens, prompt.seed))), "matched"
    return _sentences(grammar, prompt.seed, slots, endless), "stop"


def _words(text: str) -> list[str]:
    return _WORD.findall(text) or [text]


def _sentences(grammar: Grammar, seed: int, slots: Mapping[str, str], endless: bool) -> Iterator[str]:
    yield from _words(grammar.expand(seed, slots))
    while endless:
        seed += 1
        first, *rest = _words(grammar.expand(seed, slots))
        yield f" {first}"
        yield from rest


def resumed(words: Iterator[str], spoken: str) -> Iterator[str]:
    """`words` after the first ones, which must be `spoken`."""
    said = ""
    for word in words:
        if len(said) >= len(spoken):
            yield word
            continue
        said += word
        if not (said.startswith(spoken) or spoken.startswith(said)):
            raise PromptRejected("wanted to go on from a text of this engine, found another one: start over", ability="resume")
        if len(said) > len(spoken):
            yield said[len(spoken) :]


def cut_at(text: str, stop: Sequence[str]) -> int:
    """The place where the first of the stop texts begins, -1 if none does."""
    return min((at for each in stop if (at := text.find(each)) >= 0), default=-1)


def chunks(words: Iterator[str], finish: Finish, prompt: Prompt) -> Iterator[Chunk]:
    """One chunk per word, cut at `max_tokens` and before stop texts; the last one has the end."""
    said, sure, given, tokens = "", 0, 0, 0
    hold = max((len(each) for each in prompt.stop), default=1) - 1  # what may yet turn out to begin a stop text
    counts = not (prompt.json_schema or prompt.choices)
    for word in words:
        if counts and tokens == prompt.max_tokens:
            finish = "length"
            break
        if tokens:
            yield Chunk(said[given:sure])
            given = sure
        said, tokens = said + word, tokens + 1
        if (at := cut_at(said, prompt.stop)) >= 0:
            said, finish = said[:at], "stop"
            break
        sure = max(given, len(said) - hold)
    yield Chunk(said[given:], min(tokens, 1), end=End(finish, prompt_tokens(prompt), 0, tokens))


def grammar_of(grammars: Mapping[str, Grammar], default: str, prompt: Prompt) -> Grammar:
    """The grammar that a prompt names. Raises `PromptRejected`."""
    name = prompt.grammar or default
    if name not in grammars:
        raise PromptRejected(f"wanted one of the grammars {', '.join(grammars)}, found {name!r:.80}", code="BAD_SETTING")
    return grammars[name]


def prompt_tokens(prompt: Prompt) -> int:
    """Words that are shown."""
    return len(prompt.token_ids) or sum(len(part.text.split()) for part in prompt.parts)


class GrammarEngine:
    """See the module; `grammars` by name, of which `default` serves prompts that name none."""

    name = "grammar"
    model = "grammar"

    def __init__(self, grammars: Mapping[str, Grammar], default: str = "npc_line", slots: int = 64) -> None:
        self.grammars = grammars
        self.default = default
        self.abilities = Abilities(json_schema=True, choices=True, seed=True, resume=True, grammars=frozenset(self.grammars))
        self.slots = slots
        self._running = 0
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

    async def ready(self, warm: Sequence[Prompt] = ()) -> None:
        for prompt in warm:
            async with aclosing(self.generate(prompt)) as answer:
                async for _ in answer:
                    pass

    async def healthy(self) -> bool:
        return self._open

    def load(self) -> Load:
        return Load(self._running)

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Chunk, None]:
        if not self._open:
            raise EngineFailed("wanted an open engine, found a closed one: generate inside `async with engine.open()`", engine=self.name)
        check(prompt, self.abilities, self.name)
        if self._running >= self.slots:
            raise EngineOverloaded(f"wanted a free slot, found all {self.slots} taken: wait for one to end", slots=self.slots)
        self._running += 1
        try:
            words, finish = pieces(grammar_of(self.grammars, self.default, prompt), prompt)
            for chunk in chunks(resumed(words, prompt.spoken) if prompt.spoken else words, finish, prompt):
                yield chunk
                await asyncio.sleep(0)  # a step: others run, a cancel is noticed
                if not self._open:
                    raise EngineFailed("the engine was closed while it spoke", engine=self.name)
        finally:
            self._running -= 1
