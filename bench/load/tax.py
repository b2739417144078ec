"""The bus tax: published to engine called, per chunk, and CPU per request; at saturation, against the engine called directly."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from statistics import median

from bench.harness import Result
from bench.load import engines
from bench.load.account import percentiles, result
from bench.load.engines import Watched
from bench.load.profile import Profile
from bench.load.script import Script
from bench.load.stage import Stage, stage
from inference.delivery import Delivery
from inference.engines.timed import Pace
from schemas.gen.worldbus.inference.v1.types_pb2 import TokensDelivered

RATE = 200.0
INSTANT = Pace(first=0.0, per_token=1e-4)
CHUNKS = 200


async def tax(scale: float) -> list[Result]:
    """At 200 requests a second; the engine takes no time of its own."""
    results: list[Result] = []
    for strict in (False, True):
        label = "strict" if strict else "relaxed"
        async with stage(strict=strict) as on:
            engine = engines.timed(INSTANT, slots=64)
            async with on.worker(engine):
                await on.players.play(f"warm-{label}", Script(), 50, 0.5)
                results += await _at_rate(on, engine, label, 5 * scale + 0.5)
                chunks = await _chunk_costs(on)
                results.append(result(f"chunk_{label}_p50", median(chunks) * 1000, "ms", "chunk said to chunk heard; wanted 1"))
    return results


async def _at_rate(on: Stage, engine: Watched, label: str, seconds: float) -> list[Result]:
    on.players.lag.clear()
    cpu, before = time.process_time(), set(on.players.asked)
    asked = await on.players.play(f"tax-{label}", Script(), RATE, seconds)
    cpu = time.process_time() - cpu
    named = {name: one for name, one in on.players.asked.items() if name not in before and name in engine.called}
    waits = [engine.called[name] - one.at for name, one in named.items()]
    return [
        *percentiles(f"tax_{label}", waits, "published to engine called, 200/s; wanted p50 2, p99 15", (0.5, 0.99)),
        *percentiles(f"tax_{label}_generator_late", list(on.players.lag), "how late the load itself was made", (0.99,)),
        result(f"cpu_{label}", cpu / max(1, len(asked)) * 1000, "ms/request", "players, worker and engine, 16 tokens; wanted 2"),
    ]


async def _chunk_costs(on: Stage) -> list[float]:
    delivery = Delivery(on.connection)
    await delivery.open()
    costs = []
    heard: asyncio.Queue[float] = asyncio.Queue()
    listener = await on.connection.listen("sig.chunks.tokens.*", lambda *_: heard.put_nowait(time.perf_counter()))
    position = 0
    for sequence in range(CHUNKS):
        began = time.perf_counter()
        stored = delivery.speak("chunks", TokensDelivered(request_id="c", sequence=sequence, text="Yes. "), position)
        costs.append(await heard.get() - began)
        position = await stored
    await listener.close()
    await delivery.aclose()
    return costs


async def saturation(scale: float, engine_name: str = "timed", profile: Profile | None = None) -> list[Result]:
    """Tokens per second through the bus with a full engine, against the same engine called directly with the same inputs, in turn."""
    script = replace(engines.script_of(engine_name, profile), budget_ms=120_000)
    count = round((240 if engine_name == "timed" else 160) * max(scale, 0.2))
    rates: dict[str, list[float]] = {"bus": [], "direct": []}
    with engines.chosen(engine_name, profile) as engine:
        async with stage() as on, on.worker(engine, script.tier):
            await engines.direct(engine, script, engine.slots)
            for turn in range(3):
                rates["direct"].append((await engines.direct(engine, script, count))[1])
                rates["bus"].append(await _through(on, engine, script, count, turn))
    return list(_against(rates, engine_name))


async def _through(on: Stage, engine: Watched, script: Script, count: int, turn: int) -> float:
    """Tokens per second. As many requests wait as the worker looks ahead, so that no slot is ever idle for want of work."""
    began, tokens, names = time.perf_counter(), engine.tokens, []
    for number in range(count):
        while on.players.open >= engine.slots + 40:
            await asyncio.sleep(0.002)
        names.append(on.players.ask(f"full{turn}", f"p{number % 20}", script))
    await on.players.ended(names, 120.0)
    return (engine.tokens - tokens) / (time.perf_counter() - began)


def _against(rates: dict[str, list[float]], engine_name: str) -> Iterator[Result]:
    bus, direct = median(rates["bus"]), median(rates["direct"])
    wanted = "wanted 0.97x" if engine_name == "timed" else "reported: this engine takes every core"
    yield result(f"saturation_{engine_name}", bus, "tokens/s", f"the engine called directly: {direct:.0f}; {wanted}", bus / direct)
