"""Neighbours: how far one player who asks a hundred times as often, or Bronze at full load, moves the 99th percentile of everybody else.

Both states take turns on the same servers, with the same moments of asking, and what they gave is pooled: a machine that slows down for
a while slows both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from bench.harness import Result
from bench.load import engines
from bench.load.account import percentile, result
from bench.load.players import Asked, Players
from bench.load.script import Script
from bench.load.stage import stage

RATE = 8.0  # requests per second of twenty players together: far from full, so that no queue of their own is measured
NOISE = 40.0  # a hundred times as many as one of them
CAPACITY = engines.SLOTS / (engines.PACE.first + 15 * engines.PACE.per_token)


async def neighbours(scale: float) -> list[Result]:
    """See the module."""
    turns, seconds = max(2, round(6 * scale)), min(10.0, max(2.5, 20 * scale))
    results = []
    script = Script()
    async with stage() as on:
        players = on.players
        async with on.worker(engines.timed()):
            await players.play("warm", script, CAPACITY / 2, 1.0)

            async def noise(turn: int) -> None:
                await players.play(f"noise{turn}", script, NOISE, seconds, player="noisy")

            quiet, loud = await _turns(players, turns, seconds, noise)
            results.append(_moved("noisy_neighbour", quiet, loud, "one player asks 100 times as often as each of 20"))
        async with on.worker(engines.timed()), on.worker(engines.timed(), "bronze", "b1"):
            bronze = Script(tier="bronze", budget_ms=60_000)
            await players.play("warm2", script, CAPACITY / 2, 1.0)

            async def background(turn: int) -> None:
                await players.play(f"bronze{turn}", bronze, CAPACITY, seconds)

            quiet, loud = await _turns(players, turns, seconds, background)
            results.append(_moved("bronze_beside", quiet, loud, "Bronze at full load on an engine of its own, in the same process"))
    return results


async def _turns(
    players: Players, turns: int, seconds: float, disturb: Callable[[int], Awaitable[None]]
) -> tuple[list[Asked], list[Asked]]:
    quiet: list[Asked] = []
    loud: list[Asked] = []
    for turn in range(turns):
        quiet += await players.play(f"calm{turn}", Script(), RATE, seconds)
        again, _ = await asyncio.gather(players.play(f"calm{turn}", Script(), RATE, seconds), disturb(turn))
        loud += again
    return quiet, loud


def _moved(name: str, before: Sequence[Asked], after: Sequence[Asked], against: str) -> Result:
    p99 = [percentile([one.ended - one.at for one in asked if one.ended], 0.99) for asked in (before, after)]
    middle = [percentile([one.ended - one.at for one in asked if one.ended], 0.5) for asked in (before, after)]
    full = sum(one.full for one in after) / max(1, len(after))
    told = f"{against}; alone {p99[0] * 1000:.1f} ms, p50 {middle[0] * 1000:.1f} -> {middle[1] * 1000:.1f} ms"
    return result(
        f"{name}_p99", p99[1] * 1000, "ms", f"{told}, {len(after)} requests, {full:.1%} full; wanted 1.1x at most", p99[1] / p99[0]
    )
