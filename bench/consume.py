"""`consume`: our pull loop with decoding and settling, against the same loop on raw nats-py and against nats-py's fetch.

All three take every event of a filled log through a durable consumer, decode envelope and payload, and acknowledge (fetch each one, the
loops each batch).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from statistics import median
from typing import Any

from bench.harness import Result, main, nats
from bench.peers import raw_nats
from bench.publish import messages
from bus.answers import parse_ack
from bus.connection import connect
from bus.consumer import PullConsumer
from bus.event import Draft, Event
from bus.log import open_log
from bus.publisher import open_publisher
from bus.subjects import place
from schemas.gen.io.cloudevents.v1.cloudevents_pb2 import CloudEvent
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerMoved
from worldbus.embedded import NatsServer

ROUNDS = 5
BATCH = 500
STREAM, NAME = "LOG", "bench_0"


async def fill(server: NatsServer, count: int) -> None:
    """Put `count` events into the log."""
    async with connect(server.url, name="bench-fill") as connection:
        log = await open_log(connection)
        async with open_publisher(connection, log, "relaxed") as publisher:
            await publisher.publish_many(Draft(data=message, world="bench", entity=entity) for entity, message in messages(count))
        await log.aclose()


async def ours(url: str, count: int) -> float:
    """Events per second through our pull consumer."""
    async with connect(url, name="bench") as connection:
        consumer = PullConsumer(connection, STREAM, NAME, pinned=False)
        await consumer.create([])
        done = asyncio.Event()
        got = total = 0

        def receive(subject: bytes, reply: bytes, header: bytes | None, payload: bytes) -> None:
            nonlocal got, total
            position, _, recorded_ns, _ = parse_ack(reply)
            partition, tokens = place(subject)
            event = Event(raw=payload, subject=tokens, partition=partition, position=position, recorded_ns=recorded_ns)
            total += len(event.data.zone)  # type: ignore[attr-defined] - all of them are PlayerMoved
            got += 1
            if got % BATCH == 0 or got == count:
                consumer.ack(reply)
                consumer.request(BATCH)
            if got == count:
                done.set()

        began = time.perf_counter()
        await consumer.start(receive, lambda status: None)
        consumer.request(BATCH)
        consumer.request(BATCH)
        await done.wait()
        await connection.request("$JS.API.INFO")  # behind the last acknowledgement
        rate = count / (time.perf_counter() - began)
        assert total > 0
        assert (await consumer.info())["ack_floor"]["stream_seq"] == count
        await consumer.close()
        return rate


async def _peer(url: str, count: int, loop: Callable[[Any, Callable[[Any], None]], Awaitable[None]], policy: str) -> float:
    async with connect(url, name="bench-log") as connection:
        await PullConsumer(connection, STREAM, NAME, pinned=False).create([], ack_policy=policy)
    client = await raw_nats.connect(url)
    total = 0

    def receive(message: Any) -> None:
        nonlocal total
        assert message.metadata.sequence.stream
        envelope = CloudEvent.FromString(message.data)
        total += len(PlayerMoved.FromString(envelope.proto_data.value).zone)

    began = time.perf_counter()
    await loop(client, receive)
    rate = count / (time.perf_counter() - began)
    assert total > 0
    await client.close()
    return rate


async def callback(url: str, count: int) -> float:
    """Events per second of nats-py with a pull loop and a callback, one acknowledgement for each batch."""
    return await _peer(url, count, lambda client, receive: raw_nats.consume(client, STREAM, NAME, count, receive, batch=BATCH), "all")


async def fetch(url: str, count: int) -> float:
    """Events per second of nats-py's fetch with an acknowledgement each."""
    return await _peer(url, count, lambda client, receive: raw_nats.fetch(client, STREAM, NAME, count, receive, batch=BATCH), "explicit")


async def run(scale: float = 1.0) -> list[Result]:
    """Rates in turn, and their ratios."""
    count = max(2 * BATCH, int(40_000 * scale))
    ways = {"ours": ours, "raw nats-py, pull with callback": callback, "nats-py, fetch with ack": fetch}
    rates: dict[str, list[float]] = {name: [] for name in ways}
    async with nats(strict=False) as server:
        await fill(server, count)
        for _ in range(ROUNDS):
            for name, way in ways.items():
                rates[name].append(await way(server.url, count))
                async with connect(server.url, name="bench-clean") as connection:
                    await PullConsumer(connection, STREAM, NAME, pinned=False).delete()
    mine = median(rates.pop("ours"))
    return [
        Result(name="consume", value=mine, unit="events/s", against=f"{name}: {median(found):.0f}/s", ratio=mine / median(found))
        for name, found in rates.items()
    ]


if __name__ == "__main__":
    main(run)
