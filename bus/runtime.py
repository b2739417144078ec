"""Running handlers: sessions on their partitions, a runner each, members in balance, a graceful end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence, Set
from contextlib import asynccontextmanager
from typing import Any

import structlog

from bus.careful import Careful
from bus.caution import Caution
from bus.connection import Connection
from bus.decision import CONTROL
from bus.errors import WorldbusError
from bus.handler import Subsystem
from bus.hangs import Hangs
from bus.health import Health
from bus.keeper import Keeper, list_consumers
from bus.lane_run import Limits
from bus.lane_store import LogLaneStore
from bus.log import Log
from bus.membership import Membership, share
from bus.presence import MS, HandlerReport, Presence
from bus.progress import Progress
from bus.runner import Runner
from bus.session import STOOD_STILL, Pace, Place, Session
from bus.subjects import stored_filter
from bus.succession import Succession
from bus.watch import Watch
from bus.watchdog import Budgets, Watchdog
from bus.writes import Writes
from schemas.upcast import recorded_names

log = structlog.get_logger(__name__)
OPERATOR = "operator"
CHECK_S = 5.0  # between two looks at the consumers
STALL_S = 0.25  # how often the loop looks at itself


def places(handler: Subsystem, partitions: int) -> list[Place]:
    """The consumers of one handler: one per partition, and one for what the operator asks of its lanes (which concerns few and needs no
    partition)."""
    names = recorded_names(handler.listens_to)
    recorded_names(handler.emits)  # one that is read as another type would not be found in the handler's own history
    one = next(iter(names)) if len(names) == 1 else None
    control = Place(
        name=f"{handler.label}_{OPERATOR}",
        subject_filter=stored_filter(subsystem=OPERATOR),
        wanted=frozenset(kind.DESCRIPTOR.name.encode() for kind in CONTROL),
        worlds=handler.played.tokens,
    )
    wanted = frozenset(name.encode() for name in names)
    return [
        Place(
            name=f"{handler.label}_{partition}",
            subject_filter=stored_filter(partition=partition, name=one),
            wanted=wanted,
            partition=partition,
            worlds=handler.played.tokens,
        )
        for partition in range(partitions)
    ] + [control]


class Runtime:
    """Handlers that run in this process. Made by `run_handlers`."""

    def __init__(
        self,
        connection: Connection,
        log_: Log,
        handlers: Sequence[Subsystem],
        *,
        pace: Pace,
        limits: Limits,
        budgets: Budgets,
        known: Set[str],
        presence: Presence | None = None,
        health: Health | None = None,
    ) -> None:
        self.connection = connection
        self.log = log_
        self.health = health or Health()
        if presence is not None:
            presence.health = self.health
        self.writes = Writes(connection)
        self.hangs = Hangs(log_)
        watch = Watch()
        self.runners: dict[str, Runner[Any]] = {
            handler.name: Runner(
                handler, LogLaneStore(log_, handler), self.writes, partitions=log_.partitions, limits=limits, watch=watch, known=known
            )
            for handler in handlers
        }
        labels = [runner.handler.label for runner in self.runners.values()]
        self.membership = Membership(
            connection, log_.name, labels, self._rebalance, presence=presence, reports=lambda: map(self._report, self.runners.values())
        )
        self._careful = Careful(self.hangs, self.membership.me, self.runners.values)
        for runner in self.runners.values():
            runner.patience.health = self.health
            runner.caution = Caution(runner, self.hangs, self.membership.me)
        self.watchdog = Watchdog(watch, self.health, self.hangs, budgets, self.membership.me)
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
        work = {
            "members": self.membership.run(),
            "balance": self._keep_balance(),
            "stalls": self._watch_stalls(),
            "consumers": self._watch_consumers(),
        }
        self._tasks = [asyncio.create_task(coroutine, name=name) for name, coroutine in work.items()]

    def _report(self, runner: Runner[Any]) -> HandlerReport:
        tally = runner.tally
        holds = [session.hold() for session, _ in self._sessions.values() if session.runner is runner]
        return HandlerReport(runner.handler.label, holds, tally.decided, tally.last, tally.last_ns // MS)

    async def _consumers(self, handler: Subsystem) -> None:
        for place in places(handler, self.log.partitions):
            await Keeper(self.log, place, Progress(self.log, place.name), pace=self._pace).begin()

    async def _watch_consumers(self) -> None:
        """Look at the consumers of what is held here: anybody may have deleted or rewritten them."""
        while True:
            await asyncio.sleep(CHECK_S)
            held = {name: (session, session.progress.position) for name, (session, _) in self._sessions.items()}
            try:
                found = await list_consumers(self.log)
                for name, (session, settled) in held.items():
                    if name not in found.missing and self._sessions.get(name, (None,))[0] is session:
                        await session.checked(found.infos.get(name), settled)
            except WorldbusError as error:
                log.debug("consumers_not_looked_at", error=str(error))

    def _rebalance(self) -> None:
        self._balance.set()

    async def _keep_balance(self) -> None:
        while True:
            await self._balance.wait()
            self._balance.clear()
            for runner in self.runners.values():
                members = self.membership.members(runner.handler.label)
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
            succession = Succession(self.log, place.name, self._careful, self.membership)
            session = Session(self.log, runner, place, succession, pace=self._pace)
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
            if (stood_s := loop.time() - before) > self._pace.pin_timeout_s:
                log.warning("process_stood_still", seconds=round(stood_s, 1))
                for runner in self.runners.values():
                    runner.distrust()
                for session, _ in self._sessions.values():
                    session.lose(STOOD_STILL)

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
    connection: Connection,
    log_: Log,
    handlers: Iterable[Subsystem],
    *,
    pace: Pace | None = None,
    limits: Limits | None = None,
    budgets: Budgets | None = None,
    presence: Presence | None = None,
    health: Health | None = None,
    known: Iterable[str] = (),
) -> AsyncIterator[Runtime]:
    """Run `handlers` for the block. Every input is decided, in log order per entity, with effects exactly once, however often this
    process dies.

    A decision that does not return is interrupted and parked; one that cannot be interrupted ends the process with code 71 (`budgets`).
    `presence` is what operators are told about this process, `health` what others know of it already. `known` are the names of handlers
    that other processes run. What any other subsystem publishes comes from an edge; if nobody can ever decide it, it is skipped, where a
    handler's output would stop the lane. Raises `BadSettings` for a subsystem that was given no content.
    """
    handlers = list(handlers)
    for handler in handlers:
        handler.check_has_rules()
    runtime = Runtime(
        connection,
        log_,
        handlers,
        pace=pace or Pace(),
        limits=limits or Limits(),
        budgets=budgets or Budgets(),
        known=frozenset(known) | {handler.name for handler in handlers},
        presence=presence,
        health=health,
    )
    with runtime.watchdog:
        try:
            await runtime.open()
            yield runtime
        finally:
            await runtime.aclose()
