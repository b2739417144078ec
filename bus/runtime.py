"""Running handlers: sessions on their partitions, a runner each, members in balance, a graceful end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import structlog

from bus.connection import Connection
from bus.consumer import PullConsumer
from bus.decision import CONTROL
from bus.handler import Handler
from bus.lane_store import LogLaneStore
from bus.log import Log
from bus.membership import Membership, share
from bus.runner import Limits, Runner
from bus.session import Pace, Session
from bus.subjects import stored_filter
from bus.writes import Writes

log = structlog.get_logger(__name__)
OPERATOR = "operator"
STALL_S = 0.25  # how often the loop looks at itself


def filters(handler: Handler[Any], partition: int) -> list[str]:
    """What the consumer of one handler and partition reads."""
    wanted = [stored_filter(partition=partition, name=kind.DESCRIPTOR.name) for kind in handler.listens_to]
    control = [stored_filter(partition=partition, subsystem=OPERATOR, name=kind.DESCRIPTOR.name) for kind in CONTROL]
    return sorted(wanted + control)


class Runtime:
    """Handlers that run in this process. Made by `run_handlers`."""

    def __init__(self, connection: Connection, log_: Log, handlers: Sequence[Handler[Any]], *, pace: Pace, limits: Limits) -> None:
        self.connection = connection
        self.log = log_
        self.writes = Writes(connection)
        self.runners = {
            handler.name: Runner(handler, LogLaneStore(log_, handler), self.writes, partitions=log_.partitions, limits=limits)
            for handler in handlers
        }
        self.membership = Membership(connection, log_.name, self.runners, self._rebalance)
        self._pace = pace
        self._sessions: dict[tuple[str, int], tuple[Session, asyncio.Task[None]]] = {}
        self._balance = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._leaving: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Make the consumers, join the members, take up a share."""
        await self.writes.open()
        await asyncio.gather(*(self._consumers(runner.handler) for runner in self.runners.values()))
        self._balance.set()
        work = {"members": self.membership.run(), "balance": self._keep_balance(), "stalls": self._watch_stalls()}
        self._tasks = [asyncio.create_task(coroutine, name=name) for name, coroutine in work.items()]

    async def _consumers(self, handler: Handler[Any]) -> None:
        for partition in range(self.log.partitions):
            consumer = PullConsumer(self.connection, self.log.name, f"{handler.name}_{partition}")
            await consumer.create(filters(handler, partition), ack_wait=self._pace.ack_wait_s, pin_timeout=self._pace.pin_timeout_s)

    def _rebalance(self) -> None:
        self._balance.set()

    async def _keep_balance(self) -> None:
        while True:
            await self._balance.wait()
            self._balance.clear()
            for name, runner in self.runners.items():
                members = self.membership.members(name)
                mine = share(self.log.partitions, members, self.membership.me)
                runner.alone = len(members) == 1
                for partition in range(self.log.partitions):
                    self._hold(runner, partition) if partition in mine else self._release(name, partition)

    def _hold(self, runner: Runner[Any], partition: int) -> None:
        key = (runner.handler.name, partition)
        if key not in self._sessions:
            session = Session(self.connection, self.log.name, runner, partition, pace=self._pace)
            self._sessions[key] = session, asyncio.create_task(session.run(), name=f"session-{session.name}")

    def _release(self, name: str, partition: int) -> None:
        held = self._sessions.pop((name, partition), None)
        if held is not None:
            task = asyncio.create_task(self._end(*held), name=f"release-{name}-{partition}")
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    async def _end(self, session: Session, task: asyncio.Task[None]) -> None:
        await session.stop()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def _watch_stalls(self) -> None:
        """A process that slept longer than the pin timeout (SIGSTOP, swap) was taken for dead: its holds are void."""
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(STALL_S)
            if loop.time() - before > self._pace.pin_timeout_s:
                for runner in self.runners.values():
                    runner.distrust()
                for session, _ in self._sessions.values():
                    session.lose("this process stood still")

    async def aclose(self) -> None:
        """Settle what is open (for about a second), hand over the partitions, stop."""
        for task in self._tasks[1:]:
            task.cancel()
        await asyncio.gather(*(self._end(*held) for held in self._sessions.values()))
        for task in self._tasks[:1]:
            task.cancel()
        await asyncio.gather(*self._tasks, *self._leaving, return_exceptions=True)
        for runner in self.runners.values():
            await runner.aclose()
        await self.writes.aclose()


@asynccontextmanager
async def run_handlers(
    connection: Connection, log_: Log, handlers: Iterable[Handler[Any]], *, pace: Pace | None = None, limits: Limits | None = None
) -> AsyncIterator[Runtime]:
    """Run `handlers` for the block. Every input is decided, in log order per entity, with effects exactly once, however often this process dies."""
    runtime = Runtime(connection, log_, list(handlers), pace=pace or Pace(), limits=limits or Limits())
    await runtime.open()
    try:
        yield runtime
    finally:
        await runtime.aclose()
