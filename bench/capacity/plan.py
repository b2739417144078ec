"""How many players an engine carries, and whether a plan of GPUs holds: simulated from service times and the definition of a player."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.capacity.queue import Outcome, Tier, bearable, lines, simulate, warm
from bench.harness import Result
from bench.load.script import Script
from bus.errors import BadSettings
from worldbus.demo.bots import BOTS
from worldbus.demo.concurrent import Concurrent

ATTAINED: Final = 0.99
WAIT_S: Final = 0.050  # for a slot: what Gold's promise of a first chunk within 100 ms leaves
WANTED: Final = re.compile(r"(?P<engine>[a-z]+)_(?P<what>load_capacity|load_step|at_99_players_per_gpu|at_95_players_per_gpu)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """What one GPU does for one tier."""

    name: str
    slots: int
    capacity: float
    """Answers a second with every slot busy, each of `BOTS.line.tokens` tokens."""
    origin: str
    """Where the figures come from, for the reader."""
    measured: Mapping[str, float]
    """Players per GPU that a ramp on the bus found, by the share of requests attained; none if there was no ramp."""

    def service_s(self, tokens: int) -> float:
        """One answer of so many tokens with every slot busy. Time to the first token is small beside and counted as if it grew too."""
        return self.slots / self.capacity * tokens / BOTS.line.tokens

    def tier(self, gpus: int, tokens: int, *, shared: bool = True) -> Tier:
        """So many of these GPUs."""
        service = lines(self.service_s(tokens))
        return Tier(gpus=gpus, slots=self.slots, service=service, deadline_s=BOTS.line.deadline_ms / 1000, shared=shared)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Players, and the GPUs that are meant to serve them."""

    players: int
    gold: int
    silver: int


PLANS: Final = (
    Plan(players=100, gold=1, silver=1),
    Plan(players=200, gold=1, silver=1),
    Plan(players=1_000, gold=10, silver=5),
    Plan(players=10_000, gold=50, silver=30),
)

STATED: Final = {  # used, and said so, where no figures of a GPU are given
    "gold": Speed(
        name="gold", slots=8, capacity=8 / (0.030 + 16 * 0.012), origin="stated, not measured: 30 ms, 12 ms a token", measured={}
    ),
    "silver": Speed(
        name="silver", slots=4, capacity=4 / (0.030 + 16 * 0.025), origin="stated, not measured: 30 ms, 25 ms a token", measured={}
    ),
}
SLOTS: Final = {"gold": 8, "silver": 4, "vllm": 4, "toy": 4, "timed": 8}


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
    slots = SLOTS.get(name, 8)
    return Speed(name=name, slots=slots, capacity=figures["load_capacity"], origin=f"measured, {origin}", measured=measured)


def per_gpu(speed: Speed, one: Concurrent, seconds: float) -> Iterator[Result]:
    """Players per GPU by the definition: the highest bearable rate over what one player asks."""
    asked = one.asked["gold"]
    terms = f"{BOTS.line.tokens} tokens, whole by {BOTS.line.deadline_ms} ms for {ATTAINED:.0%} of offered; {seconds:.0f} s, half in bursts"
    lone = bearable(speed.tier(1, BOTS.line.tokens), seconds=seconds, line=ATTAINED)
    yield Result(
        name=f"{speed.name}_players_per_gpu",
        value=lone / asked,
        unit="players",
        against=f"simulated, {terms}; lambda {asked * 60:.2f} a minute; {speed.origin}, {speed.capacity:.1f} answers/s",
        ratio=lone / speed.capacity,
    )
    for share, ramped in speed.measured.items():
        players = ramped / Script().every_s / asked  # the ramp's players ask at a rate of their own
        against = f"measured by a ramp on the bus, {share} % of offered, at the lambda of above; ratio: over the simulated"
        ratio = players * asked / lone if lone and share == "99" else None
        yield Result(name=f"{speed.name}_players_measured_{share}", value=players, unit="players", against=against, ratio=ratio)
    alone = speed.tier(1, BOTS.line.tokens)
    for used in (0.5, 0.63, 0.8):
        found = simulate(alone, rate=used * speed.capacity, seconds=seconds)
        yield Result(
            name=f"{speed.name}_wait_at_{used * 100:.0f}",
            value=found.waited(WAIT_S),
            unit="of offered",
            against=f"waited over {WAIT_S * 1000:.0f} ms for a slot of a lone GPU that is {used:.0%} busy",
            ratio=None,
        )


