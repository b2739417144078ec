"""`publish-strict`: every acknowledgement is on the disk. Group commit against one publish after the other, on the same server setting."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from statistics import median

from bench.harness import Result, main, nats
from bench.publish import ENTITIES, messages
from bus.connection import connect
from bus.event import Draft
from bus.log import open_log
from bus.publisher import open_publisher
from worldbus.embedded import NatsServer

ROUNDS = 5


def drafts(count: int) -> list[Draft]:
    """Events about a thousand entities."""
    return [Draft(data=message, world="bench", entity=entity) for entity, message in messages(count)]


async def together(server: NatsServer, count: int) -> float:
    """Events per second with many publishes waiting at once."""
    async with connect(server.url, name="bench") as connection:
        log = await open_log(connection)
        async with open_publisher(connection, log, "strict", monitors=[server.monitor_url]) as publisher:
            began = time.perf_counter()
            positions = await publisher.publish_many(drafts(count))
            rate = count / (time.perf_counter() - began)
        assert positions == list(range(1, count + 1))
        await log.aclose()
        return rate


async def one_by_one(server: NatsServer, count: int) -> float:
    """Events per second with nats-py's own publish, each awaited before the next."""
    import nats as nats_py

    async with connect(server.url, name="bench-log") as connection:
        log = await open_log(connection)
        client = await nats_py.connect(server.url)
        js = client.jetstream()
        began = time.perf_counter()
        for draft in drafts(count):
            await js.publish(draft.subject.published(), draft.encode(), headers={"Nats-Msg-Id": draft.id})
        rate = count / (time.perf_counter() - began)
        assert (await log.state()).count == count
        await client.close()
        await log.aclose()
        return rate


async def run(scale: float = 1.0) -> list[Result]:
    """Both rates in turn, and their ratio."""
    ways: dict[str, tuple[Callable[[NatsServer, int], Awaitable[float]], int]] = {
        "together": (together, max(ENTITIES, int(20_000 * scale))),
        "one by one": (one_by_one, max(100, int(1_500 * scale))),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, (way, count) in ways.items():
            async with nats(strict=True) as server:
                rates[name].append(await way(server, count))
    mine, alone = median(rates["together"]), median(rates["one by one"])
    return [Result(name="publish-strict", value=mine, unit="events/s", against=f"nats-py, one by one: {alone:.0f}/s", ratio=mine / alone)]


if __name__ == "__main__":
    main(run)
