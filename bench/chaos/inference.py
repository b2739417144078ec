"""Killing workers of inference while they speak: each request ends once, no chunk is spoken twice, none is lost.

A player asks without a pause; two workers with a timed engine share the queue; one of them is killed with SIGKILL again and again and
started anew. As beside the handlers of a world, a ladder and its guardian run in this process, which nobody kills. Some requests have less
time than the queue needs to notice a death. Everything is read back from the log and from what a listener heard.

    python -m bench.chaos.inference [kills]
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from bench.duskmarket import FOLDER, GRAMMARS
from bench.harness import nats
from bus.connection import Connection, connect
from bus.event import Draft
from bus.log import Log, open_log
from bus.publisher import Publisher, open_publisher
from inference import ladder
from inference.delivery import ensure
from inference.engines.grammar import GrammarEngine
from inference.guardian import run_guardian
from inference.outcome import ENDS
from inference.settings import WorkerSettings
from inference.vitals import Vitals
from inference.worker import Worker, run_worker
from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceExpired, InferenceRequested
from schemas.gen.worldbus.inference.v1.types_pb2 import Fallback, PromptPart, TokensDelivered

WORLD: Final = "chaos"
RATE: Final = 25.0
TICK_S: Final = 0.005
STALL_S: Final = 0.02
LAST_NS: Final = 100_000_000
ENTITIES: Final = 7
BUDGETS_MS: Final = (300, 700, 1500, 4000)
WORKER: Final = "bench.chaos.inference_worker"


@dataclass(slots=True)
class Found:
    """The outcome of a run. `violations` is empty when every promise was kept."""

    kills: int = 0
    kills_while_speaking: int = 0
    asked: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    attempts: Counter[int] = field(default_factory=Counter)
    stalls: int = 0
    """The number of times that this process, in which the ladder runs, stood still for longer than the ladder keeps in reserve."""
    expired_in_stalls: int = 0
    guarded: int = 0
    """Answered by the guardian in place of a lost worker."""
    violations: list[str] = field(default_factory=list)


async def run(kills: int, seed: int) -> Found:
    """Kill `kills` times, then let everything end, then check."""
    found, dice = Found(), random.Random(seed)
    async with nats(strict=False) as server, connect(server.url, name="chaos-player") as connection:
        log = await open_log(connection)
        await ensure(connection)
        heard: dict[str, list[TokensDelivered]] = defaultdict(list)

        def on_chunk(subject: bytes, reply: bytes, header: bytes | None, payload: bytes) -> None:
            chunk = TokensDelivered.FromString(payload)
            heard[chunk.request_id].append(chunk)

        await connection.listen(f"sig.{WORLD}.tokens.*", on_chunk)
        async with open_publisher(connection, log, "relaxed") as publisher, _ladder(connection, log, publisher) as ladder_worker:
            stop, stalls = asyncio.Event(), list[tuple[int, int]]()
            watching = asyncio.create_task(_watch(stalls))
            asking = asyncio.create_task(_ask(publisher, stop, dice))
            await _kill_workers(server.url, kills, dice, found, heard)
            stop.set()
            asked = await asking
            await _settle(server.url, log, asked)
            found.guarded = ladder_worker.metrics.counts["guarded"]
        await asyncio.sleep(0.2)
        watching.cancel()
        found.asked, found.stalls = len(asked), len(stalls)
        await _check(log, asked, heard, found, stalls)
        await log.aclose()
    return found


@asynccontextmanager
async def _ladder(connection: Connection, log: Log, publisher: Publisher) -> AsyncIterator[Worker]:
    """The ladder that runs beside the handlers."""
    ladders, grammar, vitals = ladder.load(FOLDER / "ladder.toml"), GrammarEngine(GRAMMARS), Vitals(connection)
    settings = WorkerSettings(tier="gold", name="ladder")
    await vitals.open()
    async with (
        grammar.open(),
        run_worker(connection, log, publisher, ladders, settings, grammar=grammar, vitals=vitals) as worker,
        run_guardian(connection, log, ladders, {"gold": worker}, vitals),
    ):
        yield worker
    await vitals.aclose()


async def _ask(publisher: Any, stop: asyncio.Event, dice: random.Random) -> list[str]:
    asked: list[str] = []
    while not stop.is_set():
        name = f"r{len(asked)}"
        request = InferenceRequested(
            request_id=name,
            tier="gold",
            kind="npc_line",
            prompt=[PromptPart(role="user", name="words", text="What do they say?")],
            max_tokens=40,
            budget_ms=dice.choice(BUDGETS_MS),
            player=f"p{dice.randrange(5)}",
            salience=0.5,
            seed=len(asked),
            fallback=Fallback(lines=["Later, maybe."]),
        )
        asked.append(name)
        await publisher.publish(Draft(data=request, world=WORLD, entity=f"n{len(asked) % ENTITIES}", subsystem="npc"))
        await asyncio.sleep(dice.expovariate(RATE))
    return asked


async def _watch(stalls: list[tuple[int, int]]) -> None:
    """The times at which this process stood still, as (from, to) of the wall clock."""
    while True:
        before = time.time_ns()
        await asyncio.sleep(TICK_S)
        now = time.time_ns()
        if now - before > (TICK_S + STALL_S) * 1e9:
            stalls.append((before, now))


async def _start(url: str, name: str) -> asyncio.subprocess.Process:
    root = str(Path(__file__).parents[2])
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", WORKER, url, name), cwd=root, stdout=asyncio.subprocess.PIPE, env=os.environ | {"PYTHONPATH": root}
    )
    assert process.stdout is not None
    await process.stdout.readline()  # it says that it is up
    return process


async def _kill_workers(url: str, kills: int, dice: random.Random, found: Found, heard: dict[str, list[TokensDelivered]]) -> None:
    workers = [await _start(url, "w0"), await _start(url, "w1")]
    for number in range(kills):
        await asyncio.sleep(dice.uniform(0.1, 0.5))
        which = number % 2
        speaking = any(chunks and not chunks[-1].last for chunks in heard.values())
        workers[which].send_signal(signal.SIGKILL)
        await workers[which].wait()
        found.kills += 1
        found.kills_while_speaking += speaking
        workers[which] = await _start(url, f"w{number + 2}")
    for worker in workers:
        worker.send_signal(signal.SIGTERM)
    await asyncio.gather(*(worker.wait() for worker in workers))


async def _settle(url: str, log: Log, asked: list[str]) -> None:
    """One last worker finishes what the dead have left; a bound on waiting, not a promise about time."""
    worker = await _start(url, "last")
    try:
        for _ in range(600):
            if len(await _ends(log)) >= len(asked):
                return
            await asyncio.sleep(0.1)
    finally:
        worker.send_signal(signal.SIGTERM)
        await worker.wait()


async def _ends(log: Log) -> list[Any]:
    ends = []
    async for events in log.read():
        ends += [event for event in events if event.subsystem == "inference" and event.name in ENDS]
    return ends


async def _excused(log: Log, stalls: list[tuple[int, int]]) -> set[str]:
    """Requests whose last moments fell into a stall: nobody was there to answer."""
    names = set()
    async for events in log.read():
        for event in (event for event in events if event.name == "InferenceRequested"):
            request = cast(InferenceRequested, event.data)
            deadline = event.recorded_ns + request.budget_ms * 1_000_000
            if any(start < deadline and deadline - LAST_NS < end for start, end in stalls):
                names.add(request.request_id)
    return names


async def _check(log: Log, asked: list[str], heard: dict[str, list[TokensDelivered]], found: Found, stalls: list[tuple[int, int]]) -> None:
    ends = await _ends(log)
    excused = await _excused(log, stalls)
    late = {cast(Any, event.data).request_id for event in ends if event.name == "InferenceExpired"}
    found.expired_in_stalls = len(late & excused)
    by_id = Counter(cast(Any, event.data).request_id for event in ends)
    found.ends = Counter(event.name for event in ends)
    found.attempts = Counter(getattr(event.data, "attempt", 0) for event in ends)
    answers = {cast(Any, event.data).request_id: event.data for event in ends}
    found.violations += check(asked, by_id, answers, heard, excused)


def check(
    asked: list[str],
    ends: Counter[str],
    answers: dict[str, Any],
    heard: dict[str, list[TokensDelivered]],
    excused: AbstractSet[str] = frozenset(),
) -> list[str]:
    """Every broken promise, in words. Those who are `excused` may have expired; everything else holds for them too."""
    wrong = [f"{name} ended {ends[name]} times, wanted once" for name in asked if ends[name] != 1]
    late = {name: answer for name, answer in answers.items() if isinstance(answer, InferenceExpired) and name not in excused}
    wrong += [f"{name} expired at {answer.stage}, {answer.late_ms} ms late, wanted an answer in time" for name, answer in late.items()]
    for name, chunks in heard.items():
        numbers = [chunk.sequence for chunk in chunks]
        if numbers != list(range(len(numbers))):
            wrong.append(f"{name} was spoken as {numbers}, wanted each number once and in order")
        attempts = [chunk.attempt for chunk in chunks]
        if attempts != sorted(attempts):
            wrong.append(f"{name} was spoken by the attempts {attempts}: an older one after a newer one")
        answer = answers.get(name)
        said = "".join(chunk.text for chunk in chunks)
        recorded = getattr(answer, "spoken", "") or getattr(answer, "text", "")
        if answer is not None and said != recorded:
            wrong.append(f"{name} was heard as {said!r}, recorded as {recorded!r}")
    return wrong


if __name__ == "__main__":
    import uvloop

    outcome = uvloop.run(run(int(sys.argv[1]) if len(sys.argv) > 1 else 60, seed=1))
    print(outcome)
    sys.exit(1 if outcome.violations else 0)
