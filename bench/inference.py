"""`inference`: what a player feels of the tiers, and what the bus costs them. Timed engine of known speed, in the worker's own process.

A player script asks at Poisson or bursty moments; every offered request counts, whatever became of it. One figure per line; `against` says
what it is measured against. Loads are shares of the engine's own capacity, slots over seconds per answer.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any, cast

from bench.harness import Result, main, nats
from bus.connection import Connection, connect
from bus.event import Draft
from bus.log import Log, open_log
from bus.publisher import Publisher, open_publisher
from bus.signals import signal
from handlers.names import WORLDS
from inference import ladder
from inference.engine import Prompt
from inference.engines.grammar import GrammarEngine
from inference.engines.timed import Pace, TimedEngine
from inference.outcome import ENDS
from inference.settings import WorkerSettings
from inference.worker import Worker, run_worker
from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceRequested
from schemas.gen.worldbus.inference.v1.types_pb2 import Fallback, PromptPart, TokensDelivered

LADDERS = ladder.load(WORLDS / "duskmarket" / "ladder.toml")
WORLD = "bench"
SLOTS, TOKENS = 8, 16
PACE = Pace(first=0.030, per_token=0.012)
SERVICE_S = PACE.first + (TOKENS - 1) * PACE.per_token
CAPACITY = SLOTS / SERVICE_S  # requests per second


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share does not exceed; 0 of nothing."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))] if ranked else 0.0


class Noting(TimedEngine):
    """Notes when it was called, and generates."""

    def __init__(self, pace: Pace, slots: int) -> None:
        super().__init__(pace, slots=slots)
        self.called: dict[str, float] = {}

    def generate(self, prompt: Prompt) -> Any:
        self.called.setdefault(prompt.id, time.perf_counter())
        return super().generate(prompt)


@dataclass(slots=True)
class Asked:
    """One request as its player sees it. Times are seconds of this process's clock."""

    at: float
    deadline: float
    player: str
    heard: float = 0.0
    ended: float = 0.0
    end: Any = None
    tokens: int = 0


@dataclass(slots=True)
class Players:
    """The load: asks, listens, keeps what became of every request."""

    publisher: Publisher
    asked: dict[str, Asked] = field(default_factory=dict)
    number: int = 0

    async def ask(
        self, run: str, player: str, *, tier: str = "gold", tokens: int = TOKENS, budget_ms: int = 1500, salience: float = 0.5
    ) -> str:
        self.number += 1
        name = f"{run}-{self.number}"
        request = InferenceRequested(
            request_id=name,
            tier=tier,
            kind="npc_line",
            prompt=[
                PromptPart(role="system", name="persona", text="You are Mira, who mends nets and hears everything. " * 4),
                PromptPart(role="user", name="words", text="What do they say at the quay?"),
            ],
            max_tokens=tokens,
            budget_ms=budget_ms,
            player=player,
            npc=f"npc-{self.number % 200}",
            salience=salience,
            seed=self.number,
            fallback=Fallback(lines=["Later, maybe."]),
        )
        now = time.perf_counter()
        self.asked[name] = Asked(now, now + budget_ms / 1000, player)
        future = self.publisher.submit(Draft(data=request, world=WORLD, entity=request.npc, subsystem="npc"))
        future.add_done_callback(lambda done: done.exception())
        return name

    def on_chunk(self, subject: bytes, reply: bytes, header: bytes | None, payload: bytes) -> None:
        chunk = TokensDelivered.FromString(payload)
        one = self.asked.get(chunk.request_id)
        if one is not None and chunk.text and not one.heard:
            one.heard = time.perf_counter()

    def on_end(self, subject: bytes, reply: bytes, header: bytes | None, payload: bytes) -> None:
        from bus.event import Event
        from bus.subjects import Subject

        tokens = subject.decode().split(".")
        if tokens[-1] not in ENDS:
            return
        event = Event(raw=payload, subject=Subject(*tokens[1:]), partition=0, position=0)
        data = cast(Any, event.data)
        one = self.asked.get(data.request_id)
        if one is not None and not one.ended:
            one.ended, one.end = time.perf_counter(), data

    async def all_ended(self, within_s: float) -> None:
        until = time.perf_counter() + within_s
        while time.perf_counter() < until and not all(one.ended for one in self.asked.values()):
            await asyncio.sleep(0.01)


def arrivals(rate: float, seconds: float, dice: random.Random, *, bursty: bool = False) -> Iterator[float]:
    """Moments of arrival: Poisson, or bursts of five at once with the same mean rate."""
    at = 0.0
    size = 5 if bursty else 1
    while True:
        at += dice.expovariate(rate / size)
        if at >= seconds:
            return
        for _ in range(size):
            yield at


