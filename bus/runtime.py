"""Running handlers: sessions on their partitions, a runner each, members in balance, a graceful end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import structlog

from bus.connection import ApiError, Connection
from bus.consumer import PullConsumer
from bus.decision import CONTROL
from bus.errors import LogDamaged, Misuse
from bus.handler import Handler
from bus.lane_run import Limits
from bus.lane_store import LogLaneStore
from bus.log import Log
from bus.membership import Membership, share
from bus.runner import Runner
from bus.session import Pace, Place, Session
from bus.subjects import stored_filter
from bus.writes import Writes

log = structlog.get_logger(__name__)
OPERATOR = "operator"
CREATE_FAILED = 10012
STALL_S = 0.25  # how often the loop looks at itself


def places(handler: Handler[Any], partitions: int) -> list[Place]:
    """The consumers of one handler: one per partition, and one for what the operator asks of its lanes (which concerns few and needs no
    partition)."""
    names = frozenset(kind.DESCRIPTOR.name for kind in handler.listens_to)
    one = next(iter(names)) if len(names) == 1 else None
    control = Place(
        name=f"{handler.name}_{OPERATOR}",
        subject_filter=stored_filter(subsystem=OPERATOR),
        wanted=frozenset(kind.DESCRIPTOR.name.encode() for kind in CONTROL),
    )
    wanted = frozenset(name.encode() for name in names)
    return [
        Place(
            name=f"{handler.name}_{partition}",
            subject_filter=stored_filter(partition=partition, name=one),
            wanted=wanted,
            partition=partition,
        )
        for partition in range(partitions)
    ] + [control]


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
        self._sessions: dict[str, tuple[Session, asyncio.Task[None]]] = {}
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
        for place in places(handler, self.log.partitions):
            consumer = PullConsumer(self.connection, self.log.name, place.name)
            await self._ensure(consumer, place.subject_filter)

    async def _ensure(self, consumer: PullConsumer, subject_filter: str) -> None:
        """Make the consumer. One that reads by another filter (the handler listens to other types now) is made anew from its ack floor:
        changing the filter in place would skip older messages of the new one."""
        ack_wait, pin_timeout = self._pace.ack_wait_s, self._pace.pin_timeout_s
        try:
            await consumer.create([subject_filter], ack_wait=ack_wait, pin_timeout=pin_timeout)
        except ApiError as error:
            if error.err_code != CREATE_FAILED or "creating store" not in str(error):
                raise
            raise LogDamaged(
                f"the server cannot read what it kept of consumer {consumer.name}: stop it, remove obs/{consumer.name} from the folder of "
                f"stream {consumer.stream} in its store, start it; the handler then looks through the log again, and does nothing twice",
                consumer=consumer.name,
            ) from error
        except Misuse:
            floor = (await consumer.info())["ack_floor"]["stream_seq"]
            log.warning("consumer_made_anew", consumer=consumer.name, subject_filter=subject_filter, after=floor)
            await consumer.delete()
            await consumer.create([subject_filter], after=floor, ack_wait=ack_wait, pin_timeout=pin_timeout)

    def _rebalance(self) -> None:
        self._balance.set()

    async def _keep_balance(self) -> None:
        while True:
            await self._balance.wait()
            self._balance.clear()
            for name, runner in self.runners.items():
                members = self.membership.members(name)
                shared = places(runner.handler, self.log.partitions)
                mine = share(len(shared), members, self.membership.me)
                self._note_company(runner, alone=len(members) == 1)
                for number, place in enumerate(shared):
                    if number in mine:
                        self._hold(runner, place)
                    else:
                        self._release(place)

    def _note_company(self, runner: Runner[Any], *, alone: bool) -> None:
        """Alone, a lane in memory is the truth; what others wrote before they left has to be read first."""
        if alone and not runner.alone:
            runner.distrust()
        runner.alone = alone

    def _hold(self, runner: Runner[Any], place: Place) -> None:
        if place.name not in self._sessions:
            session = Session(self.log, runner, place, pace=self._pace)
            self._sessions[place.name] = session, asyncio.create_task(session.run(), name=f"session-{place.name}")

    def _release(self, place: Place) -> None:
        held = self._sessions.pop(place.name, None)
        if held is not None:
            task = asyncio.create_task(self._end(*held), name=f"release-{place.name}")
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
        ends = await asyncio.gather(*(self._end(*held) for held in self._sessions.values()), return_exceptions=True)
        for name, end in zip(self._sessions, ends, strict=True):
            if isinstance(end, Exception):  # it must not hide what ended us; what was not settled comes again
                log.warning("session_ended_badly", consumer=name, error=repr(end))
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
    """Run `handlers` for the block. Every input is decided, in log order per entity, with effects exactly once, however often this
    process dies."""
    runtime = Runtime(connection, log_, list(handlers), pace=pace or Pace(), limits=limits or Limits())
    try:
        await runtime.open()
        yield runtime
    finally:
        await runtime.aclose()