def check(plan: Plan, speeds: Mapping[str, Speed], one: Concurrent, seconds: float, tokens: int) -> Iterator[Result]:
    """Whether the plan's Gold GPUs hold its players, pooled and each alone, and what of Silver is left."""
    rate = plan.players * one.asked["gold"]
    gold, silver = speeds["gold"], speeds["silver"]
    name = f"plan_{plan.players}"
    pooled, apart = (_worst(gold.tier(plan.gold, tokens, shared=shared), rate, seconds) for shared in (True, False))
    terms = f"{plan.gold} Gold GPUs, one queue, {rate:.1f} requests/s of {tokens} tokens, {busy(gold, plan.gold, rate, tokens):.0%} busy"
    holds = pooled.attained >= ATTAINED
    yield Result(
        name=f"{name}_gold_attained",
        value=pooled.attained,
        unit="of offered",
        against=f"{terms}; wanted {ATTAINED}: {'holds' if holds else 'DOES NOT HOLD'}; {gold.origin}",
        ratio=pooled.attained / ATTAINED,
    )
    for word, found in (("pooled", pooled), ("apart", apart)):
        against = f"waited over {WAIT_S * 1000:.0f} ms for a slot; {'one queue' if word == 'pooled' else 'a queue for each GPU'}"
        yield Result(name=f"{name}_gold_wait_{word}", value=found.waited(WAIT_S), unit="of offered", against=against, ratio=None)
    most = _most(gold, plan.gold, tokens, one.asked["gold"])
    yield Result(
        name=f"{name}_gold_room", value=most, unit="players", against=f"that {plan.gold} pooled Gold GPUs bear", ratio=most / plan.players
    )
    free = bearable(silver.tier(plan.silver, tokens), seconds=_short(seconds, plan.silver), line=ATTAINED)
    needed = plan.players * one.asked.get("silver", 0.0)
    against = (
        f"requests that {plan.silver} Silver GPUs bear for each player, whose own ask for {needed / plan.players * 60:.3f}; {silver.origin}"
    )
    yield Result(name=f"{name}_silver_room", value=free / plan.players * 60, unit="per minute", against=against, ratio=None)


def _most(gold: Speed, gpus: int, tokens: int, asked: float) -> float:
    return bearable(gold.tier(gpus, tokens), seconds=_short(60.0, gpus), line=ATTAINED) / asked


def _short(seconds: float, gpus: int) -> float:
    """Many GPUs see many requests in little time: enough of them, not more."""
    return max(10.0, seconds / max(1, gpus / 4))


def _worst(tier: Tier, rate: float, seconds: float) -> Outcome:
    """The worse of Poisson arrivals and bursts."""
    found = (simulate(tier, rate=rate, seconds=seconds / 2, burstiness=shape, warm_s=warm(tier)) for shape in (1.0, 0.5))
    return min(found, key=lambda one: (one.attained, -one.waited(WAIT_S)))


def busy(speed: Speed, gpus: int, rate: float, tokens: int) -> float:
    """Share of the slots that this rate keeps busy; above 1 it cannot hold."""
    return rate * speed.service_s(tokens) / (gpus * speed.slots)


def report(speeds: Mapping[str, Speed], one: Concurrent, seconds: float, token_counts: Sequence[int]) -> Iterator[Result]:
    """Players per GPU of every engine, then each plan with the tiers' engines, for lines of each length."""
    for speed in speeds.values():
        yield from per_gpu(speed, one, seconds)
    for tokens in token_counts:
        for plan in PLANS:
            for result in check(plan, speeds, one, seconds if plan.gold < 20 else seconds / 4, tokens):
                suffix = "" if tokens == BOTS.line.tokens else f"_{tokens}_tokens"
                yield Result(name=result.name + suffix, value=result.value, unit=result.unit, against=result.against, ratio=result.ratio)
