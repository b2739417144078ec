"""The tiers: latency promises that a player feels, as a table. What a worker of a tier starts from before it has measured anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """One promise. Times that end in `_ms` are milliseconds."""

    name: str
    first_chunk_ms: int
    """The first speakable chunk, 95 of 100 requests; 0: not promised."""
    answer_ms: int
    """The whole answer of `answer_tokens`, 95 of 100 requests; 0: only the request's own deadline counts."""
    answer_tokens: int
    slots: int
    """Sequences at once per GPU, unless the engine says otherwise."""
    ack_wait_s: float
    """A request whose worker was silent for so long is given to another worker."""
    look_ahead: int
    """Requests that a worker may hold beyond its free slots, to choose the next one fairly."""
    first_token_ms: float
    per_token_ms: float
    """Time that an engine is believed to need until it was measured."""


TIERS: Final[Mapping[str, Tier]] = {
    tier.name: tier
    for tier in (
        Tier(
            name="gold",
            first_chunk_ms=100,
            answer_ms=100,
            answer_tokens=8,
            slots=8,
            ack_wait_s=0.4,
            look_ahead=64,
            first_token_ms=30,
            per_token_ms=9,
        ),
        Tier(
            name="silver",
            first_chunk_ms=0,
            answer_ms=500,
            answer_tokens=16,
            slots=4,
            ack_wait_s=0.8,
            look_ahead=32,
            first_token_ms=60,
            per_token_ms=25,
        ),
        Tier(
            name="bronze",
            first_chunk_ms=0,
            answer_ms=0,
            answer_tokens=0,
            slots=16,
            ack_wait_s=5.0,
            look_ahead=32,
            first_token_ms=200,
            per_token_ms=40,
        ),
    )
}