@dataclass(slots=True)
class Stage:
    """A log, players, and where to run workers."""

    connection: Connection
    log: Log
    publisher: Publisher
    players: Players
    url: str

    @asynccontextmanager
    async def worker(self, engine: TimedEngine | None, tier: str = "gold", name: str = "w1") -> AsyncIterator[Worker]:
        grammar = GrammarEngine(slots=1024)
        settings = WorkerSettings(tier=tier, name=name, keep_warm_s=0, reopen_s=0.1)
        async with (
            grammar.open(),
            connect(self.url, name=f"bench-{name}") as connection,
        ):
            log = await open_log(connection)
            async with (
                open_publisher(connection, log, "relaxed") as publisher,
                run_worker(connection, log, publisher, LADDERS, settings, engine=engine, grammar=grammar) as worker,
            ):
                while engine is not None and not worker.up:
                    await asyncio.sleep(0.005)
                yield worker
            await log.aclose()

    async def play(self, run: str, rate: float, seconds: float, *, bursty: bool = False, player: str = "", **asking: Any) -> list[Asked]:
        """Offer a load of twenty players (or one); returns what became of it."""
        dice = random.Random(run)
        began = time.perf_counter()
        names = []
        for at in arrivals(rate, seconds, dice, bursty=bursty):
            pause = began + at - time.perf_counter()
            if pause > 0:
                await asyncio.sleep(pause)
            names.append(await self.players.ask(run, player or f"p{dice.randrange(20)}", **asking))
        await self.players.all_ended(6.0)
        return [self.players.asked[name] for name in names]


@asynccontextmanager
async def stage(*, strict: bool = False) -> AsyncIterator[Stage]:
    async with nats(strict=strict) as server, connect(server.url, name="bench-players") as connection:
        log = await open_log(connection)
        async with open_publisher(connection, log, "strict" if strict else "relaxed", monitors=[server.monitor_url]) as publisher:
            players = Players(publisher)
            heard = await connection.listen(f"sig.{WORLD}.tokens.*", players.on_chunk)
            ends = await connection.listen(f"evt.{WORLD}.inference.*.*", players.on_end)
            yield Stage(connection, log, publisher, players, server.url)
            await heard.close()
            await ends.close()
        await log.aclose()


def _result(name: str, value: float, unit: str, against: str, ratio: float | None = None) -> Result:
    return Result(name=name, value=value, unit=unit, against=against, ratio=ratio)


def _measured(one: Asked) -> str:
    """The engine that answered, if any was asked."""
    return "" if one.end is None or one.end.DESCRIPTOR.name == "InferenceRejected" else one.end.measured.engine


def _account(load: str, asked: Sequence[Asked], seconds: float) -> Iterator[Result]:
    """What became of one load, over everything that was offered."""
    offered = len(asked)
    in_time = sum(0 < one.heard <= one.deadline for one in asked)
    admitted = [one for one in asked if one.end is not None and _measured(one) == "timed"]
    attained = sum(one.end.DESCRIPTOR.name == "InferenceCompleted" or one.end.rung in ("shorter", "choice") for one in admitted)
    full = sum(one.end is not None and one.end.DESCRIPTOR.name == "InferenceCompleted" for one in asked)
    yield _result(f"{load}_speakable", in_time / offered, "of offered", "a chunk heard by the deadline; wanted 1")
    yield _result(
        f"{load}_admitted_ok", attained / max(1, len(admitted)), "of admitted", f"{len(admitted)} of {offered} admitted; wanted 0.99"
    )
    yield _result(f"{load}_full", full / offered, "of offered", "answered in full by the deadline")
    yield _result(f"{load}_goodput", full / seconds, "answers/s", f"capacity {CAPACITY:.1f}/s", full / seconds / CAPACITY)
    first = [one.heard - one.at for one in asked if one.heard]
    for share in (0.5, 0.95, 0.99):
        yield _result(f"{load}_heard_p{round(share * 100)}", percentile(first, share) * 1000, "ms", "request made to chunk heard")
    total = [one.ended - one.at for one in asked if one.ended]
    yield _result(f"{load}_total_p99", percentile(total, 0.99) * 1000, "ms", "request made to its end heard")
    rungs: dict[str, int] = {}
    for one in asked:
        rung = "none" if one.end is None else getattr(one.end, "rung", "") or one.end.DESCRIPTOR.name
        rungs[rung] = rungs.get(rung, 0) + 1
    for rung, count in sorted(rungs.items()):
        yield _result(f"{load}_rung_{rung}", count / offered, "of offered", "rung that answered")


