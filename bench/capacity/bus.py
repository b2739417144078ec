"""Concurrent players that the bus carries on this machine: bots at their stated rates on a server of this run's own.

The server is `worldbus up` in a process of its own, with embedded servers, strict as it comes: every handler, the projector, the clock, and
the ladder that answers lines without a model. The bots (`worlds/duskmarket/bots.toml`) publish from this process. Players come in steps;
each is held for a while, and the first that breaks a limit ends the climb. Times begin when a bot was due to speak, not when it came to it.
"""

from __future__ import annotations

import asyncio
import heapq
import random
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.capacity.machine import cpu_s
from bench.duskmarket import ALL, content
from bench.harness import folder
from bench.load.account import percentile
from bus.durability import Durability
from bus.event import Event
from projections.store import connected
from worldbus.demo.witness import Witness
from worldbus.lag import consumers
from worldbus.opening import World, open_world
from worldbus.settings import Settings
from worlds.duskmarket.bots.players import Player, zones
from worlds.duskmarket.bots.seen import Seen
from worlds.duskmarket.bots.studio import Studio

EFFECT_MS: Final = 250.0  # from a bot's due moment to the first answer in the log, 99 of 100
TABLES_MS: Final = 1000.0  # to the commit that shows the event in SQL, 99 of 100
LATE_MS: Final = 100.0  # of the bots themselves, 99 of 100: beyond, this process is what is measured
BEHIND_S: Final = 2.0  # of events that handlers or tables had not done when a step ended
ASKING_S: Final = 0.7  # how long it takes to hear who is behind
SEED: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One number of players, held for a while. Rates a second, times in milliseconds at the 99th of 100."""

    players: int
    seconds: float
    published: float
    recorded: float
    ack_p99: float
    effect_p50: float
    effect_p99: float
    tables_p99: float
    late_p99: float
    behind: int
    cpu: dict[str, float]
    """Cores that were busy, by program."""

    def broken(self) -> str:
        """The first limit that it breaks, in words; empty: it holds."""
        if self.late_p99 > LATE_MS:
            return f"the bots themselves were {self.late_p99:.0f} ms late (p99, limit {LATE_MS:.0f}): this process has no time for more"
        if self.effect_p99 > EFFECT_MS:
            return f"publish to effect p99 {self.effect_p99:.0f} ms, limit {EFFECT_MS:.0f}"
        if self.tables_p99 > TABLES_MS:
            return f"publish to tables p99 {self.tables_p99:.0f} ms, limit {TABLES_MS:.0f}"
        if self.behind > BEHIND_S * self.recorded:
            return f"{self.behind} events behind when the step ended, limit {BEHIND_S:g} s of them"
        return ""


@dataclass(slots=True)
class Books:
    """The times at which each event was due, acknowledged, answered. Nanoseconds since 1970; the server's clock is this machine's."""

    due: dict[str, int] = field(default_factory=dict)
    at: dict[int, int] = field(default_factory=dict)
    """Position → when the event there was due."""
    answered: dict[int, int] = field(default_factory=dict)
    """Position → when its first answer was recorded."""
    acks: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    events: int = 0

    def take(self, event: Event) -> None:
        """Read one event of the log."""
        self.events += 1
        mark = event.lane
        if mark is None:
            if (due := self.due.pop(event.id, None)) is not None:
                self.at[event.position] = due
        elif mark.position in self.at:
            self.answered.setdefault(mark.position, event.recorded_ns)

    def clear(self) -> None:
        """Begin anew; what is under way still counts when it comes."""
        for kept in (self.at, self.answered, self.acks, self.late):
            kept.clear()
        self.events = 0


@asynccontextmanager
async def _server(data: Path, durability: Durability) -> AsyncIterator[int]:
    """`worldbus up` on a folder, once it is up; its process id."""
    with (data / "up.log").open("wb") as said:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            "from worldbus.cli import main; main()",
            "up",
            "--data",
            str(data / "world"),
            "--durability",
            durability,
            stdout=said,
            stderr=said,
        )
        try:
            until = time.monotonic() + 120
            while b"is up" not in (data / "up.log").read_bytes():
                if process.returncode is not None or time.monotonic() > until:
                    raise RuntimeError(f"`worldbus up` did not come up: {(data / 'up.log').read_text()[-2000:]}")
                await asyncio.sleep(0.1)
            yield process.pid
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


class Crowd:
    """The bots of one run. Players join once, and stay for all steps that follow."""

    def __init__(self, world: World, witness: Witness, pid: int) -> None:
        self.world, self.witness, self.pid = world, witness, pid
        self.seen, self.books = Seen(content), Books()
        self._dice = random.Random(SEED)
        self._players: list[Player] = []
        self._calls: list[tuple[float, int]] = []  # a heap of (due, number of the player)

    async def watch(self) -> None:
        """See what the world says, until cancelled."""
        name, start = self.world.settings.world, (await self.world.log.state()).last
        async for events in self.world.log.read(after=start, follow=True):
            for event in events:
                self.books.take(event)
            self.seen.take_all(events, name)

    async def step(self, players: int, seconds: float) -> Step:
        """Hold so many players for so long, and judge the last two thirds of it: in the first, the new ones join."""
        begin = time.time()
        for number in range(len(self._players) + 1, players + 1):
            self._players.append(Player.of(self.world.settings.world, SEED, number, self.seen))
            heapq.heappush(self._calls, (begin + self._dice.uniform(0, seconds / 3), number - 1))
        await self._play(begin + seconds / 3, players)
        self.books.clear()
        cpu, own, measured_from = cpu_s(self.pid), time.process_time(), time.time()
        await self._play(begin + seconds, players)
        took = time.time() - measured_from
        published, recorded = len(self.books.late) / took, self.books.events / took
        spent = {name: round((busy - cpu.get(name, 0.0)) / took, 2) for name, busy in cpu_s(self.pid).items()}
        spent["bots"] = round((time.process_time() - own) / took, 2)
        asking = asyncio.create_task(self._behind(), name="behind")
        await self._play(time.time() + ASKING_S, players)  # nobody catches up meanwhile because the bots are silent
        behind = await asking
        await asyncio.sleep(0.5)  # what was said last is answered by then, or late anyway
        effects, tables = list(self._effects()), list(self._tables())
        return Step(
            players=players,
            seconds=took,
            published=published,
            recorded=recorded,
            ack_p99=percentile(self.books.acks, 0.99),
            effect_p50=percentile(effects, 0.5),
            effect_p99=percentile(effects, 0.99),
            tables_p99=percentile(tables, 0.99),
            late_p99=percentile(self.books.late, 0.99),
            behind=behind,
            cpu=spent,
        )

    async def rest(self, within_s: float = 60.0) -> None:
        """Say nothing until the world has caught up."""
        until = time.monotonic() + within_s
        while await self._behind() > 20 and time.monotonic() < until:
            await asyncio.sleep(0.2)
        now = time.time()
        late = max(0.0, now - self._calls[0][0]) if self._calls else 0.0
        self._calls = [(due + late, number) for due, number in self._calls]

    async def _play(self, until: float, players: int) -> None:
        """Let the first so many speak when they are due. The others are silent meanwhile, and due later."""
        while self._calls and self._calls[0][0] < until:
            due, number = heapq.heappop(self._calls)
            if number >= players:
                heapq.heappush(self._calls, (until + self._pause_s(number), number))
                continue
            if (pause := due - time.time()) > 0:
                await asyncio.sleep(pause)
            await self.world.publisher.room()
            self._say(self._players[number], due)
            heapq.heappush(self._calls, (due + self._pause_s(number), number))
        await asyncio.sleep(max(0.0, until - time.time()))

    def _pause_s(self, number: int) -> float:
        """The seconds until that player's next deed, at the stated rates."""
        player = self._players[number]
        return player.kind.pause_s(player.dice)

    def _say(self, player: Player, due: float) -> None:
        draft, due_ns = player.say(), int(due * 1e9)
        self.books.due[draft.id] = due_ns
        self.books.late.append((time.time_ns() - due_ns) / 1e6)
        future = self.world.publisher.submit(draft)
        books = self.books

        def acked(done: asyncio.Future[int]) -> None:
            if done.exception() is None:
                books.acks.append((time.time_ns() - due_ns) / 1e6)

        future.add_done_callback(acked)

    def _effects(self) -> Iterator[float]:
        return ((self.books.answered[at] - due) / 1e6 for at, due in self.books.at.items() if at in self.books.answered)

    def _tables(self) -> Iterator[float]:
        now = time.time_ns()
        return (((self.witness.seen_ns(at) or now) - due) / 1e6 for at, due in self.books.at.items())

    async def _behind(self) -> int:
        """Events without an answer, or not in the tables; of what was in the log when this was asked."""
        last = (await self.world.log.state()).last
        async with connected(self.world.servers.postgres_dsn) as connection:
            projected = await connection.fetchval("SELECT position FROM worldbus.checkpoint")
        handlers = await consumers(self.world.log, ALL)
        return int(max(last - projected, sum(one.behind for one in handlers)))


