"""The faults of a run: drawn from a seed, one after the other, at random moments under load.

Every fault heals itself: servers are started again, paused processes woken. Kinds come in shuffled rounds, so that a short run has each.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from bench.chaos import collect
from bench.chaos.cluster import Cluster, Worker, in_thread
from bench.chaos.history import Violation
from bench.chaos.proxy import Frame, all_of_it
from bus.errors import StoreUnavailable

PIN_S = 1.5  # a silent member loses its partitions after so long
CONTEST_S = 10.0  # the one of two projectors that lost may notice so late
OVERTAKEN_S = 10.0  # so long the second one may need to move on
PAUSE_TRIES = 50
QUIET = 0.15  # share of rounds without a fault


@dataclass(slots=True)
class Nemesis:
    """Does harm to a cluster. `done` counts the faults by kind, `kills` the SIGKILLs."""

    cluster: Cluster
    seed: int
    done: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    frames: int = 0
    """Deliveries that were lost or doubled."""
    diary: list[tuple[float, str]] = field(default_factory=list)
    """Monotonic seconds at which each fault began."""
    problems: list[Violation] = field(default_factory=list)
    dice: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.dice = random.Random(f"nemesis/{self.seed}")

    @property
    def kinds(self) -> dict[str, Callable[[], Awaitable[None]]]:
        return {
            "kill nats": self._kill_nats,
            "kill handlers": lambda: self._kill_worker("handlers"),
            "kill projector": lambda: self._kill_worker("projector"),
            "kill postgres": self._kill_postgres,
            "kill backend": self._kill_backend,
            "kill writer": lambda: self._kill_worker("writer"),
            "kill ticker": lambda: self._kill_worker("ticker"),
            "kill nats and handlers": self._kill_two,
            "pause nats": self._pause_nats,
            "pause handlers": self._pause_handlers,
            "third member": self._third_member,
            "second projector": self._second_projector,
            "lose acknowledgements": self._lose_acknowledgements,
            "cut before the answer": self._cut_before_the_answer,
            "lose deliveries": self._lose_deliveries,
            "cut a member": self._cut_a_member,
        }

    async def run(self, kills: int, *, calm: Callable[[], Awaitable[None]] | None = None) -> None:
        """Do harm until so many processes were killed."""
        bag: list[str] = []
        while self.kills < kills:
            if not bag:
                bag = list(self.kinds)
                self.dice.shuffle(bag)
            kind = bag.pop()
            await asyncio.sleep(self.dice.uniform(0.1, 1.0))
            if self.dice.random() < QUIET:
                await asyncio.sleep(1.0)
            self.diary.append((time.monotonic(), kind))
            await self.kinds[kind]()
            self.done[kind] += 1
            if calm is not None:
                await calm()

    # -- kills -------------------------------------------------------------------------------------------------------------------

    async def _kill_nats(self) -> None:
        self.kills += 1
        await in_thread(self.cluster.nats.kill)
        await asyncio.sleep(self.dice.uniform(0, 0.5))
        await in_thread(self.cluster.nats.start)

    async def _kill_postgres(self) -> None:
        self.kills += 1
        await in_thread(self.cluster.postgres.kill)
        await asyncio.sleep(self.dice.uniform(0, 0.5))
        await in_thread(self.cluster.postgres.start)

    async def _kill_backend(self) -> None:
        backends = self.cluster.backends()
        if not backends:
            return
        self.kills += 1
        with suppress(ProcessLookupError):
            os.kill(self.dice.choice(sorted(backends)), signal.SIGKILL)
        await asyncio.sleep(self.dice.uniform(0, 0.5))

    async def _kill_worker(self, role: str) -> None:
        self.kills += 1
        await self.cluster.kill(self.dice.choice(self.cluster.of(role)))

    async def _kill_two(self) -> None:
        await asyncio.gather(self._kill_nats(), self._kill_worker("handlers"))

    # -- pauses ------------------------------------------------------------------------------------------------------------------

    async def _pause_nats(self) -> None:
        self.cluster.nats.signal(signal.SIGSTOP)
        await asyncio.sleep(self.dice.uniform(0.3, 3.0))
        self.cluster.nats.signal(signal.SIGCONT)

    async def _pause_handlers(self) -> None:
        """A member sleeps for longer than its pin lasts, and wakes as a zombie that believes in it."""
        worker = self.dice.choice(self.cluster.of("handlers"))
        self.cluster.pause(worker)
        await asyncio.sleep(self.dice.uniform(PIN_S + 0.5, 2 * PIN_S + 1.0))
        self.cluster.resume(worker)

    async def _third_member(self) -> None:
        """Another member comes, takes its share and goes: partitions go there and back while nobody is alone."""
        third = await self.cluster.add("handlers", self.cluster.members)
        await self.cluster.ready(third)
        await asyncio.sleep(self.dice.uniform(4.0, 6.0))
        await self.cluster.stop(third)
        del self.cluster.workers[third.name]

    # -- lines -------------------------------------------------------------------------------------------------------------------

    async def _lose_acknowledgements(self) -> None:
        """Writers are not told what the log has stored, and their connection stays: they send again what has no answer."""
        line = self.cluster.writers_line
        line.down = lambda frame: () if frame.answered and self._falls(0.5) else (frame,)
        await asyncio.sleep(self.dice.uniform(0.3, 1.5))
        line.down = all_of_it

    async def _cut_before_the_answer(self) -> None:
        """The log has stored it, and the connection breaks before anybody is told."""
        line = self.cluster.writers_line
        line.down = lambda frame: () if frame.answered else (frame,)
        await asyncio.sleep(self.dice.uniform(0.05, 0.4))
        line.cut()
        line.down = all_of_it

    async def _lose_deliveries(self) -> None:
        """Some of what the server hands to a member is lost on the way, some comes twice."""
        line = self.cluster.member_line
        line.down = self._badly
        await asyncio.sleep(self.dice.uniform(0.5, 2.0))
        line.down = all_of_it

    def _badly(self, frame: Frame) -> Iterable[Frame]:
        if not frame.delivery or not self._falls(0.25):
            return (frame,)
        self.frames += 1
        return () if self._falls(0.7) else (frame, frame)

    async def _cut_a_member(self) -> None:
        self.cluster.member_line.cut()

    def _falls(self, chance: float) -> bool:
        return self.dice.random() < chance

    # -- two projectors ----------------------------------------------------------------------------------------------------------

    async def _second_projector(self) -> None:
        """The projector sleeps, another one takes its place and moves on; then the first wakes and has to step down."""
        first = self.cluster.of("projector")[0]
        first.wanted = False
        self.cluster.contested_until = float("inf")
        await self._checkpoint()
        await self._pause_between_commits(first)
        slept_at = await self._checkpoint()
        second = await self.cluster.add("projector", int(first.name.rpartition("-")[2]) + 1)
        overtaken = await self._within(OVERTAKEN_S, lambda: self._beyond(slept_at))
        first.may_end = second.may_end = True
        said = len(_words(first))
        self.cluster.resume(first)
        if overtaken:
            self.done["projector overtaken"] += 1
            stepped_down = await self._within(CONTEST_S, lambda: _steps_down(first, said))
            self.done["projector stepped down"] += stepped_down
            if not stepped_down and first.process.pid is not None:
                what = f"{first.name} slept at {slept_at} while {second.name} went on, and did not step down within {CONTEST_S:.0f} s"
                self.problems.append(Violation("P2", what))
        await self.cluster.kill(first)
        second.may_end = False
        self.cluster.contested_until = time.monotonic() + CONTEST_S
        del self.cluster.workers[first.name]

    async def _pause_between_commits(self, worker: Worker) -> None:
        """Asleep within a transaction it would hold the checkpoint's row, and nobody could overtake it."""
        for _ in range(PAUSE_TRIES):
            self.cluster.pause(worker)
            await asyncio.sleep(0.02)  # what it has sent is answered
            if not await collect.locked(self.cluster.postgres.dsn):
                return
            self.cluster.resume(worker)
            await asyncio.sleep(self.dice.uniform(0.005, 0.05))
        self.cluster.pause(worker)

    async def _checkpoint(self) -> int:
        """The projections' position, once Postgres says so: after the end of a backend it recovers for a while."""
        while True:
            with suppress(StoreUnavailable):
                return await collect.checkpoint(self.cluster.postgres.dsn)
            await asyncio.sleep(0.05)

    async def _beyond(self, position: int) -> bool:
        return await self._checkpoint() > position

    async def _within(self, seconds: float, condition: Callable[[], Awaitable[bool]]) -> bool:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if await condition():
                return True
            await asyncio.sleep(0.05)
        return False


async def _steps_down(worker: Worker, said: int) -> bool:
    """Return whether the worker ended, or says that it stands by."""
    return worker.process.pid is None or "another projector runs" in _words(worker)[said:]


def _words(worker: Worker) -> str:
    return worker.process.log.read_text(errors="replace")
