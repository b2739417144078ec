"""`publish`: relaxed and pipelined, against the best that nats-py can do with the same envelope, and the C client sending ready-made bytes.

Ours checks every rule, gives each event its position, and resends what is not answered; the others do not.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from statistics import median
from typing import Any

from bench.harness import Result, folder, main, nats
from bench.peers import limit, raw_nats
from bus.connection import connect
from bus.event import Draft
from bus.log import open_log
from bus.publisher import open_publisher
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerMoved

ENTITIES = 1000
ROUNDS = 5
WINDOW = 4096


def messages(count: int) -> list[tuple[str, Any]]:
    """(entity, message) pairs."""
    return [(f"p{n % ENTITIES}", PlayerMoved(zone=f"zone-{n % 50}", x=n * 0.5, y=1.0, z=-n * 0.25)) for n in range(count)]


async def ours(url: str, count: int) -> float:
    """Events per second."""
    async with connect(url, name="bench") as connection:
        log = await open_log(connection)
        async with open_publisher(connection, log, "relaxed", window=WINDOW) as publisher:
            said = messages(count)
            began = time.perf_counter()
            positions = await publisher.publish_many(Draft(data=message, world="bench", entity=entity) for entity, message in said)
            rate = count / (time.perf_counter() - began)
        assert positions == list(range(1, count + 1))
        await log.aclose()
        return rate


async def _with_log(url: str, count: int, way: Callable[[], Awaitable[float]]) -> float:
    """Run a peer against the same stream."""
    async with connect(url, name="bench-log") as connection:
        log = await open_log(connection)
        rate = await way()
        assert (await log.state()).count == count
        await log.aclose()
        return rate


async def raw(url: str, count: int) -> float:
    """Events per second of nats-py with joined writes and counted acknowledgements."""

    async def way() -> float:
        client = await raw_nats.connect(url)
        said = messages(count)
        began = time.perf_counter()
        await raw_nats.publish(client, said, time.time_ns)
        rate = count / (time.perf_counter() - began)
        await client.close()
        return rate

    return await _with_log(url, count, way)


async def run(scale: float = 1.0) -> list[Result]:
    """Rates in turn, and their ratios."""
    count = int(40_000 * scale)
    entity, message = messages(1)[0]
    size = len(Draft(data=message, world="bench", entity=entity).encode())
    with folder() as path:
        program = await limit.build(path)

        async def c(url: str, number: int) -> float:
            assert not isinstance(program, str)
            return await _with_log(url, number, lambda: limit.publish(program, url, number, window=WINDOW, size=size, entities=ENTITIES))

        ways: dict[str, Callable[[str, int], Awaitable[float]]] = {"ours": ours, "raw nats-py": raw}
        if not isinstance(program, str):
            ways["C client"] = c
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, way in ways.items():
                async with nats(strict=False) as server:
                    rates[name].append(await way(server.url, count))
    mine = median(rates.pop("ours"))
    results = [
        Result(name="publish", value=mine, unit="events/s", against=f"{name}: {median(found):.0f}/s", ratio=mine / median(found))
        for name, found in rates.items()
    ]
    if isinstance(program, str):
        results.append(Result(name="publish", value=mine, unit="events/s", against=f"C client: not run, {program}", ratio=None))
    return results


if __name__ == "__main__":
    main(run)
