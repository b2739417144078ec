"""The processes under test: nats-server, Postgres, two members that run every handler, the projector, writers and a ticker.

Every worker is a process of its own, started again when it ends, as an orchestrator would; one that ends for no reason of ours is on
record. The writers and the second member reach nats-server over lines that can lose single frames and break (bench/chaos/proxy.py).
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec

import bench.chaos
from bench.chaos.load import Mix
from bench.chaos.proxy import Proxy, all_of_it, proxied
from bench.chaos.worker import Orders
from bus.durability import Durability
from bus.publisher import DEADLINE
from migrations import migrate
from worldbus.embedded import NatsServer, PostgresServer
from worldbus.embedded.process import Process

T = TypeVar("T")

ROOT = Path(bench.chaos.__file__).parent.parent.parent
PASSWORD = "only-for-chaos"
WATCH_S = 0.1
READY_S = 30.0
IMPATIENCE_S = 1.0  # of every other writer; the others have the patience that ships
LAST_WORDS = 4000  # characters of a worker's log
FORGIVEN = (
    *("cannot connect to NATS", "STORE_UNAVAILABLE", "StoreUnavailable", "Disconnected", "NoLog", "Unknown", "NotDurable", "Transient"),
)
"""Ends of a worker that an outage of a server explains: it starts again, as a container would."""


@dataclass(slots=True)
class Worker:
    """One worker: its process, and what is on record about its ends."""

    name: str
    role: str
    process: Process
    orders: Orders
    wanted: bool = False  # to be started again when it ends
    may_end: bool = False  # its next end is our doing
    paused: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)  # a `Process` has one owner at a time


@dataclass(slots=True)
class Cluster:
    """The processes of one run. `nats_folder` and `postgres_folder` may lie on a file system of their own."""

    folder: Path
    seed: int
    durability: Durability
    mix: Mix = field(default_factory=Mix)
    writers: int = 2
    members: int = 2
    skews_s: tuple[float, ...] = (0.0, 7200.0)
    nats_folder: Path | None = None
    postgres_folder: Path | None = None
    unexpected: list[str] = field(default_factory=list)
    workers: dict[str, Worker] = field(default_factory=dict)
    nats: NatsServer = field(init=False)
    postgres: PostgresServer = field(init=False)
    writers_line: Proxy = field(init=False)
    member_line: Proxy = field(init=False)
    contested_until: float = 0.0  # monotonic seconds; two projectors are at work on purpose
    _lines: AsyncExitStack = field(default_factory=AsyncExitStack)
    _dice: random.Random = field(default_factory=lambda: random.Random(0))
    _watcher: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        strict = self.durability == "strict"
        self.nats = NatsServer(self.nats_folder or self.folder / "nats", password=PASSWORD, strict=strict)
        folder = self.postgres_folder or self.folder / "postgres"
        self.postgres = PostgresServer(folder, secret=lambda role: f"{PASSWORD}-{role}", strict=strict)

    # -- the whole ---------------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Start the servers, then every worker."""
        await in_thread(self.nats.start)
        await in_thread(self.postgres.start)
        await in_thread(lambda: migrate(self.postgres.dsn))
        self.writers_line = await self._lines.enter_async_context(proxied(self.nats.url))
        self.member_line = await self._lines.enter_async_context(proxied(self.nats.url))
        roles = [("handlers", number) for number in range(self.members)] + [("projector", 0), ("ticker", 0)]
        roles += [("writer", number) for number in range(self.writers)]
        for role, number in roles:
            await self.add(role, number)
        self._watcher = asyncio.create_task(self._watch(), name="supervisor")

    async def aclose(self) -> None:
        """End everything."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
        for worker in self.workers.values():
            worker.wanted = False
        await asyncio.gather(*(in_thread(worker.process.kill) for worker in self.workers.values()))
        await self._lines.aclose()
        await asyncio.gather(in_thread(self.nats.stop), in_thread(self.postgres.stop))

    # -- workers -----------------------------------------------------------------------------------------------------------------

    async def add(self, role: str, number: int) -> Worker:
        """Start one more worker."""
        name = f"{role}-{number}"
        folder = self.folder / "workers"
        folder.mkdir(exist_ok=True)
        orders = Orders(
            name=name,
            seed=self.seed,
            nats_url=self._address(role, number),
            monitor_url=self.nats.monitor_url,
            postgres_dsn=self.postgres.dsn,
            journal=str(self.journal(name)),
            ready=str(folder / f"{name}.ready"),
            durability=self.durability,
            mix=self.mix,
            skew_s=self.skews_s[number % len(self.skews_s)] if role == "handlers" else 0.0,
            patience_s=IMPATIENCE_S if role == "writer" and number % 2 else DEADLINE,
        )
        worker = Worker(name, role, Process(name, folder, stop_signal=signal.SIGTERM), orders)
        self.workers[name] = worker
        await self.start(worker)
        worker.wanted = True  # from now on: the supervisor must not take a beginning for an end
        return worker

    def _address(self, role: str, number: int) -> str:
        """The address at which a worker finds nats-server."""
        if role == "writer":
            return self.writers_line.url
        return self.member_line.url if role == "handlers" and number % 2 else self.nats.url

    def heal_lines(self) -> None:
        """Both carry everything again."""
        for line in (self.writers_line, self.member_line):
            line.up = line.down = all_of_it

    def journal(self, name: str) -> Path:
        return self.folder / f"{name}.journal"

    @property
    def journals(self) -> list[Path]:
        """The journals of all writers that there were."""
        return sorted(self.folder.glob("writer-*.journal"))

    async def start(self, worker: Worker) -> None:
        """Start a worker; returns at once."""
        path = self.folder / "workers" / f"{worker.name}.json"
        path.write_bytes(msgspec.json.encode(worker.orders))
        command = [sys.executable, "-m", "bench.chaos.worker", worker.role, str(path)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        worker.may_end = worker.paused = False
        async with worker.lock:
            self._ready(worker).unlink(missing_ok=True)
            await in_thread(lambda: worker.process.start(command, cwd=ROOT, env=environment, ready=lambda: True, within_s=10))

    def _ready(self, worker: Worker) -> Path:
        """The file by which a worker says that it hears SIGTERM."""
        return Path(worker.orders.ready)

    async def kill(self, worker: Worker) -> None:
        """SIGKILL; the supervisor starts it again."""
        async with worker.lock:
            worker.may_end = True
            await in_thread(worker.process.kill)

    async def stop(self, worker: Worker, within_s: float = 60.0) -> None:
        """SIGTERM, and wait until it has ended in good order; one that is starting again finishes that first."""
        await self.ready(worker)
        async with worker.lock:
            worker.wanted, worker.may_end = False, True
            await in_thread(lambda: worker.process.stop(within_s))

    async def ready(self, worker: Worker) -> None:
        """Wait until it has begun to work."""
        async with asyncio.timeout(READY_S):
            while worker.process.pid is None or not self._ready(worker).exists():
                await asyncio.sleep(WATCH_S / 2)

    def pause(self, worker: Worker) -> None:
        """SIGSTOP."""
        worker.paused = True
        worker.process.signal(signal.SIGSTOP)

    def resume(self, worker: Worker) -> None:
        """SIGCONT."""
        worker.process.signal(signal.SIGCONT)
        worker.paused = False

    def of(self, role: str) -> list[Worker]:
        """The workers of a role."""
        return [worker for worker in self.workers.values() if worker.role == role]

    async def _watch(self) -> None:
        """Start again what ended."""
        while True:
            await asyncio.sleep(WATCH_S)
            for worker in list(self.workers.values()):
                try:
                    await self._restart_if_ended(worker)
                except Exception as error:  # on record, and tried again: without its supervisor a run would only stand still
                    self.unexpected.append(f"{worker.name} could not be started again: {error!r}")

    async def _restart_if_ended(self, worker: Worker) -> None:
        if not worker.wanted or worker.process.pid is not None:
            return
        self._judge_end(worker)
        await asyncio.sleep(self._dice.uniform(0, 0.3))
        if worker.wanted:
            await self.start(worker)

    def _judge_end(self, worker: Worker) -> None:
        words = worker.process.log.read_text(errors="replace")[-LAST_WORDS:]
        contested = time.monotonic() < self.contested_until and "CheckpointMoved" in words  # of two projectors one has to go
        if not worker.may_end and not contested and not any(reason in words for reason in FORGIVEN):
            child = worker.process._child
            self.unexpected.append(f"{worker.name} ended by itself with status {child and child.returncode}: {words}")

    # -- Postgres' backends --------------------------------------------------------------------------------------------------------

    def backends(self) -> list[int]:
        """Processes of Postgres that serve a connection."""
        parent = self.postgres.pid
        if parent is None:
            return []
        found = []
        for child in _children(parent):
            try:
                words = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if "worldbus_owner" in words:
                found.append(child)
        return found

    def wait_for_backends(self) -> None:
        """Return when the last process of a killed Postgres has let go of its files."""
        until = time.monotonic() + READY_S
        while _postgres_in(self.postgres.data) and time.monotonic() < until:
            time.sleep(0.02)


def _postgres_in(folder: Path) -> bool:
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cwd").readlink() == folder:
                return True
        except OSError:
            continue
    return False


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]
    except OSError:
        return []


async def in_thread(work: Callable[[], T]) -> T:
    """Run blocking work to its end."""
    return await asyncio.shield(asyncio.to_thread(work))
