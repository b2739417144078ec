"""What goes wrong: faults drawn from a seed, one after the other, at random moments under load.

Every fault heals itself: servers are started again, paused processes woken. Kinds come in shuffled rounds, so that a short run has each.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

from bench.chaos.cluster import Cluster, in_thread

PIN_S = 1.5  # a silent member loses its partitions after so long
CONTEST_S = 5.0  # the one of two projectors that lost may notice so late
QUIET = 0.15  # share of rounds without a fault


@dataclass(slots=True)
class Nemesis:
    """Does harm to a cluster. `done` counts the faults by kind, `kills` the SIGKILLs."""

    cluster: Cluster
    seed: int
    done: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    diary: list[tuple[float, str]] = field(default_factory=list)
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
            "second projector": self._second_projector,
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

    async def _second_projector(self) -> None:
        """The projector sleeps, another one takes its place and moves on; then the first wakes and has to step down."""
        first = self.cluster.of("projector")[0]
        first.wanted = False
        self.cluster.contested_until = float("inf")
        self.cluster.pause(first)
        second = await self.cluster.add("projector", int(first.name.rpartition("-")[2]) + 1)
        await asyncio.sleep(self.dice.uniform(2.0, 3.0))
        first.may_end = second.may_end = True
        self.cluster.resume(first)
        until = time.monotonic() + 5.0
        while first.process.pid is not None and time.monotonic() < until:
            await asyncio.sleep(0.05)
        self.done["projector stepped down"] += first.process.pid is None
        await self.cluster.kill(first)
        second.may_end = False
        self.cluster.contested_until = time.monotonic() + CONTEST_S
        del self.cluster.workers[first.name]
