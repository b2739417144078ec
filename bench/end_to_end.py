"""`end-to-end`: publish → handle → publish → project into archive, view and checkpoint; producer, handler and projector are a process each.

Against two peers that do the same work on the same servers: FastStream with asyncpg, one transaction per event, and the same path
written by hand without a framework or promises (bench/peers/by_hand.py), which is about what Python can do at all.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import asyncpg
import uvloop

from bench.harness import Result, main, nats, postgres
from bench.toy import NAME, move, mover, moves
from bus.connection import connect
from bus.durability import Durability
from bus.event import Event
from bus.log import open_log
from bus.publisher import open_publisher
from bus.runtime import run_handlers
from migrations import migrate
from projections import Change, Projection, Projector, Table
from projections.checkpoints import CHANNEL
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerEnteredZone

ENTITIES = 1000
ROUNDS = 3
RATE = 200  # events/s of the latency runs

PLACES = Table("places", key=("world", "player"))


def _entered(event: Event, it: PlayerEnteredZone) -> Change:
    return PLACES.put(event.world, event.entity, zone=it.zone, x=it.x, y=it.y, z=it.z, moves=it.session)


places = Projection(
    name="places",
    version=1,
    said_by=NAME,
    tables=(PLACES,),
    on={PlayerEnteredZone: _entered},
    schema="""
    CREATE TABLE places (
        world text, player text, zone text, x double precision, y double precision, z double precision, moves bigint, position bigint,
        PRIMARY KEY (world, player)
    );
    """,
)


@dataclass(frozen=True, slots=True)
class Job:
    """The instructions for every role."""

    nats: str
    dsn: str
    count: int
    rate: int = 0  # 0: as fast as it goes
    monitor: str = ""  # given: the server is strict, and proves it there


# -- our roles ------------------------------------------------------------------------------------------------------------------------


async def produce(job: Job) -> None:
    """Publish the moves, all at once or at a steady rate (each its own publish, as a game would)."""
    async with connect(job.nats, name="bench-producer") as connection:
        log = await open_log(connection)
        durability: Durability = "strict" if job.monitor else "relaxed"
        async with open_publisher(connection, log, durability, monitors=[job.monitor] if job.monitor else []) as publisher:
            if not job.rate:
                await publisher.publish_many(moves(job.count, ENTITIES))
                return
            waiting = []
            began = time.perf_counter()
            for number in range(job.count):
                waiting.append(publisher.submit(move(number, ENTITIES)))
                await asyncio.sleep(max(0.0, began + (number + 1) / job.rate - time.perf_counter()))
            await asyncio.gather(*waiting)


async def handle(job: Job) -> None:
    """Run the handler until it has answered every move."""
    async with connect(job.nats, name="bench-handler") as connection:
        log = await open_log(connection)
        async with run_handlers(connection, log, [mover]) as runtime:
            while runtime.runners[NAME].tally.emitted < job.count:
                await asyncio.sleep(0.01)


async def project(job: Job) -> None:
    """Run the projector; it never ends by itself."""
    async with connect(job.nats, name="bench-projector") as connection:
        await Projector(job.dsn, [places]).run(await open_log(connection))


ROLES: dict[str, Callable[[Job], Awaitable[None]]] = {"producer": produce, "handler": handle, "projector": project}


# -- the run --------------------------------------------------------------------------------------------------------------------------


async def _start(module: str, role: str, job: Job) -> asyncio.subprocess.Process:
    text = json.dumps({name: getattr(job, name) for name in Job.__slots__})
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        role,
        text,
        stdout=asyncio.subprocess.PIPE,
        stdin=asyncio.subprocess.PIPE,
        env=os.environ | {"WORLDBUS_LOG": "json"},
    )
    assert process.stdout is not None
    ready = await process.stdout.readline()
    assert ready == b"ready\n", f"{module} {role} did not start"
    return process


async def _measure(module: str, count: int, *, rate: int = 0, strict: bool = False) -> tuple[float, list[float]]:
    """(inputs per second from the first publish to the last commit, milliseconds from publish to commit of each answer)."""
    async with nats(strict=strict) as server, postgres() as database:
        await asyncio.to_thread(migrate, database.dsn)
        job = Job(server.url, database.dsn, count, rate, server.monitor_url if strict else "")
        async with connect(server.url, name="bench-log") as connection:
            await (await open_log(connection)).aclose()
        watcher = await asyncpg.connect(database.dsn)
        commits: list[tuple[int, float]] = []  # (position, when a reader heard of it)
        await watcher.add_listener(CHANNEL, lambda *said: commits.append((int(said[3]), time.time())))
        processes = [await _start(module, role, job) for role in ("projector", "handler", "producer")]
        try:
            for process in processes:
                assert process.stdin is not None
                process.stdin.write(b"go\n")
                if process is not processes[-1]:
                    await asyncio.sleep(0.5)  # handler and projector are at work before the first event
            began = time.perf_counter()
            await _until(watcher, 2 * count)
            return count / (time.perf_counter() - began), await _latencies(watcher, commits) if rate else []
        finally:
            for process in processes:
                if process.returncode is None:
                    process.kill()
                await process.wait()
            await watcher.close()


async def _until(watcher: Any, position: int) -> None:
    deadline = time.monotonic() + 240
    while await watcher.fetchval("SELECT position FROM worldbus.checkpoint") < position:
        assert time.monotonic() < deadline, "the peers did not come to an end"
        await asyncio.sleep(0.02)


async def _latencies(watcher: Any, commits: list[tuple[int, float]]) -> list[float]:
    """Milliseconds from the publish of an input (its answer carries that time) until a reader was told that the answer is in the tables."""
    await asyncio.sleep(0.2)
    rows = await watcher.fetch(
        "SELECT position, extract(epoch FROM time)::float8 AS said FROM worldbus.events WHERE subsystem = $1 ORDER BY position", NAME
    )
    told, latencies = iter(commits), []
    reached, when = next(told)
    for row in rows:
        while reached < row["position"]:
            reached, when = next(told)
        latencies.append((when - row["said"]) * 1000)
    return latencies[RATE // 4 :]  # the first moments warm up


def _at(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


async def run(scale: float = 1.0) -> list[Result]:
    """Throughput of ours and both peers in turn; latency of ours at 200 events/s, relaxed and strict."""
    count = int(20_000 * scale)
    sides = {"ours": ("bench.end_to_end", count), "by hand": ("bench.peers.by_hand", count)}
    sides["faststream + asyncpg"] = ("bench.peers.faststream_chain", max(300, count // 20))
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(ROUNDS):
        for name, (module, number) in sides.items():
            rates[name].append((await _measure(module, number))[0])
    mine = median(rates["ours"])
    results = [
        Result(name="end-to-end", value=mine, unit="events/s", against=f"{peer}: {median(found):.0f}/s", ratio=mine / median(found))
        for peer, found in rates.items()
        if peer != "ours"
    ]
    for strict in (False, True):
        _, latencies = await _measure("bench.end_to_end", max(600, int(2000 * scale)), rate=RATE, strict=strict)
        word = "strict" if strict else "relaxed"
        for share, limit in ((0.5, 8 if strict else 5), (0.99, 25)):
            value = _at(latencies, share)
            name = f"latency-{word}-p{share * 100:.0f}"
            results.append(Result(name=name, value=value, unit="ms", against=f"wanted at most {limit} ms at {RATE}/s", ratio=limit / value))
    return results


def role_main(roles: dict[str, Callable[[Job], Awaitable[None]]]) -> None:
    """A role as a process: say that it is ready, wait for the word, work."""
    role, job = roles[sys.argv[1]], Job(**json.loads(sys.argv[2]))
    print("ready", flush=True)
    sys.stdin.readline()
    uvloop.run(role(job))  # type: ignore[arg-type]


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] in ROLES:
        role_main(ROLES)
    else:
        main(run)
