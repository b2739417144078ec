"""The time without an answer from a killed member's partitions: the delay from an input's place in the log to that of its first answer.

Two members share the partitions; one is killed and stays away for a while. Every input recorded meanwhile is looked up in the log
afterwards; the slowest answer of each kill is the time of its hand-over, by the server's clock alone. It may take `LIMIT_S` longer than the
slowest answer in the seconds before the kill, when both members were there: what a busy machine takes anyway is no hand-over.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.chaos.cluster import Cluster
from bench.chaos.history import History, Violation, id_of
from bench.chaos.kills import Watcher, folder, judge, settle
from bench.chaos.load import Mix
from bench.chaos.nemesis import Nemesis
from bench.duskmarket import ALL
from bus.connection import connect
from bus.log import open_log
from worldbus.lag import consumers

LIMIT_S = 3.0
BACKLOG = 40  # events under way that are no backlog
AWAY_S = 5.0  # how long a killed member stays away
STEADY_S = 4.0  # how long both work before the next kill
STEADY_MOST_S = 30.0
LOAD = Mix(walk=12, keep=6, duel=1, pause_s=0.25)  # every partition has inputs, and nobody is behind: a backlog is no hand-over


@dataclass(frozen=True, slots=True, kw_only=True)
class Handovers:
    """The slowest answer of each kill, in seconds, and the slowest one before it."""

    seed: int
    seconds: Sequence[float]
    before: Sequence[float] = ()
    violations: tuple[Violation, ...] = ()

    @property
    def worst_s(self) -> float:
        return max(self.seconds, default=0.0)


async def run(kills: int, seed: int, *, tell: Callable[[str], None] = lambda _: None) -> Handovers:
    """Kill a member so many times."""
    dice = random.Random(f"handovers/{seed}")
    async with folder() as path:
        cluster = Cluster(path, seed, "strict", mix=LOAD, writers=1, skews_s=(0.0,))
        try:
            await cluster.open()
            moments = []
            for _ in range(kills):
                await asyncio.sleep(STEADY_S)
                await _steady(cluster)
                victim = dice.choice(cluster.of("handlers"))
                victim.wanted = False
                moments.append(time.time_ns())
                await cluster.kill(victim)
                await asyncio.sleep(AWAY_S)
                victim.wanted = True
            await settle(cluster)
            outcome = await judge(cluster, Nemesis(cluster, seed), Watcher(cluster), 0.0, 0.0)
            async with connect(cluster.nats.url, name="handovers") as connection:
                log = await open_log(connection)
                history = History([event async for batch in log.read() for event in batch])
        finally:
            await cluster.aclose()
    seconds = [slowest(history, moment, moment + int(AWAY_S * 1e9)) for moment in moments]
    before = [slowest(history, moment - int(STEADY_S * 1e9), moment) for moment in moments]
    tell(f"{kills} hand-overs: slowest answers {', '.join(f'{one:.2f} s' for one in seconds)}")
    return Handovers(seed=seed, seconds=seconds, before=before, violations=(*outcome.violations, *verdict(seconds, before)))


def verdict(seconds: Sequence[float], before: Sequence[float]) -> list[Violation]:
    """H3. A killed member's partitions are answered for soon."""
    return [
        Violation("H3", f"hand-over {number}: the slowest answer took {after:.2f} s, wanted at most {usual + LIMIT_S:.2f} s")
        for number, (after, usual) in enumerate(zip(seconds, before, strict=True), start=1)
        if after > usual + LIMIT_S
    ]


async def _steady(cluster: Cluster) -> None:
    """Wait until the members keep up with the load: what they owe from starting is no hand-over. A slow machine goes on anyway."""
    async with connect(cluster.nats.url, name="steady") as connection:
        log, until = await open_log(connection), time.monotonic() + STEADY_MOST_S
        while sum(one.behind for one in await consumers(log, ALL)) > BACKLOG and time.monotonic() < until:
            await asyncio.sleep(0.2)


def slowest(history: History, begin_ns: int, end_ns: int) -> float:
    """The longest time in seconds between an input of that span and its first answer, by the server's clock."""
    answered: dict[int, int] = {}
    for event in history.events:
        if id_of(event) and (mark := event.lane) is not None:
            answered.setdefault(mark.position, event.recorded_ns)
    delays = [
        answered[event.position] - event.recorded_ns
        for event in history.events
        if begin_ns <= event.recorded_ns <= end_ns and event.position in answered
    ]
    return max(delays, default=0) / 1e9
