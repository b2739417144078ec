"""Measuring a profile: from the requests and answers of a log, or of a file that a profile was written to.

A prompt is what its request shows, and the lore that its worker looked up. Where a model answered, the answer cites what was shown, and the
passages' own texts count; otherwise the request's whole budget for lore counts, which is the most there can be. How much of a prompt is
shared is counted as an engine's prefix cache does it: in whole blocks from the beginning, each with all that stands before it.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import median
from typing import Any, Final

from bench.load.profile import CHARS_PER_TOKEN, DEFAULT, MOST_SHAPES, Kind, Profile, Shape, read
from bus.errors import BadSettings
from bus.event import Event
from inference.outcome import ENDS
from inference.passages import CHARS_PER_TOKEN as LORE_CHARS_PER_TOKEN
from inference.passages import INTRODUCTION, MARKS
from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceCompleted, InferenceRequested
from schemas.gen.worldbus.knowledge.v1.knowledge_pb2 import LoreChunkAdded
from worldbus.demo.script import rehearse
from worldbus.opening import open_bus
from worldbus.settings import Settings

WORLD: Final = "world"
"""Name of the committed profile."""
PLAYED: Final = "played"
"""Name of what that is made from: the sample world's lockstep demo, played anew in memory."""
PLAYERS, MINUTES = 100, 120
BLOCK: Final = 64  # characters: vLLM's blocks are of 16 tokens
NO_MODEL: Final = frozenset({"", "grammar", "authored", "timed"})
"""Engines whose tokens are words."""
BUDGET_MS: Final = 1_500  # of a request that names a moment instead


async def profile_from(where: str) -> Profile:
    """The profile of a log (the data folder of a world, or the address of a NATS server), of a file, or of the sample world (`world`, or
    `played` anew).

    Raises `BadSettings`.
    """
    if where == WORLD:
        return read(DEFAULT)
    if where == PLAYED:
        gathering = Gathering()
        gathering.take(rehearse(players=PLAYERS, minutes=MINUTES, seed=1).log)
        return gathering.profile(f"the sample world's lockstep demo ({PLAYERS} players, {MINUTES} minutes, seed 1)")
    address = "://" in where
    if not address and not await asyncio.to_thread(Path(where).is_dir):
        return read(Path(where))
    settings = Settings.read(os.environ, nats_url=where) if address else Settings.read({}, data=where)
    async with open_bus(settings, name="bench-lengths", postgres=False) as bus:
        gathering = Gathering()
        async for events in bus.log.read(until=(await bus.log.state()).last):
            gathering.take(events)
    return gathering.profile(where)


class Gathering:
    """The requests of a log, taken in its order."""

    def __init__(self) -> None:
        self._asked: dict[tuple[str, str], tuple[InferenceRequested, int, int]] = {}
        """By world and id: request, its characters, shared ones of these."""
        self._answers: dict[tuple[str, str], Any] = {}
        self._texts: dict[str, int] = {}
        """Characters of passages, by id."""
        self._blocks: set[bytes] = set()

    def take(self, events: Iterable[Event]) -> None:
        """Take in what follows."""
        for event in events:
            if event.name == "LoreChunkAdded" and isinstance(event.data, LoreChunkAdded):
                self._texts[event.data.chunk_id] = len(event.data.text)
            elif event.name == "InferenceRequested" and isinstance(event.data, InferenceRequested):
                key, asked = (event.world, event.data.request_id), event.data
                if key not in self._asked and asked.prompt:
                    self._asked[key] = (asked, *self._own(asked))
            elif event.name in ENDS:
                self._answers.setdefault((event.world, event.data.request_id), event.data)

    def profile(self, where: str) -> Profile:
        """The measured lengths. Raises `BadSettings` where nothing was asked and answered."""
        found: dict[tuple[str, str], list[tuple[InferenceRequested, Shape, bool]]] = defaultdict(list)
        for key, (asked, own, shared) in self._asked.items():
            end = self._answers.get(key)
            if end is not None and getattr(end, "text", ""):
                found[asked.kind, asked.tier].append((asked, *self._shape(asked, end, own, shared)))
        if not found:
            raise BadSettings(
                f"--profile-from {where}: wanted a log with requests to models and their answers, found none: let a world live first"
            )
        return Profile(measured_from=where, kinds=tuple(_kind(*name, ones) for name, ones in sorted(found.items())))

    def _own(self, asked: InferenceRequested) -> tuple[int, int]:
        """Characters of a prompt without lore, and of its beginning those that an earlier one had."""
        text = "\x00".join(f"{part.role}\x00{part.text}" for part in asked.prompt)
        known, chain = 0, hashlib.blake2b(digest_size=16)
        for at in range(0, len(text) - BLOCK + 1, BLOCK):
            chain.update(text[at : at + BLOCK].encode())
            if (block := chain.digest()) not in self._blocks:
                self._blocks.add(block)
            elif known == at:
                known = at + BLOCK
        characters = max(1, sum(len(part.text) for part in asked.prompt))
        return characters, min(known, characters)

    def _shape(self, asked: InferenceRequested, end: Any, own: int, shared: int) -> tuple[Shape, bool]:
        """The lengths of a request, and whether the model's tokenizer counted them."""
        by_model = end.measured.engine not in NO_MODEL and isinstance(end, InferenceCompleted)
        lore = self._cited(end) if by_model else _budget(asked)
        if lore:
            shared = min(shared, sum(len(part.text) for part in _leading(asked)))  # lore stands behind the leading `system` parts
        counted = by_model and end.measured.prompt_tokens > 0
        characters = own + lore
        tokens = end.measured.prompt_tokens if counted else estimate(characters)
        answer = end.measured.completion_tokens if counted else min(asked.max_tokens, estimate(len(end.text)))
        return Shape(characters, shared, tokens, max(1, answer)), counted

    def _cited(self, end: Any) -> int:
        if not end.citations:
            return 0
        known = [self._texts[one.passage_id] for one in end.citations if one.passage_id in self._texts]
        each = sum(known) / len(known) if known else 0.0  # a memory is about as long as a passage
        return round(len(INTRODUCTION) + len(end.citations) * (each + MARKS * LORE_CHARS_PER_TOKEN))


def _leading(asked: InferenceRequested) -> Iterator[Any]:
    for part in asked.prompt:
        if part.role != "system":
            return
        yield part


def _budget(asked: InferenceRequested) -> int:
    """The most characters of lore that a request lets its worker show."""
    return round(asked.knowledge.token_budget * LORE_CHARS_PER_TOKEN) if asked.HasField("knowledge") else 0


def estimate(characters: int) -> int:
    """Tokens of a text where no tokenizer counted them."""
    return max(1, round(characters / CHARS_PER_TOKEN))


def _kind(name: str, tier: str, ones: list[tuple[InferenceRequested, Shape, bool]]) -> Kind:
    ranked = sorted(shape for _, shape, _ in ones)
    kept = min(len(ranked), MOST_SHAPES)
    return Kind(
        kind=name,
        tier=tier,
        requests=len(ones),
        counted=sum(counted for _, _, counted in ones),
        budget_ms=round(median(asked.budget_ms or BUDGET_MS for asked, _, _ in ones)),
        max_tokens=max(1, round(median(asked.max_tokens for asked, _, _ in ones))),
        shapes=tuple(ranked[(2 * number + 1) * len(ranked) // (2 * kept)] for number in range(kept)),
    )