async def climb(seconds: float, *, durability: Durability = "strict", first: int = 20, most: int = 20_000) -> list[Step]:
    """Steps of `seconds` with 1.5 times the players each, until one breaks a limit twice; then two halvings between the best and it."""
    with folder() as data:
        async with _server(data, durability) as pid:
            settings = Settings.read({}, data=data / "world", durability=durability)
            async with open_world(settings, name="bench-players") as world, Witness.open(world.servers.postgres_dsn) as witness:
                crowd = Crowd(world, witness, pid)
                watching = asyncio.create_task(crowd.watch(), name="watch")
                try:
                    for draft in (*zones(settings.world, SEED), *Studio(settings.world, SEED, first).opening()):
                        await world.publisher.publish(draft)
                    return await _climb(crowd, seconds, first, most)
                finally:
                    watching.cancel()


async def _climb(crowd: Crowd, seconds: float, first: int, most: int) -> list[Step]:
    await crowd.step(first, min(4.0, seconds))  # caches fill, tables are planned
    steps: list[Step] = []
    good, bad, players = 0, most + 1, first
    halvings = 2
    while players <= most:
        found = await crowd.step(players, seconds)
        if found.broken():
            await crowd.rest()
            found = await crowd.step(players, seconds)  # once is an accident of a shared machine
        steps.append(found)
        if found.broken():
            bad = players
            await crowd.rest()
        else:
            good = players
        if bad <= most:
            if not halvings or not good:
                break
            halvings -= 1
        players = (good + bad) // 2 if bad <= most else round(players * 1.5)
    return steps


def best(steps: list[Step]) -> tuple[Step | None, str]:
    """The most players that held, and what broke just above them."""
    held = [one for one in steps if not one.broken()]
    top = max(held, key=lambda one: one.players, default=None)
    above = [one for one in steps if one.broken() and (top is None or one.players > top.players)]
    broke = min(above, key=lambda one: one.players, default=None)
    return top, f"{broke.players} players: {broke.broken()}" if broke else "no limit was broken: the climb ended first"