async def tax(scale: float) -> list[Result]:
    """Published to engine called at 200 requests/s, per chunk, and CPU per request; the engine takes no time of its own."""
    results = []
    for strict in (False, True):
        label = "strict" if strict else "relaxed"
        async with stage(strict=strict) as on:
            engine = Noting(Pace(first=0.0, per_token=1e-4), slots=64)
            async with on.worker(engine):
                await on.play(f"warm-{label}", 50, 0.5)
                cpu, count = time.process_time(), len(on.players.asked)
                asked = await on.play(f"tax-{label}", 200, 5 * scale + 0.5)
                cpu = time.process_time() - cpu
                names = list(on.players.asked)[count:]
                waits = [engine.called[name] - on.players.asked[name].at for name in names if name in engine.called]
                results += [
                    _result(f"tax_{label}_p50", percentile(waits, 0.5) * 1000, "ms", "published to engine called, 200/s; wanted 2"),
                    _result(f"tax_{label}_p99", percentile(waits, 0.99) * 1000, "ms", "wanted 15"),
                    _result(
                        f"cpu_{label}", cpu / max(1, len(asked)) * 1000, "ms/request", "players, worker and engine, 16 tokens; wanted 2"
                    ),
                ]
                chunks = await _chunk_cost(on)
                results.append(_result(f"chunk_{label}", median(chunks) * 1000, "ms", "chunk said to chunk heard, p50; wanted 1"))
    return results


async def _chunk_cost(on: Stage) -> list[float]:
    from inference.delivery import Delivery

    delivery = Delivery(on.connection)
    await delivery.open()
    costs = []
    heard: asyncio.Queue[float] = asyncio.Queue()
    listener = await on.connection.listen("sig.chunks.tokens.*", lambda *_: heard.put_nowait(time.perf_counter()))
    position = 0
    for sequence in range(200):
        began = time.perf_counter()
        stored = delivery.speak("chunks", TokensDelivered(request_id="c", sequence=sequence, text="Yes. "), position)
        costs.append(await heard.get() - began)
        position = await stored
    await listener.close()
    await delivery.aclose()
    return costs


async def loads(scale: float) -> list[Result]:
    """Shares of the engine's capacity, Poisson and once bursty."""
    results: list[Result] = []
    seconds = max(3.0, 10 * scale)
    for name, share, bursty in (
        ("0.5x", 0.5, False),
        ("1x", 1.0, False),
        ("1x_bursty", 1.0, True),
        ("1.5x", 1.5, False),
        ("3x", 3.0, False),
    ):
        async with stage() as on, on.worker(TimedEngine(PACE, slots=SLOTS)):
            await on.play("warm", CAPACITY / 2, 0.7)
            asked = await on.play(f"load-{round(share * 10)}", share * CAPACITY, seconds, bursty=bursty)
            results += _account(f"load_{name}", asked, seconds)
    return results


async def ramp(scale: float) -> list[Result]:
    """The highest offered rate at which 99 of 100 offered requests are answered in full; players per GPU follow from their script."""
    best = 0.0
    seconds = max(3.0, 8 * scale)
    async with stage() as on, on.worker(TimedEngine(PACE, slots=SLOTS)):
        await on.play("warm", CAPACITY / 2, 0.7)
        for step in range(4, 11):
            rate = step / 10 * CAPACITY
            asked = await on.play(f"ramp-{step}", rate, seconds)
            full = sum(one.end is not None and one.end.DESCRIPTOR.name == "InferenceCompleted" for one in asked)
            if full < 0.99 * len(asked):
                break
            best = rate
    per_player = 1 / 12  # one line each 12 seconds: the declared script
    return [
        _result("rate_at_99", best, "requests/s", f"capacity {CAPACITY:.1f}/s; Poisson, {TOKENS} tokens, deadline 1.5 s", best / CAPACITY),
        _result("players_per_gpu", best / per_player, "players", "one line each 12 s; timed engine, so the engine's speed is given"),
    ]


async def neighbours(scale: float) -> list[Result]:
    """One player asking a hundred times as often, and Bronze at full load beside Gold: how far others' 99th percentile moves."""
    seconds = max(4.0, 10 * scale)
    results = []
    async with stage() as on:
        async with on.worker(TimedEngine(PACE, slots=SLOTS)):
            await on.play("warm", CAPACITY / 2, 0.7)
            calm = await on.play("calm", 8, seconds)
            others, _ = await asyncio.gather(on.play("calm", 8, seconds), on.play("noise", 40, seconds, player="noisy"))
            results.append(_moved("noisy_neighbour", calm, others, "one player asks 100 times as often as each of 20"))
        async with on.worker(TimedEngine(PACE, slots=SLOTS)), on.worker(TimedEngine(PACE, slots=SLOTS), "bronze", "b1"):
            await on.play("warm2", CAPACITY / 2, 0.7)
            calm = await on.play("quiet", 8, seconds)
            bronze = on.play("bronze", CAPACITY, seconds, tier="bronze", budget_ms=60_000)
            gold, _ = await asyncio.gather(on.play("quiet", 8, seconds), bronze)
            results.append(_moved("bronze_beside", calm, gold, "Bronze at full load in the same process"))
    return results


