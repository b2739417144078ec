"""The work of one GPU for one tier: slots, answers a second, and what an answer costs by the lengths of prompt and answer.

The model of the cost: an answer takes `first` seconds, then its prompt, as far as no earlier prompt began alike, then each of its own
tokens. While a prompt is computed no other answer of that GPU gets on (`queue.Tier.prefill_s`), so in a full engine an answer waits for the
prompts of all other slots as well. A measured capacity scales the whole, a tier's stated pace (`bench.load.engines.STATED`) says how the
parts stand to each other.
"""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from bench.capacity.queue import Tier, lines
from bench.duskmarket import BOTS
from bench.load import engines
from bench.load.profile import Profile
from bus.errors import BadSettings
from inference.engines.timed import Pace

WANTED: Final = re.compile(
    r"(?P<engine>[a-z]+)_"
    r"(?P<what>load_capacity|load_step|load_fresh_tokens|load_answer_tokens|at_99_players_per_gpu|at_95_players_per_gpu)"
)
SLOTS: Final = {"gold": 8, "silver": 4, "vllm": 4, "toy": 4, "timed": 8}


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """The work of one GPU for one tier."""

    name: str
    slots: int
    capacity: float
    """Answers a second with every slot busy, each of `BOTS.line.tokens` tokens, to prompts that cost nothing."""
    origin: str
    """The source of the figures, for the reader."""
    measured: Mapping[str, float]
    """Players per GPU that a ramp on the bus found, by the share of requests attained; none if there was no ramp."""
    measured_lengths: bool = False
    """The ramp asked with a profile's lengths."""

    @property
    def asked_as(self) -> str:
        """The tier whose requests it is asked, and whose pace it has."""
        return self.name if self.name in engines.STATED else "gold"

    @property
    def pace(self) -> Pace:
        """The ratios of the parts of an answer's cost."""
        return engines.STATED[self.asked_as]

    @property
    def scale(self) -> float:
        """Times the stated pace."""
        return self.slots / self.capacity / _takes_s(self.pace, 0.0, BOTS.line.tokens)

    def service_s(self, tokens: int) -> float:
        """One answer of so many tokens with every slot busy. Time to the first token is small beside and counted as if it grew too."""
        return self.slots / self.capacity * tokens / BOTS.line.tokens

    def tier(self, gpus: int, asked: int | Profile, *, shared: bool = True) -> Tier:
        """A tier of so many GPUs, asked for lines of so many tokens to prompts that cost nothing, or as a world asks."""
        if not isinstance(asked, int):
            return self.tier_of(gpus, asked, shared=shared)
        service = lines(self.service_s(asked))
        return Tier(gpus=gpus, slots=self.slots, service=service, deadline_s=BOTS.line.deadline_ms / 1000, shared=shared)

    def tier_of(self, gpus: int, profile: Profile, *, shared: bool = True) -> Tier:
        """A tier of so many GPUs, asked as a world asks them."""
        deadline_s = min(one.budget_ms for one in profile.of(self.asked_as)) / 1000
        prefill_s = self.scale * self.pace.per_prompt_token * profile.means(self.asked_as).fresh
        return Tier(gpus=gpus, slots=self.slots, service=self._drawn(profile), deadline_s=deadline_s, shared=shared, prefill_s=prefill_s)

    def _drawn(self, profile: Profile) -> Callable[[random.Random], float]:
        scale, pace, tier = self.scale, self.pace, self.asked_as

        def draw(dice: random.Random) -> float:
            _, shape = profile.draw(tier, dice)
            return scale * _takes_s(pace, shape.fresh, shape.answer)

        return draw

    def busy(self, gpus: int, rate: float, asked: int | Profile) -> float:
        """Share of the slots that this rate keeps busy; above 1 it cannot hold."""
        if isinstance(asked, int):
            return rate * self.service_s(asked) / (gpus * self.slots)
        mean = asked.means(self.asked_as)
        alone_s = self.scale * _takes_s(self.pace, mean.fresh, mean.answer)
        return rate * alone_s * self.tier_of(gpus, asked).stretch(rate) / (gpus * self.slots)

    def full_s(self, profile: Profile) -> float:
        """The mean answer to a world's requests with every slot busy: the prompts of all slots are in it."""
        mean = profile.means(self.asked_as)
        return self.scale * _takes_s(self.pace, self.slots * mean.fresh, mean.answer)


def _takes_s(pace: Pace, fresh: float, answer: float) -> float:
    """Seconds of one answer: its prompt behind what is cached, and its tokens."""
    return pace.first + pace.per_prompt_token * fresh + pace.per_token * answer


def _stated(tier: str, slots: int) -> Speed:
    pace = engines.STATED[tier]
    words = f"{pace.first * 1000:g} ms, {pace.per_token * 1000:g} ms a token, {pace.per_prompt_token * 1000:g} ms a token of a prompt"
    capacity = slots / _takes_s(pace, 0.0, BOTS.line.tokens)
    return Speed(name=tier, slots=slots, capacity=capacity, origin=f"stated, not measured: {words}", measured={})


STATED: Final = {tier: _stated(tier, SLOTS[tier]) for tier in ("gold", "silver")}
"""Used, and said so, where no figures of a GPU are given."""


def read(path: Path) -> dict[str, Speed]:
    """Engines' figures, as `worldbus bench inference --engine gold --json` prints them, one JSON object a line; by tier.

    Raises `BadSettings` where a file has none.
    """
    found: dict[str, dict[str, float]] = {}
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            one = json.loads(line) if line.startswith("{") else {}
            if (name := WANTED.fullmatch(str(one.get("name", "")))) is not None:
                found.setdefault(name["engine"], {})[name["what"]] = float(one["value"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadSettings(f"--figures {path.name}: wanted one JSON object a line with name and value, found {error!r}") from error
    speeds = {name: _speed(name, figures, path.name) for name, figures in found.items() if 0 < figures.get("load_capacity", 0) < math.inf}
    if not speeds:
        raise BadSettings(
            f"--figures {path.name}: wanted lines named <engine>_load_capacity, found none; "
            "make them with `worldbus bench inference --engine gold --parts loads,ramp --json`"
        )
    return speeds


def _speed(name: str, figures: Mapping[str, float], origin: str) -> Speed:
    measured = {share: figures[key] for share in ("99", "95") if (key := f"at_{share}_players_per_gpu") in figures}
    slots, capacity = SLOTS.get(name, 8), figures["load_capacity"]
    fresh, answer = figures.get("load_fresh_tokens", 0.0), figures.get("load_answer_tokens", 0.0)
    found = Speed(name=name, slots=slots, capacity=capacity, origin=f"measured, {origin}", measured=measured, measured_lengths=answer > 0)
    if not 0 < answer < math.inf or not 0 <= fresh < math.inf:
        return found
    return at_lengths(found, fresh, answer)


def at_lengths(speed: Speed, fresh: float, answer: float) -> Speed:
    """A speed whose capacity was measured with prompts and answers of these lengths: the same engine, asked for the stated line."""
    plain, asked = (_takes_s(speed.pace, one, tokens) for one, tokens in ((0.0, BOTS.line.tokens), (speed.slots * fresh, answer)))
    return replace(speed, capacity=speed.capacity * asked / plain)
