"""The engines under load, what each of them can do when it is called directly, and a watch that notes when it was called and stopped."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any

from bench.load.script import Script
from inference.engine import Chunk, Engine, Part, Prompt, answer
from inference.engines.timed import Pace, TimedEngine

SLOTS = 8
PACE = Pace(first=0.030, per_token=0.012)


def timed(pace: Pace = PACE, slots: int = SLOTS) -> Watched:
    """An engine of stated speed: near a 3B model on one modern GPU."""
    return Watched(TimedEngine(pace, slots=slots))


@contextmanager
def chosen(name: str) -> Iterator[Watched]:
    """The engine of this name: `timed`, or `vllm`, which is the real one on this CPU with a model of toy size."""
    if name == "timed":
        yield timed()
        return
    from inference.engines.vllm import VllmEngine, tiny
    from inference.tiny_model import write

    with tempfile.TemporaryDirectory(prefix="wb-tiny-") as folder:
        yield Watched(VllmEngine(tiny(write(Path(folder)))))


class Watched:
    """An engine, and when it did what for which request. Moments are seconds of this process's clock."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.called: dict[str, float] = {}
        self.closed: dict[str, float] = {}
        self.moments: dict[str, list[float]] = {}
        """When each chunk came."""
        self.tokens = 0
        self.cached = 0
        self.prompted = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Chunk, None]:
        """As the engine does."""
        self.called.setdefault(prompt.id, time.perf_counter())
        moments = self.moments.setdefault(prompt.id, [])
        try:
            async with aclosing(self.engine.generate(prompt)) as chunks:
                async for chunk in chunks:
                    moments.append(time.perf_counter())
                    self.tokens += chunk.tokens
                    if chunk.end is not None:
                        self.cached += chunk.end.cached_tokens
                        self.prompted += chunk.end.prompt_tokens
                    yield chunk
        finally:
            self.closed[prompt.id] = time.perf_counter()

    def after(self, name: str, moment: float) -> int:
        """Steps of the engine for a request after a moment."""
        return sum(at > moment for at in self.moments.get(name, ()))


async def direct(engine: Engine, script: Script, count: int) -> tuple[float, float, float]:
    """(answers per second, tokens per second, median step in seconds) of an open engine that is called directly, always full."""
    gate = asyncio.Semaphore(engine.slots)
    tokens, steps = 0, []

    async def call(number: int) -> None:
        nonlocal tokens
        request = script.request(f"direct-{number}", "", number, "npc")
        parts = tuple(Part("system" if part.role == "system" else "user", part.text) for part in request.prompt)
        async with gate:
            began = time.perf_counter()
            got = await answer(engine, Prompt(parts=parts, max_tokens=script.tokens, seed=number))
            tokens += got.end.completion_tokens
            steps.append((time.perf_counter() - began) / max(1, got.end.completion_tokens))

    began = time.perf_counter()
    await asyncio.gather(*(call(number) for number in range(count)))
    took = time.perf_counter() - began
    return count / took, tokens / took, sorted(steps)[len(steps) // 2]