def _moved(name: str, before: Sequence[Asked], after: Sequence[Asked], against: str) -> Result:
    p99 = [percentile([one.ended - one.at for one in asked if one.ended], 0.99) for asked in (before, after)]
    return _result(name, p99[1] * 1000, "ms p99", f"{against}; alone {p99[0] * 1000:.1f} ms; wanted at most 1.1x", p99[1] / p99[0])


async def urgent(scale: float) -> list[Result]:
    """A salient request behind a full batch of background work, and how soon a cancel stops the engine."""
    waits, stops = [], []
    async with stage() as on:
        engine = Noting(Pace(first=0.0, per_token=0.012), slots=SLOTS)
        async with on.worker(engine) as worker:
            for number in range(max(5, round(40 * scale))):
                for _ in range(SLOTS):
                    await on.players.ask("background", "bg", tokens=400, budget_ms=60_000, salience=0.05)
                while len(worker.running) < SLOTS:
                    await asyncio.sleep(0.002)
                await asyncio.sleep(0.03)
                name = await on.players.ask(f"urgent{number}", "vip", tokens=4, salience=1.0)
                while name not in engine.called:
                    await asyncio.sleep(0.0005)
                waits.append(engine.called[name] - on.players.asked[name].at)
                for work in list(worker.held.values()):
                    signal(on.connection, f"sig.{WORLD}.cancel.{work.ask.id}")
                while worker.held:
                    await asyncio.sleep(0.002)
            counts = worker.metrics.times["stop"]
            stops = [counts.total / max(1, sum(counts.counts))]
    return [
        _result(
            "urgent_p50", percentile(waits, 0.5) * 1000, "ms", "published to engine called behind a full batch; wanted one step (12 ms) + 5"
        ),
        _result(
            "urgent_p99",
            percentile(waits, 0.99) * 1000,
            "ms",
            "plain vLLM with priorities: 1720 ms",
            1720 / (percentile(waits, 0.99) * 1000),
        ),
        _result("stop_mean", stops[0] * 1000, "ms", "stop to engine stopped; wanted 30"),
    ]


async def saturation(scale: float) -> list[Result]:
    """Tokens per second through the bus at saturation, against calling the same engine directly with the same inputs."""
    count = round(160 * max(scale, 0.2))
    through, tokens = 0.0, 0
    async with stage() as on:
        engine = TimedEngine(PACE, slots=SLOTS)
        async with on.worker(engine):
            began = time.perf_counter()
            for number in range(count):
                await on.players.ask("full", f"p{number % 20}", budget_ms=60_000)
                if number > SLOTS + 40:
                    while sum(not one.ended for one in on.players.asked.values()) > SLOTS + 40:
                        await asyncio.sleep(0.005)
            await on.players.all_ended(60)
            through, tokens = time.perf_counter() - began, engine.tokens
    direct = TimedEngine(PACE, slots=SLOTS)
    gate = asyncio.Semaphore(SLOTS)

    async def call(number: int) -> None:
        from inference.engine import Part, answer

        async with gate:
            await answer(direct, Prompt(parts=(Part("user", "What do they say?"),), max_tokens=TOKENS, seed=number))

    async with direct.open():
        began = time.perf_counter()
        await asyncio.gather(*(call(number) for number in range(count)))
        alone = time.perf_counter() - began
    rate, against = tokens / through, direct.tokens / alone
    return [_result("saturation", rate, "tokens/s", f"the engine called directly: {against:.0f}; wanted 0.97x", rate / against)]


async def dead(scale: float) -> list[Result]:
    """Every engine dead: the ladder answers."""
    async with stage() as on, on.worker(None, name="ladder"):
        asked = await on.play("dead", 100, max(2.0, 5 * scale))
        in_time = sum(0 < one.heard <= one.deadline for one in asked)
        heard = [one.heard - one.at for one in asked if one.heard]
    return [
        _result("dead_speakable", in_time / len(asked), "of offered", "no engine alive, 100/s; wanted 1"),
        _result("dead_heard_p99", percentile(heard, 0.99) * 1000, "ms", "request made to line heard"),
    ]


PARTS = {"tax": tax, "urgent": urgent, "dead": dead, "saturation": saturation, "neighbours": neighbours, "ramp": ramp, "loads": loads}


async def run(scale: float) -> list[Result]:
    """Every part; `WORLDBUS_BENCH_PARTS` names some of them."""
    wanted = os.environ.get("WORLDBUS_BENCH_PARTS", ",".join(PARTS)).split(",")
    return [result for name in wanted for result in await PARTS[name](scale)]


if __name__ == "__main__":
    main(run)
