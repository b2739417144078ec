"""`handle`: consume → decide → publish → settle, every promise on, against FastStream's JetStream handlers doing the same work.

The log is filled first; then one process handles all of it. Throughput is counted by outputs in the log. Relaxed durability on all sides.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from statistics import median

from bench.harness import Result, main, nats
from bench.peers import faststream_handler
from bench.toy import NAME, mover, moves
from bus.connection import connect
from bus.log import open_log
from bus.publisher import open_publisher
from bus.runtime import run_handlers

ENTITIES = 1000
ROUNDS = 3


async def _filled(url: str, count: int) -> None:
    async with connect(url, name="bench-fill") as connection:
        log = await open_log(connection)
        async with open_publisher(connection, log, durability="relaxed") as publisher:
            await publisher.publish_many(moves(count, ENTITIES))
        await log.aclose()


async def ours(url: str, count: int) -> float:
    """Inputs handled per second by our runtime."""
    async with connect(url, name="bench-handle") as connection:
        log = await open_log(connection)
        began = time.perf_counter()
        async with run_handlers(connection, log, [mover]) as runtime:
            tally = runtime.runners[NAME].tally
            while tally.emitted < count:
                await asyncio.sleep(0.005)
            rate = count / (time.perf_counter() - began)
        assert (await log.state()).count == 2 * count
        await log.aclose()
        return rate


async def faststream(url: str, count: int, *, batch: bool) -> float:
    """Inputs handled per second by FastStream."""
    began = time.perf_counter()
    async with faststream_handler.running(url, batch=batch) as handled:
        while handled() < count:
            await asyncio.sleep(0.005)
        return count / (time.perf_counter() - began)


async def _round(way: Callable[[str, int], Awaitable[float]], count: int) -> float:
    async with nats(strict=False) as server:
        await _filled(server.url, count)
        return await way(server.url, count)


async def run(scale: float = 1.0) -> list[Result]:
    """Rates of ours and of both FastStream modes in turn, and their ratios."""
    count = int(20_000 * scale)
    ways: dict[str, tuple[Callable[[str, int], Awaitable[float]], int]] = {
        "ours": (ours, count),
        "faststream default": (lambda url, n: faststream(url, n, batch=False), max(500, count // 10)),
        "faststream batch": (lambda url, n: faststream(url, n, batch=True), max(1000, count // 4)),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, (way, number) in ways.items():
            rates[name].append(await _round(way, number))
    mine = median(rates["ours"])
    return [
        Result(name="handle", value=mine, unit="events/s", against=f"{peer}: {median(rates[peer]):.0f}/s", ratio=mine / median(rates[peer]))
        for peer in ways
        if peer != "ours"
    ]


if __name__ == "__main__":
    main(run)
