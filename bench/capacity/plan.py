"""Players that an engine carries, and whether a plan of GPUs holds: simulated from service times and the definition of a player."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from bench.capacity.queue import Outcome, Tier, bearable, simulate, warm
from bench.capacity.speed import STATED, Speed, read
from bench.duskmarket import BOTS
from bench.harness import Result
from bench.load.profile import Profile
from bench.load.script import Script
from worlds.duskmarket.bots.concurrent import Concurrent

__all__ = ["PLANS", "STATED", "Plan", "Speed", "check", "per_gpu", "read", "report"]
ATTAINED: Final = 0.99
AS_ASKED: Final = "_as_asked"
"""Ends the names of figures for requests as long as a world's."""
WAIT_S: Final = 0.050  # for a slot: what Gold's promise of a first chunk within 100 ms leaves


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


def per_gpu(speed: Speed, one: Concurrent, seconds: float, profile: Profile | None = None) -> Iterator[Result]:
    """Players per GPU by the definition: the highest bearable rate over what one player asks."""
    asked, lengths = one.asked["gold"], BOTS.line.tokens if profile is None else profile
    alone = speed.tier(1, lengths)
    whole = f"whole by {alone.deadline_s * 1000:.0f} ms for {ATTAINED:.0%} of offered"
    terms = f"{_words(speed, lengths)}, {whole}; {seconds:.0f} s, half in bursts"
    capacity = speed.capacity if profile is None else speed.slots / speed.full_s(profile)
    lone = bearable(alone, seconds=seconds, line=ATTAINED)
    yield Result(
        name=f"{speed.name}_players_per_gpu",
        value=lone / asked,
        unit="players",
        against=f"simulated, {terms}; lambda {asked * 60:.2f} a minute; {speed.origin}, {capacity:.1f} answers/s",
        ratio=lone / capacity,
    )
    if speed.measured_lengths == (profile is not None):
        yield from _ramped(speed, asked, lone)
    for used in (0.5, 0.63, 0.8):
        found = simulate(alone, rate=used * capacity, seconds=seconds)
        yield Result(
            name=f"{speed.name}_wait_at_{used * 100:.0f}",
            value=found.waited(WAIT_S),
            unit="of offered",
            against=f"waited over {WAIT_S * 1000:.0f} ms for a slot of a lone GPU at {used:.0%} of its answers/s",
            ratio=None,
        )


def _ramped(speed: Speed, asked: float, lone: float) -> Iterator[Result]:
    for share, ramped in speed.measured.items():
        players = ramped / Script().every_s / asked  # the ramp's players ask at a rate of their own
        against = f"measured by a ramp on the bus, {share} % of offered, at the lambda of above; ratio: over the simulated"
        ratio = players * asked / lone if lone and share == "99" else None
        yield Result(name=f"{speed.name}_players_measured_{share}", value=players, unit="players", against=against, ratio=ratio)


def _words(speed: Speed, lengths: int | Profile) -> str:
    if isinstance(lengths, int):
        return f"{lengths} tokens"
    mean = lengths.means(speed.asked_as)
    return f"mean prompt {mean.tokens:.0f} tokens, {mean.fresh:.0f} of them not cached, mean answer {mean.answer:.0f}"


def check(plan: Plan, speeds: Mapping[str, Speed], one: Concurrent, seconds: float, lengths: int | Profile) -> Iterator[Result]:
    """Test whether the plan's Gold GPUs hold its players, pooled and each alone, and how much of Silver is left."""
    rate = plan.players * one.asked["gold"]
    gold, silver = speeds["gold"], speeds["silver"]
    name = f"plan_{plan.players}"
    pooled, apart = (_worst(gold.tier(plan.gold, lengths, shared=shared), rate, seconds) for shared in (True, False))
    used = gold.busy(plan.gold, rate, lengths)
    terms = f"{plan.gold} Gold GPUs, one queue, {rate:.1f} requests/s, {_words(gold, lengths)}, {used:.0%} busy"
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
    most = _most(gold, plan.gold, lengths, one.asked["gold"])
    yield Result(
        name=f"{name}_gold_room", value=most, unit="players", against=f"that {plan.gold} pooled Gold GPUs bear", ratio=most / plan.players
    )
    if not isinstance(lengths, int) and not any(kind.tier == "silver" for kind in lengths.kinds):
        return  # nobody knows how long such requests are
    free = bearable(silver.tier(plan.silver, lengths), seconds=_short(seconds, plan.silver), line=ATTAINED)
    needed = plan.players * one.asked.get("silver", 0.0)
    against = (
        f"requests that {plan.silver} Silver GPUs bear for each player, whose own ask for {needed / plan.players * 60:.3f}; "
        f"{_words(silver, lengths)}; {silver.origin}"
    )
    yield Result(name=f"{name}_silver_room", value=free / plan.players * 60, unit="per minute", against=against, ratio=None)


def _most(gold: Speed, gpus: int, lengths: int | Profile, asked: float) -> float:
    return bearable(gold.tier(gpus, lengths), seconds=_short(60.0, gpus), line=ATTAINED) / asked


def _short(seconds: float, gpus: int) -> float:
    """Many GPUs see many requests in little time: enough of them, not more."""
    return max(10.0, seconds / max(1, gpus / 4))


def _worst(tier: Tier, rate: float, seconds: float) -> Outcome:
    """The worse of Poisson arrivals and bursts."""
    found = (simulate(tier, rate=rate, seconds=seconds / 2, burstiness=shape, warm_s=warm(tier)) for shape in (1.0, 0.5))
    return min(found, key=lambda one: (one.attained, -one.waited(WAIT_S)))


def report(
    speeds: Mapping[str, Speed], one: Concurrent, seconds: float, token_counts: Sequence[int], profile: Profile | None = None
) -> Iterator[Result]:
    """Players per GPU of every engine, then each plan with the tiers' engines, for lines of each length; then both as a world asks."""
    for speed in speeds.values():
        yield from per_gpu(speed, one, seconds)
    for tokens in token_counts:
        yield from _plans(speeds, one, seconds, tokens, "" if tokens == BOTS.line.tokens else f"_{tokens}_tokens")
    if profile is None:
        return
    for speed in speeds.values():
        yield from (replace(found, name=found.name + AS_ASKED) for found in per_gpu(speed, one, seconds, profile))
    yield from _plans(speeds, one, seconds, profile, AS_ASKED)


def _plans(speeds: Mapping[str, Speed], one: Concurrent, seconds: float, lengths: int | Profile, suffix: str) -> Iterator[Result]:
    for plan in PLANS:
        for found in check(plan, speeds, one, seconds if plan.gold < 20 else seconds / 4, lengths):
            yield replace(found, name=found.name + suffix)
