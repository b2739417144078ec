"""Consulting the router: a request that cannot be answered here in full and in time may go to another tier.

The worker that holds it says `InferenceRouteRequested` with what it knows of all tiers, and sets the request aside for a moment. The router
decides and says `InferenceRouted`; workers of the chosen tier take the request from there through a durable queue. Once the log holds that
word, the request is in their hands, and ours lets go. Without a word in time it comes back, and our own ladder has the last one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final
from zlib import crc32

import structlog

from bus.connection import Connection, Listener
from bus.errors import BadEvent, WorldbusError
from bus.event import Draft, Event
from bus.log import Log
from bus.publisher import Publisher
from bus.subjects import Subject, partition_of, stored_filter
from inference.admission import Admission
from inference.clock_offset import ServerClock
from inference.deadlines import MS
from inference.outcome import EDGE
from inference.settings import WorkerSettings
from inference.standing import standing_for
from inference.vitals import Vitals
from inference.work import Work
from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceRouteRequested
from schemas.gen.worldbus.router.v1.router_pb2 import InferenceRouted

WORLD: Final = "system"
"""Entity under which workers report their health, and the router therefore knows of it."""
ROUTER: Final = "router"
NAME: Final = InferenceRouted.DESCRIPTOR.name
SPREAD: Final = 4
ASIDE_S: Final = 0.1
"""Time that a request waits for the router's answer."""
LEAST_NS: Final = 40 * MS
"""With less time nobody else could answer either."""
IN_VAIN_S: Final = 0.1
"""Between two questions to which no tier seems to be an answer."""
AGAIN_S: Final = 0.003
MOST_ASIDE: Final = 256

log = structlog.get_logger(__name__)


def lane_of(tier: str, request_id: str) -> str:
    """The router's lane that decides about a request."""
    number = crc32(request_id.encode()) % SPREAD
    return f"inference-{tier}" + (f"-{number}" if number else "")


@dataclass(slots=True, eq=False)
class _Aside:
    """One request about which the router was asked. `position`: of the question in the log."""

    work: Work
    code: str
    reason: str
    timer: asyncio.TimerHandle
    position: asyncio.Future[int]


