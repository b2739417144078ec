"""`scale`: two handler processes on 8 partitions against one, with a decision that costs processor time; and how long a hand-over takes.

Rates are read from the log: inputs divided by the time between the first and the last answer, by the server's clock.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
import time
from dataclasses import replace
from statistics import median

import uvloop

from bench.harness import Result, main, nats
from bench.toy import NAME, move, mover, moves
from bus.connection import connect
from bus.event import Event
from bus.log import Log, open_log
from bus.publisher import open_publisher
from bus.runtime import run_handlers

ENTITIES = 400
WORK = 4000  # rounds of hashing: a millisecond or more, so that the decision is what costs
ROUNDS = 3

thinker = replace(mover, decide=lambda event, state: _think(event) and mover.decide(event, state))


def _think(event: Event) -> bytes:
    digest = event.raw
    for _ in range(WORK):
        digest = hashlib.sha256(digest).digest()
    return digest


async def _work(url: str) -> None:
    async with connect(url, name="bench-member") as connection:
        log = await open_log(connection)
        async with run_handlers(connection, log, [thinker]):
            await asyncio.Event().wait()


async def _member(url: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench.scale",
        "member",
        url,
        env=os.environ | {"WORLDBUS_LOG": "json"},
        stderr=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
    )


async def _answers(log: Log, count: int) -> list[Event]:
    found: list[Event] = []
    async for batch in log.read(filters=[f"evt.*.*.{NAME}.*.*"], follow=True):
        found += batch
        if len(found) >= count:
            return found
    return found


async def _rate(members: int, count: int) -> float:
    async with nats(strict=False) as server, connect(server.url, name="bench") as connection:
        log = await open_log(connection)
        processes = [await _member(server.url) for _ in range(members)]
        try:
            async with open_publisher(connection, log, "relaxed") as publisher:
                await publisher.publish_many(moves(8 * members, ENTITIES))
                await _answers(log, 8 * members)
                await asyncio.sleep(2.0)  # members know each other and have their shares
                await publisher.publish_many([move(1000 + number, ENTITIES) for number in range(count)])
                answers = (await _answers(log, 8 * members + count))[8 * members :]
        finally:
            for process in processes:
                process.kill()
                await process.wait()
        _check_order(answers)
        return (count - 1) / ((answers[-1].recorded_ns - answers[0].recorded_ns) / 1e9)


def _check_order(answers: list[Event]) -> None:
    last: dict[str, int] = {}
    for answer in answers:
        assert answer.lane is not None
        assert answer.lane.position > last.get(answer.entity, 0), "answered out of order"
        last[answer.entity] = answer.lane.position


async def _hand_over() -> float:
    """Seconds from the SIGKILL of one of two members until every partition is answered again."""
    async with nats(strict=False) as server, connect(server.url, name="bench") as connection:
        log = await open_log(connection)
        first, second = [await _member(server.url) for _ in range(2)]
        try:
            async with open_publisher(connection, log, "relaxed") as publisher:
                await publisher.publish_many(moves(200, ENTITIES))
                await _answers(log, 200)
                await asyncio.sleep(2.0)
                first.kill()
                began = time.time_ns()
                await publisher.publish_many([move(1000 + number, ENTITIES) for number in range(200)])
                return ((await _answers(log, 400))[-1].recorded_ns - began) / 1e9
        finally:
            for process in (first, second):
                if process.returncode is None:
                    process.kill()
                await process.wait()


async def run(scale: float = 1.0) -> list[Result]:
    """The ratio of two members to one, and the time of a hand-over."""
    count = int(2000 * scale)
    one, two = [], []
    for _ in range(ROUNDS):
        one.append(await _rate(1, count))
        two.append(await _rate(2, count))
    taken = median([await _hand_over() for _ in range(ROUNDS)])
    return [
        Result(
            name="scale", value=median(two), unit="events/s", against=f"one process: {median(one):.0f}/s", ratio=median(two) / median(one)
        ),
        Result(name="hand-over", value=taken, unit="s", against="wanted at most 3 s after a kill", ratio=3 / taken),
    ]


if __name__ == "__main__":
    if sys.argv[1:2] == ["member"]:
        uvloop.run(_work(sys.argv[2]))
    else:
        main(run)
