"""Loads as shares of what the engine can do when it is called directly, and the ramp that says how many players one GPU bears."""

from __future__ import annotations

import asyncio
import subprocess
from typing import Final

from bench.harness import Result
from bench.load import engines
from bench.load.account import Account, result
from bench.load.engines import Watched
from bench.load.players import Players
from bench.load.profile import Profile
from bench.load.script import Script
from bench.load.stage import stage

LOADS: Final = (("0.5x", 0.5, 1.0), ("1x", 1.0, 1.0), ("1x_bursty", 1.0, 0.5), ("1.5x", 1.5, 1.0), ("3x", 3.0, 1.0))
"""Name, share of the capacity, burstiness (1 is Poisson)."""
ATTAINED: Final = 0.99
ATTAINED_LINE: Final = 0.95
FALLBACK: Final = 0.01
UNFAIR: Final = 0.05
UP: Final = range(5, 12)
"""Tenths of the capacity that a ramp goes up by, until one does not hold."""
DOWN: Final = (4, 3, 2, 1)
"""And down by, where not even the first of those holds."""
FULL_S: Final = 600.0
"""Seconds that each rate is to be offered for a figure to publish: scale 10."""


async def loads(scale: float, engine_name: str = "timed", profile: Profile | None = None) -> list[Result]:
    """Half, once, one and a half and three times the capacity."""
    results: list[Result] = []
    script = engines.script_of(engine_name, profile)
    with engines.chosen(engine_name, profile) as engine:
        async with stage() as on, on.worker(engine, script.tier) as worker:
            capacity, _, step = await _capacity(engine, script, scale)
            prefix = f"{engine_name}_load"
            results.append(
                result(f"{prefix}_capacity", capacity, "answers/s", f"the engine called directly, {engine.slots} at once; {script}")
            )
            if profile is not None:  # a plan reckons from them
                against = f"mean of what was asked; {profile.measured_from}"
                results.append(result(f"{prefix}_fresh_tokens", script.mean.fresh, "tokens", f"of a prompt, not cached; {against}"))
                results.append(result(f"{prefix}_answer_tokens", script.mean.answer, "tokens", f"of an answer; {against}"))
            await on.players.play("warm", script, capacity / 2, 1.0)
            for number, (name, share, burstiness) in enumerate(LOADS):
                seconds = max(2.0, 10 * scale)
                asked = await on.players.play(f"load{number}", script, share * capacity, seconds, burstiness=burstiness)
                results += Account(asked).results(f"{prefix}_{name}", capacity)
            results += _after_expiry(f"{prefix}", on.players, engine)
            results += await _expired(prefix, on.players, engine, script)
            results.append(result(f"{prefix}_step", step * 1000, "ms", "one step of the engine when full"))
            assert not worker.choosing.running
    return results


async def _capacity(engine: Watched, script: Script, scale: float) -> tuple[float, float, float]:
    """Measure the engine at its best of three times: a disturbance of the machine is not its limit."""
    await engines.direct(engine, script, 2 * engine.slots)
    count = round(engine.slots * max(4.0, 8 * scale))
    return max([await engines.direct(engine, script, count) for _ in range(3)], key=lambda found: found[0])


def _after_expiry(prefix: str, players: Players, engine: Watched) -> list[Result]:
    """Steps of the engine spent on requests whose deadline had passed."""
    spent = [engine.after(name, one.deadline) for name, one in players.asked.items()]
    return [result(f"{prefix}_steps_after_expiry", max(spent, default=0), "steps", "most for any request of all loads; wanted at most 1")]


async def _expired(prefix: str, players: Players, engine: Watched, script: Script) -> list[Result]:
    """Requests that were expired when they arrived, among others that are not."""
    names = []
    for number in range(50):
        names.append(players.ask("expired", f"p{number % 20}", script, late_ms=1 + 20 * number))
        players.ask("alive", f"p{number % 20}", script)
        await asyncio.sleep(0.01)
    await players.ended(list(players.asked), 15.0)
    ends = [players.asked[name] for name in names]
    arrival = sum(one.kind == "InferenceExpired" and one.end.stage == "arrival" for one in ends)
    tokens = sum(len(engine.moments.get(name, ())) for name in names)
    return [
        result(f"{prefix}_expired_on_arrival", arrival / len(ends), "of expired", "ended as expired on arrival; wanted 1"),
        result(f"{prefix}_expired_tokens", tokens, "chunks", "that an engine generated for them; wanted 0"),
    ]


async def ramp(scale: float, engine_name: str = "timed", profile: Profile | None = None) -> list[Result]:
    """Players per GPU: the highest offered rate at which the tier's promise holds over what was offered, over the rate of one player."""
    script, best = engines.script_of(engine_name, profile), {ATTAINED: 0.0, ATTAINED_LINE: 0.0}
    seconds = max(3.0, FULL_S / 10 * scale)
    with engines.chosen(engine_name, profile) as engine:
        async with stage() as on, on.worker(engine, script.tier):
            capacity, _, _ = await _capacity(engine, script, scale)
            await on.players.play("warm", script, capacity / 2, 1.0)

            async def attempt(step: int) -> None:
                rate = step / 10 * capacity
                held = [await _held(on.players, script, rate, seconds / 2, shape, step) for shape in (1.0, 0.5)]
                for line, held_at in list(best.items()):
                    if all(_keeps(account, line) for account in held):
                        best[line] = max(held_at, rate)

            for step in UP:
                await attempt(step)
                if best[ATTAINED_LINE] < step / 10 * capacity:
                    break
            for step in DOWN:
                if best[ATTAINED]:
                    break
                await attempt(step)
            hits = engine.cached / max(1, engine.prompted)
    model, terms = (
        engine.model.rsplit("/", 1)[-1],
        f"{script}; each rate {seconds:.0f} s (to publish: {FULL_S:.0f}), half Poisson, half burstiness 0.5",
    )
    against = f"{terms}; fallback < 1 %, no player > 5 points below the mean; prefix hits {hits:.0%}; model {model}; commit {_commit()}"
    results = []
    for line, rate in best.items():
        name = f"{engine_name}_at_{round(line * 100)}"
        results.append(result(f"{name}_rate", rate, "requests/s", f"capacity {capacity:.1f}/s called directly", rate / capacity))
        results.append(result(f"{name}_players_per_gpu", rate * script.every_s, "players", against))
    return results


async def _held(players: Players, script: Script, rate: float, seconds: float, burstiness: float, step: int) -> Account:
    asked = await players.play(f"ramp-{step}-{round(burstiness * 10)}", script, rate, seconds, burstiness=burstiness)
    return Account(asked)


def _keeps(account: Account, line: float) -> bool:
    """Return whether the promise held. In a short run a player has too few requests for a share: then only the others count."""
    fair = len(account.offered) < 20 * 100 or account.worst_player <= UNFAIR
    return account.full >= line and account.fallback < max(FALLBACK, 1 - line) and fair


def _commit() -> str:
    found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"