class Consult:
    """One worker's questions to the router. `back` takes a request that stays here, `gone` one that is in others' hands."""

    def __init__(
        self,
        connection: Connection,
        log_: Log,
        publisher: Publisher,
        settings: WorkerSettings,
        vitals: Vitals,
        clock: ServerClock,
        admission: Admission,
        back: Callable[[Work, str, str], None],
        gone: Callable[[Work], None],
    ) -> None:
        self._connection = connection
        self._log = log_
        self._publisher = publisher
        self._settings = settings
        self._vitals = vitals
        self._clock = clock
        self._admission = admission
        self._back = back
        self._gone = gone
        self._aside: dict[tuple[str, str], _Aside] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: Listener | None = None
        self._last_in_vain = float("-inf")

    def __len__(self) -> int:
        """Requests that wait for the router's word."""
        return len(self._aside)

    async def open(self) -> None:
        """Listen to the router."""
        self._listener = await self._connection.listen(f"evt.{WORLD}.{ROUTER}.*.{NAME}", self._on_message)

    async def aclose(self) -> None:
        """Ask nothing more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._listener is not None:
            await self._listener.close()
            self._listener = None

    def worth(self, work: Work) -> bool:
        """Return whether asking could help: first question, nothing generated, time left, and another tier with an engine up.

        Where no other tier seems able, the router is still told of some, so that the log says why; not of all, or a site that is full
        everywhere would be kept busy with questions.
        """
        if work.routed or work.texts or work.tale.started or len(self._aside) >= MOST_ASIDE or self._listener is None:
            return False
        slack = self._slack_ns(work)
        others = [one for one in self._vitals.up() if one.tier != self._settings.tier] if slack >= LEAST_NS else []
        return bool(others) and (any(one.predicted_ms * MS <= slack for one in standing_for(work, others)) or self._in_vain())

    def _in_vain(self) -> bool:
        """Return whether one more question may be asked whose answer seems plain."""
        now = asyncio.get_running_loop().time()
        if now - self._last_in_vain < IN_VAIN_S:
            return False
        self._last_in_vain = now
        return True

    def ask(self, work: Work, code: str, reason: str) -> None:
        """Set it aside and ask; `code` and `reason` say why it cannot be answered here."""
        work.routed = True
        if work.timer is not None:
            work.timer.cancel()
        loop, key = asyncio.get_running_loop(), (work.ask.world, work.ask.id)
        wait_s = min(ASIDE_S, self._slack_ns(work) / 2e9)
        self._aside[key] = _Aside(work, code, reason, loop.call_later(wait_s, self._return, key), loop.create_future())
        self._spawn(self._say(key, self._aside[key]))

    def recall(self, work: Work) -> bool:
        """Take it back, whatever the router says; whether it was set aside."""
        key = work.ask.world, work.ask.id
        if key not in self._aside or self._aside[key].work is not work:
            return False
        self._drop(key)
        return True

    def recall_all(self) -> list[Work]:
        """Take everything back."""
        works = [one.work for one in self._aside.values()]
        for work in works:
            self.recall(work)
        return works

    def _slack_ns(self, work: Work) -> int:
        return work.deadline_ns - self._clock.now_ns() - int(self._admission.reserve_s(work.ask.ladder) * 1e9)

    async def _say(self, key: tuple[str, str], one: _Aside) -> None:
        ask = one.work.ask
        message = InferenceRouteRequested(
            request_id=ask.id,
            world=ask.world,
            requester_subsystem=ask.event.subsystem,
            requester_entity=ask.event.entity,
            position=ask.event.position,
            kind=ask.request.kind,
            asked=self._settings.tier,
            worker=self._settings.name,
            code=one.code,
            slack_ms=max(0, self._slack_ns(one.work) // MS),
            standing=standing_for(one.work, self._vitals.up()),
        )
        event = ask.event
        draft = Draft(
            data=message,
            world=WORLD,
            entity=lane_of(self._settings.tier, ask.id),
            subsystem=EDGE,
            cause=event.id,
            correlation=event.correlation,
            depth=event.depth + 1,
        )
        try:
            one.position.set_result(await self._publisher.publish(draft))
        except WorldbusError as error:
            log.debug("router_not_asked", request=ask.id, error=str(error))
            one.position.cancel()
            self._return(key)

    # -- the router's word -------------------------------------------------------------------------------------------------------------

    def _on_message(self, subject: bytes, reply: bytes, header: bytes | None, payload: bytes) -> None:
        if not self._aside:
            return
        tokens = subject.decode(errors="replace").split(".")
        try:
            data: Any = Event(raw=payload, subject=Subject(*tokens[1:]), partition=0, position=0, header=header).data
        except BadEvent as error:
            log.debug("routing_unreadable", error=str(error))
            return
        key = data.world, data.request_id
        one = self._aside.get(key)
        if one is None:
            return
        if data.tier == self._settings.tier:
            self._return(key)
        else:
            self._spawn(self._let_go(key, one))

    async def _let_go(self, key: tuple[str, str], one: _Aside) -> None:
        """Let a request go once the log holds that another tier takes it, heard on its way into the log: then others are bound to it."""
        lane = lane_of(self._settings.tier, one.work.ask.id)
        partition = partition_of(WORLD, lane, self._log.partitions)
        lane_filter = stored_filter(partition=partition, world=WORLD, subsystem=ROUTER, entity=lane, name=NAME)
        after = await one.position
        while self._aside.get(key) is one:
            with suppress(WorldbusError):
                for event in await self._log.read_lane(lane_filter, after=after):
                    data: Any = event.data
                    if (data.world, data.request_id) == key and self._aside.get(key) is one:
                        self._drop(key)
                        self._gone(one.work)
                        return
            await asyncio.sleep(AGAIN_S)

    def _return(self, key: tuple[str, str]) -> None:
        one = self._aside.get(key)
        if one is not None:
            self._drop(key)
            self._back(one.work, one.code, one.reason)

    def _drop(self, key: tuple[str, str]) -> None:
        self._aside.pop(key).timer.cancel()

    def _spawn(self, coroutine: Any) -> None:
        task: asyncio.Task[None] = asyncio.create_task(coroutine, name="consult")
        self._tasks.add(task)
        task.add_done_callback(self._on_done)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("consult_failed", error=repr(error), exc_info=error)
