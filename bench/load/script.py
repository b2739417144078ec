"""The script of one player: the rate of requests, the prompts, the lengths of answers, and the time for which they are of use."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from bench.load.profile import CHARS_PER_TOKEN, Mean, Profile
from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceRequested
from schemas.gen.worldbus.inference.v1.types_pb2 import Fallback, PromptPart

PERSONA = "You are Mira, who mends nets and hears everything. "
WORDS = "What do they say at the quay?"
FILLER = "day fog off one air are say two the you "
"""Words that are a token each for the made-up models as well (`bench.load.shapes`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A player's habits. Publish all of it beside any figure: other habits, other figures."""

    every_s: float = 12.0
    """Seconds between two lines that a player asks for: 1 / λ."""
    persona_times: int = 4
    """Length of the part of the prompt that all requests share, in repetitions of `PERSONA`."""
    tokens: int = 16
    budget_ms: int = 1500
    salience: float = 0.5
    tier: str = "gold"
    profile: Profile | None = None
    """Lengths of prompts and answers as a world has them, in place of `persona_times` and `tokens`; `budget_ms` is the least then."""

    def request(self, name: str, player: str, seed: int, npc: str) -> InferenceRequested:
        """One line that a player asks of an NPC."""
        shared, own, tokens, budget_ms = PERSONA * self.persona_times, f"{WORDS} ({seed})", self.tokens, self.budget_ms
        if self.profile is not None:
            kind, shape = self.profile.draw(self.tier, random.Random(f"{name} {seed}"))
            shared, own = words(shape.shared), f"{seed} {words(shape.characters - shape.shared)}"
            tokens, budget_ms = shape.answer, max(budget_ms, kind.budget_ms)
        return InferenceRequested(
            request_id=name,
            tier=self.tier,
            kind="npc_line",
            prompt=[
                *([PromptPart(role="system", name="persona", text=shared)] if shared else ()),
                PromptPart(role="user", name="words", text=own),
            ],
            max_tokens=tokens,
            budget_ms=budget_ms,
            player=player,
            npc=npc,
            salience=self.salience,
            seed=seed,
            fallback=Fallback(lines=["Later, maybe."]),
        )

    @property
    def mean(self) -> Mean:
        """The mean request."""
        if self.profile is not None:
            return self.profile.means(self.tier)
        shared, own = len(PERSONA) * self.persona_times, len(WORDS) + 7
        characters = shared + own
        return Mean(characters, characters / CHARS_PER_TOKEN, own / CHARS_PER_TOKEN, self.tokens)

    def __str__(self) -> str:
        mean, said = self.mean, "deadline" if self.profile is None else "deadline at least"
        shared = mean.characters * (1 - mean.fresh / mean.tokens)
        lengths = f"prompt of {mean.characters:.0f} characters ({shared:.0f} shared), {mean.answer:.0f} tokens"
        if self.profile is not None:
            lengths = f"means of {self.profile.measured_from}: {lengths}"
        return f"lambda = 1/{self.every_s:g} s per player, {lengths}, {said} {self.budget_ms / 1000:g} s"


def words(characters: int) -> str:
    """A text of that length: words of four characters with the space behind them, which are a token each by the estimate."""
    return (FILLER * (characters // len(FILLER) + 1))[:characters].rstrip()


def arrivals(rate: float, seconds: float, dice: random.Random, *, burstiness: float = 1.0) -> Iterator[float]:
    """Moments of arrival: gaps drawn from a gamma distribution of this shape, as `vllm bench serve` does it. 1: Poisson; less: bursts."""
    at = 0.0
    while True:
        at += dice.gammavariate(burstiness, 1 / (rate * burstiness))
        if at >= seconds:
            return
        yield at
