"""The engines under load, what each of them can do when it is called directly, and a watch that notes when it was called and stopped."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from bench.duskmarket import GRAMMARS
from bench.load import shapes
from bench.load.profile import Profile
from bench.load.script import Script
from inference.engine import Chunk, Engine, Part, Prompt, answer
from inference.engines.timed import Pace, TimedEngine

SLOTS = 8
PACE = Pace(first=0.030, per_token=0.012)
STATED: Final[Mapping[str, Pace]] = {
    "gold": Pace(first=0.030, per_token=0.012, per_prompt_token=0.0001),
    "silver": Pace(first=0.030, per_token=0.025, per_prompt_token=0.00025),
}
"""Stated speeds of tiers, not measured. A step of 12 ms reads the 6.2 GB of a 3B model, one of 25 ms the 15.2 GB of a 7B, on a GPU that
reads 600 GB/s. Such GPUs do about 125 TFLOP/s; at half of that, with two operations for each weight, a token of a prompt takes 0.1 ms and
0.25 ms."""


def timed(pace: Pace = PACE, slots: int = SLOTS) -> Watched:
    """An engine of stated speed: near a 3B model on one modern GPU."""
    return Watched(TimedEngine(pace, slots=slots, grammars=GRAMMARS))


@dataclass(frozen=True, slots=True)
class Choice:
    """An engine under load, and the script that its figures are given for."""

    script: Script
    shape: str = ""
    """Of its model; empty: the timed engine, which has none."""
    slots: int = SLOTS


CHOICES: Final[Mapping[str, Choice]] = {
    "timed": Choice(Script()),
    "vllm": Choice(Script(budget_ms=4000), "tiny", 4),  # two shared cores take their time: a line is given longer
    "gold": Choice(Script(), "qwen2.5-3b"),
    "silver": Choice(Script(tier="silver"), "qwen2.5-7b"),
    "toy": Choice(Script(budget_ms=4000), "toy", 4),
}
"""`gold` and `silver` want a GPU; `toy` goes the same way on a CPU."""


def script_of(name: str, profile: Profile | None) -> Script:
    """The requests to the engine of this name; with a profile, requests as long as a world's."""
    return replace(CHOICES[name].script, profile=profile)


@contextmanager
def chosen(name: str, profile: Profile | None = None) -> Iterator[Watched]:
    """The engine of this name; a timed one takes its stated time for prompts where a profile says how long they are."""
    choice = CHOICES[name]
    if not choice.shape:
        yield timed(PACE if profile is None else STATED["gold"])
        return
    from inference.engines.vllm import VllmEngine, VllmSettings, tiny
    from inference.tiny_model import write

    with tempfile.TemporaryDirectory(prefix="wb-model-") as folder:
        if choice.shape == "tiny":
            yield Watched(VllmEngine(tiny(write(Path(folder)))))
            return
        path = str(shapes.write(Path(folder) / choice.shape, shapes.SHAPES[choice.shape]))
        if choice.shape == "toy":
            yield Watched(VllmEngine(replace(tiny(Path(path)), model=path, slots=choice.slots)))
            return
        yield Watched(VllmEngine(VllmSettings(model=path, slots=choice.slots, dtype="bfloat16", load_format="dummy")))


class Watched:
    """An engine, and when it did what for which request. Moments are seconds of this process's clock."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.called: dict[str, float] = {}
        self.closed: dict[str, float] = {}
        self.moments: dict[str, list[float]] = {}
        """Moments at which the chunks came."""
        self.tokens = 0
        self.cached = 0
        self.prompted = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Chunk, None]:
        """Generate like the engine, and note the times."""
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
            got = await answer(engine, Prompt(parts=parts, max_tokens=request.max_tokens, seed=number))
            tokens += got.end.completion_tokens
            steps.append((time.perf_counter() - began) / max(1, got.end.completion_tokens))

    began = time.perf_counter()
    await asyncio.gather(*(call(number) for number in range(count)))
    took = time.perf_counter() - began
    return count / took, tokens / took, sorted(steps)[len(steps) // 2]
