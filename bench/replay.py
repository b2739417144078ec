"""`replay`: `Log.read` from the first event to the last, against an ordered read with the least client that can read, and with raw nats-py.

All give position, time, subject and bytes of every event in order. Ours also checks that no position is missing and survives restarts.
"""

from __future__ import annotations

import time
from statistics import median
from typing import Any

from bench.consume import STREAM, fill
from bench.harness import Result, main, nats
from bench.peers import raw_nats, wire
from bus.connection import connect
from bus.event import new_id
from bus.log import open_log
from bus.subjects import parse_stored

ROUNDS = 5
Record = tuple[int, int, tuple[int, Any], bytes]


async def ours(url: str, count: int) -> float:
    """Events per second of `Log.read`."""
    async with connect(url, name="bench") as connection:
        log = await open_log(connection)
        began = time.perf_counter()
        got = 0
        async for batch in log.read():
            got += len(batch)
        rate = count / (time.perf_counter() - began)
        assert got == count
        await log.aclose()
        return rate


async def _consumer(url: str) -> str:
    """A short-lived consumer that wants no acknowledgement, as `Log.read` makes one."""
    name = new_id()
    config = {"name": name, "ack_policy": "none", "mem_storage": True, "inactive_threshold": 30_000_000_000, "deliver_policy": "all"}
    async with connect(url, name="bench-consumer") as connection:
        await connection.api(f"CONSUMER.CREATE.{STREAM}.{name}", {"stream_name": STREAM, "config": config, "action": "create"})
    return name


async def least(url: str, count: int) -> float:
    """Events per second of the least client."""
    began = time.perf_counter()
    name = await _consumer(url)
    records: list[Record] = []

    def receive(subject: bytes, reply: bytes, payload: bytes) -> None:
        tokens = reply.split(b".")
        records.append((int(tokens[5]), int(tokens[7]), parse_stored(subject.decode()), payload))
        if len(records) == 1000:
            records.clear()

    await wire.read(await wire.connect(url), STREAM, name, count, receive)
    return count / (time.perf_counter() - began)


async def raw(url: str, count: int) -> float:
    """Events per second of nats-py with a pull loop and a callback."""
    began = time.perf_counter()
    name = await _consumer(url)
    client = await raw_nats.connect(url)
    records: list[Record] = []

    def receive(message: Any) -> None:
        tokens = message.reply.split(".")
        records.append((int(tokens[5]), int(tokens[7]), parse_stored(message.subject), message.data))
        if len(records) == 1000:
            records.clear()

    await raw_nats.consume(client, STREAM, name, count, receive, batch=1000, ack=False)
    rate = count / (time.perf_counter() - began)
    await client.close()
    return rate


async def run(scale: float = 1.0) -> list[Result]:
    """Rates in turn, and their ratios."""
    count = max(2_000, int(100_000 * scale)) // 1000 * 1000
    ways = {"ours": ours, "least client": least, "raw nats-py": raw}
    rates: dict[str, list[float]] = {name: [] for name in ways}
    async with nats(strict=False) as server:
        await fill(server, count)
        for _ in range(ROUNDS):
            for name, way in ways.items():
                rates[name].append(await way(server.url, count))
    mine = median(rates.pop("ours"))
    return [
        Result(name="replay", value=mine, unit="events/s", against=f"{name}: {median(found):.0f}/s", ratio=mine / median(found))
        for name, found in rates.items()
    ]


if __name__ == "__main__":
    main(run)
