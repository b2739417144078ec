"""The one protocol of all engines: a prompt in, chunks out, stoppable at every step.

An engine knows nothing of the log or of ladders: the worker admits, measures, checks and records. What an engine owes:

- `generate` yields as soon as there is text; its last chunk, and only that one, has `end`.
- Closing the iterator (`aclose`) or cancelling the task that reads it stops the generation within one step and frees the slot.
- The same prompt with the same seed gives the same text from the same opened engine, if `abilities` say `seed`.
- Failures are `EngineOverloaded`, `EngineFailed` or `PromptRejected`, never a library's own exceptions.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from typing import Literal, Protocol

from inference.errors import EngineFailed

Role = Literal["system", "user", "assistant"]
Finish = Literal["stop", "length", "matched"]


@dataclass(frozen=True, slots=True)
class Part:
    """One part of what the model is shown. Text of a player has the role `user`, never `system`."""

    role: Role
    text: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """The request for one generation. At most one of `json_schema` and `choices`; `parts` or `token_ids`."""

    parts: tuple[Part, ...] = ()
    token_ids: tuple[int, ...] = ()
    json_schema: str = ""
    choices: tuple[str, ...] = ()
    max_tokens: int = 64
    seed: int = 0
    temperature: float | None = None
    """Heat of the draw, 0 to 2; None: the engine's own setting."""
    stop: tuple[str, ...] = ()
    """Generation ends before any of these texts."""
    others: tuple[str, ...] = ()
    """Names of others who talk: a line that begins with one of them and a colon is not the answer's any more."""
    own: tuple[str, ...] = ()
    """Names of whoever answers: left out where the answer begins with one."""
    spoken: str = ""
    """Resume: text that was generated before; only what follows it is yielded and counted. Needs ability `resume`."""
    spoken_ids: tuple[int, ...] = ()
    """Resume: the tokens of `spoken`, where the engine yielded them; spares the engine to guess how the text was cut."""
    deadline: float | None = None
    """Moment on this machine's `time.monotonic`, in seconds. A hint for the engine's own order of work; keeping it is the worker's duty."""
    id: str = ""
    """Name for the engine's own logs; need not be unique."""
    grammar: str = ""
    """Name of a grammar: only for the engine `grammar`."""
    slots: tuple[tuple[str, str], ...] = ()
    """Named texts for the grammar: only for the engine `grammar`."""


@dataclass(frozen=True, slots=True)
class End:
    """The end of a whole generation, with its counts."""

    finish: Finish
    """`stop`: by itself or by a stop text; `length`: `max_tokens` reached; `matched`: the choice or the JSON is complete."""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    """Of the prompt's tokens, those that the engine did not have to compute again."""
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Chunk:
    """The next piece of text; may hold several tokens when the reader was slow, and no text when a token ended inside a character."""

    text: str
    tokens: int = 1
    token_ids: tuple[int, ...] = ()
    end: End | None = None
    anew: bool = False
    """The text before this chunk turned out to be no part of the answer: a thought without an opening mark."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A generation that was read to its end."""

    text: str
    end: End
    token_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Abilities:
    """The abilities that an engine declares; asking for more is `PromptRejected`, never a silent difference."""

    json_schema: bool = False
    choices: bool = False
    token_ids: bool = False
    """Takes prompts as token ids, and yields token ids."""
    seed: bool = False
    resume: bool = False
    """Takes `spoken`. No engine resumes inside JSON or a choice: those start over."""
    prefix_cache: bool = False
    """Reports `cached_tokens` of prompts that begin alike."""
    context: int = 0
    """Most tokens of prompt and answer together; 0: not limited."""
    grammars: frozenset[str] | None = None
    """Names of the authored grammars whose words it speaks; requests of another kind are not for it. None: a model speaks."""

    remote: bool = False
    """True behind a network, where others use it too: a failed answer says little about it, and keeping it warm costs money."""
    thinks: bool = False
    """True if answers begin inside a thought."""

    def speaks(self, grammar: str) -> bool:
        """Return whether the engine has words of its own for requests whose grammar is called `grammar` (empty: there is none)."""
        return self.grammars is None or grammar in self.grammars


@dataclass(frozen=True, slots=True)
class Load:
    """The work of an engine at this moment."""

    running: int
    waiting: int = 0
    cache: float = 0.0
    """Share of the engine's cache that is in use, 0 to 1."""


class Engine(Protocol):
    """See the module. One engine serves one event loop; `generate` may run `slots` times at once, more is `EngineOverloaded`."""

    @property
    def name(self) -> str:
        """`vllm`, `openai`, `grammar` or `timed`."""
        ...

    @property
    def model(self) -> str: ...

    @property
    def slots(self) -> int:
        """Generations at once, 1 or more."""
        ...

    @property
    def abilities(self) -> Abilities: ...

    def open(self) -> AbstractAsyncContextManager[None]:
        """The engine is up inside; leaving it ends what is running. May be opened again after it was left, also after a failure."""
        ...

    async def ready(self, warm: Sequence[Prompt] = ()) -> None:
        """Generate a first token, then each prompt of `warm` (compiling its schema, filling the prefix cache). Raises `EngineFailed`."""
        ...

    async def healthy(self) -> bool:
        """Return whether the engine would serve now; cheap, generates nothing, raises nothing."""
        ...

    def generate(self, prompt: Prompt) -> AsyncGenerator[Chunk, None]:
        """Yield the answer. Read it inside `contextlib.aclosing`: an iterator that is merely dropped stops only when it is collected."""
        ...

    def load(self) -> Load: ...


async def answer(engine: Engine, prompt: Prompt) -> Answer:
    """The whole answer of `prompt`."""
    texts: list[str] = []
    ids: list[int] = []
    async with aclosing(engine.generate(prompt)) as chunks:
        async for chunk in chunks:
            if chunk.anew:
                texts.clear()
            texts.append(chunk.text)
            ids.extend(chunk.token_ids)
            if chunk.end is not None:
                return Answer("".join(texts), chunk.end, tuple(ids))
    raise EngineFailed(
        f"wanted an end of the answer from engine {engine.name}, found none after {len(texts)} chunks: report it, the engine is broken"
    )
