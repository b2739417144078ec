"""A salient request behind a full batch of background work; how soon a cancel stops the engine; and all engines dead."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from bench.harness import Result
from bench.load import engines
from bench.load.account import percentile, percentiles, result
from bench.load.engines import Watched
from bench.load.players import WORLD
from bench.load.script import Script
from bench.load.stage import Stage, stage
from bus.signals import signal
from inference.worker import Worker

PLAIN_VLLM_MS = 1720  # the same behind a full batch, in vLLM with its own priorities
VIP = Script(tokens=4, salience=1.0)


async def urgent(scale: float, engine_name: str = "timed") -> list[Result]:
    """The batch is full of requests of the least salience that are all being generated."""
    waits: list[float] = []
    stops: list[float] = []
    after: list[int] = []
    tier = engines.CHOICES[engine_name].script.tier
    vip = replace(VIP, tier=tier)
    background = Script(tier=tier, tokens=400, budget_ms=60_000, salience=0.05)
    with engines.chosen(engine_name) as engine:
        async with stage() as on, on.worker(engine, tier) as worker:
            _, _, step = await engines.direct(engine, Script(tokens=32), 2 * engine.slots)
            for number in range(max(5, round(60 * scale))):
                await _fill(on, worker, engine, background, number)
                name = on.players.ask(f"urgent{number}", "vip", vip)
                while name not in engine.called:
                    await asyncio.sleep(0.0002)
                waits.append(engine.called[name] - on.players.asked[name].at)
                await on.players.ended([name], 10.0)
                stopped, steps = await _stop_all(on, worker, engine)
                stops += stopped
                after += steps
    label = f"{engine_name}_urgent"
    against = (
        f"published to engine called behind a full batch; one step is {step * 1000:.1f} ms, wanted one step + 5; plain vLLM {PLAIN_VLLM_MS}"
    )
    return [
        *percentiles(label, waits, against, (0.5, 0.99)),
        result(f"{label}_ok", sum(one <= step + 0.005 for one in waits) / len(waits), "of urgent", "began within one step + 5 ms"),
        result(f"{engine_name}_stop_p50", percentile(stops, 0.5) * 1000, "ms", f"cancel sent to engine stopped; {len(stops)} cancels"),
        result(f"{engine_name}_stop_p99", percentile(stops, 0.99) * 1000, "ms", "wanted 30 + one step"),
        result(
            f"{engine_name}_steps_after_cancel",
            max(after),
            "steps",
            "most that any request's engine took after its stop was known; wanted 1",
        ),
    ]


async def _fill(on: Stage, worker: Worker, engine: Watched, script: Script, number: int) -> None:
    names = [on.players.ask(f"background{number}", "bg", script) for _ in range(engine.slots)]
    while not all(engine.moments.get(name) for name in names):
        await asyncio.sleep(0.002)
    await asyncio.sleep(0.003 * (number % 7))  # at another moment of the step each time


async def _stop_all(on: Stage, worker: Worker, engine: Watched) -> tuple[list[float], list[int]]:
    """Cancel everything that runs, one by one; when each was stopped, and what it cost."""
    running = [work.ask.id for work in worker.choosing.running]
    sent = {}
    for name in running:
        sent[name] = time.perf_counter()
        signal(on.connection, f"sig.{WORLD}.cancel.{name}")
        await asyncio.sleep(0.001)
    for work in list(worker.choosing.waiting):
        signal(on.connection, f"sig.{WORLD}.cancel.{work.ask.id}")
    while on.players.open:
        await asyncio.sleep(0.002)
    took = [max(0.0, engine.closed[name] - at) for name, at in sent.items()]
    return took, [engine.after(name, engine.closed[name]) for name in running]


async def dead(scale: float) -> list[Result]:
    """Every engine dead: the ladder answers."""
    async with stage() as on, on.worker(None, name="ladder"):
        asked = await on.players.play("dead", Script(), 100, max(2.0, 5 * scale))
    heard = [one.heard - one.at for one in asked if one.heard]
    return [
        result("dead_speakable", sum(one.in_time for one in asked) / len(asked), "of offered", "no engine alive, 100/s; wanted 1"),
        *percentiles("dead_heard", heard, "request made to line heard", (0.5, 0.99)),
    ]
