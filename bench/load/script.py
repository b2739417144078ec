"""What one player does: how often they ask, what the model is shown, how much it may say, and when the answer is worth nothing any more."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceRequested
from schemas.gen.worldbus.inference.v1.types_pb2 import Fallback, PromptPart

PERSONA = "You are Mira, who mends nets and hears everything. "
WORDS = "What do they say at the quay?"


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

    def request(self, name: str, player: str, seed: int, npc: str) -> InferenceRequested:
        """One line that a player asks of an NPC."""
        return InferenceRequested(
            request_id=name,
            tier=self.tier,
            kind="npc_line",
            prompt=[
                PromptPart(role="system", name="persona", text=PERSONA * self.persona_times),
                PromptPart(role="user", name="words", text=f"{WORDS} ({seed})"),
            ],
            max_tokens=self.tokens,
            budget_ms=self.budget_ms,
            player=player,
            npc=npc,
            salience=self.salience,
            seed=seed,
            fallback=Fallback(lines=["Later, maybe."]),
        )

    def __str__(self) -> str:
        shared, own = len(PERSONA) * self.persona_times, len(WORDS) + 7
        return (
            f"lambda = 1/{self.every_s:g} s per player, prompt of {shared + own} characters ({shared} shared), {self.tokens} tokens, "
            f"deadline {self.budget_ms / 1000:g} s"
        )


def arrivals(rate: float, seconds: float, dice: random.Random, *, burstiness: float = 1.0) -> Iterator[float]:
    """Moments of arrival: gaps drawn from a gamma distribution of this shape, as `vllm bench serve` does it. 1: Poisson; less: bursts."""
    at = 0.0
    while True:
        at += dice.gammavariate(burstiness, 1 / (rate * burstiness))
        if at >= seconds:
            return
        yield at
