"""A worker of one tier: takes requests from the shared queue, lets the right one begin, and sees that each is answered in time.

Whoever waits is chosen by fairness and urgency (`choosing`); who cannot be finished in time is answered at once from a lower rung; who
matters more than what is running takes its slot. Without a model at work (none given, warming up, or broken) the worker still answers, from
the rungs that need none, and only what no worker with a model asks for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, Final

import structlog

from bus.api import START_S, retried
from bus.connection import Connection
from bus.errors import WorldbusError
from bus.event import Event
from bus.log import Log
from bus.publisher import Publisher
from inference.admission import Admission, Offer
from inference.asked import Asked
from inference.cancel import Cancel, Cancels
from inference.choosing import Choosing
from inference.clock_offset import ServerClock
from inference.consult import Consult
from inference.delivery import Delivery
from inference.engine import Engine, Prompt
from inference.fairness import FairQueue
from inference.health import report
from inference.holding import Holding
from inference.intake import Intake, Prepare
from inference.keeper import Keeper
from inference.ladder import Ladders
from inference.metrics import Metrics
from inference.outcome import Outcomes
from inference.queue import TierQueue
from inference.serving import Serving, stop
from inference.settings import WorkerSettings
from inference.standing import late_here, stands
from inference.vitals import Vitals
from inference.work import Why, Work

OVERFLOW: Final = 32
"""Requests that a worker which is full takes at once, beside those without a model, to answer them or others from the ladder: what stays in
the queue is answered by nobody."""
AGAIN_S, MOST_AGAIN_S = 0.005, 1.0
"""Pause before a request that found no room asks again, where the engine did not say when there will be some."""
STANDBY: Final = 256
"""Requests that a worker without a model takes at once."""

log = structlog.get_logger(__name__)


class Worker:
    """Made by `run_worker`. Wires the parts of one worker, and runs what was chosen."""

    def __init__(
        self,
        connection: Connection,
        log_: Log,
        publisher: Publisher,
        ladders: Ladders,
        settings: WorkerSettings,
        engine: Engine | None = None,
        grammar: Engine | None = None,
        warm: Sequence[Prompt] = (),
        prepare: Prepare | None = None,
        vitals: Vitals | None = None,
    ) -> None:
        self.settings = settings
        self.metrics = Metrics(settings.tier, settings.pool_name, settings.series_name)
        self.admission = Admission(settings.promise)
        self.vitals = Vitals(connection, settings.played) if vitals is None else vitals
        self._own_vitals = vitals is None
        queue = connection, log_.name, settings.promise
        self.queue = TierQueue(*queue, self._on_request, played=settings.played)
        self.routed = TierQueue(*queue, self._on_routed, routed=True, played=settings.played)
        self.clock = ServerClock(self.queue.info)
        self.cancels = Cancels(connection, log_, self.clock.now_ns, self._on_cancel)
        self.delivery = Delivery(connection)
        self.asked = Asked(connection)
        self.outcomes = Outcomes(log_, publisher)
        self.serving = Serving(settings, engine, grammar, self.outcomes, self.clock, self.admission, self.metrics)
        self.choosing = Choosing(self, self.admission, self.clock, settings.promise.look_ahead)
        self.holding = Holding(self.queue, self.asked, self.metrics, self.choosing.wake)
        asking = connection, log_, publisher, settings, self.vitals, self.clock, self.admission
        self.consult = Consult(*asking, back=self._came_back, gone=self._went_away)
        parts = self.serving, self.queue, self.holding, self.choosing, self.cancels, self.delivery
        self.intake = Intake(*parts, self.asked, log_, ladders, self.consult, lambda: self.up, partial(late_here, self), prepare)
        self._publisher = publisher
        self._loop = asyncio.get_running_loop()
        self._keeper: Keeper | None = None
        if engine is not None:
            remote = engine.abilities.remote
            warm, keep_warm_s = warm[: settings.warms_up(len(warm), remote=remote)], settings.keeps_warm_s(remote=remote)
            self._keeper = Keeper(engine, warm=warm, reopen_s=settings.reopen_s, keep_warm_s=keep_warm_s, changed=self._on_engine)
        self.changed = asyncio.Event()
        """The engine came up or went down since the last report."""
        self._services: list[asyncio.Task[Any]] = []

    @property
    def up(self) -> bool:
        """True if a model is at work."""
        return self._keeper is not None and self._keeper.up

    @property
    def engine(self) -> Engine | None:
        """The engine, if it is up."""
        return self._keeper.engine if self._keeper is not None and self._keeper.up else None

    @property
    def slots(self) -> int:
        """Generations at once."""
        return self._keeper.engine.slots if self._keeper is not None else 0

    @property
    def held(self) -> dict[int, Work]:
        """The requests that were delivered and are not settled, by position."""
        return self.holding.held

    @property
    def running(self) -> set[Work]:
        """The requests that have a slot."""
        return self.choosing.running

    @property
    def waiting(self) -> FairQueue[Work]:
        """The requests that wait for a slot."""
        return self.choosing.waiting

    async def open(self) -> None:
        """Measure the clock, listen for cancels, open the engine, take work."""
        await self.delivery.open()
        await self.asked.open()
        if self._own_vitals:
            await self.vitals.open()
        await self.queue.open()
        await self.routed.open()
        await retried(self.clock.measure, START_S)
        await self.cancels.open()
        await self.consult.open()
        services: dict[str, Coroutine[Any, Any, None]] = {
            "clock": self.clock.keep(),
            "heartbeats": self._heartbeats(),
            "health": report(self, self._publisher),
        }
        if self._keeper is not None:
            services["keeper"] = self._keeper.run()
            services["vitals"] = self.vitals.keep_telling(lambda: stands(self))
        self._services = [asyncio.create_task(service, name=f"inference-{name}") for name, service in services.items()]
        self.looked()

    async def drain(self) -> None:
        """Take nothing more, hand back what waits, let what runs end for `drain_s`, then hand it back or end it with what was heard."""
        self.choosing.draining = True
        await self.queue.stop()
        await self.routed.stop()
        for work in (*self.waiting.sweep(lambda _: True), *self.consult.recall_all()):
            self.holding.hand_back(work)
        tasks = self.holding.tasks
        if tasks:
            await asyncio.wait(tasks, timeout=self.settings.drain_s)
        for work in list(self.running):
            stop(work, "drained")
        if tasks:
            await asyncio.wait(tasks, timeout=5.0)

    async def aclose(self) -> None:
        """Drain, and close everything."""
        await self.drain()
        tasks = (*self._services, *self.holding.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._keeper is not None:
            self.vitals.tell(stands(self, leaving=True))
        if self._own_vitals:
            await self.vitals.aclose()
        await self.consult.aclose()
        await self.cancels.aclose()
        await self.asked.aclose()
        await self.delivery.aclose()

    def _on_request(self, event: Event, attempt: int, reply: bytes) -> None:
        self.intake.on_request(event, attempt, reply)

    def _on_routed(self, event: Event, attempt: int, reply: bytes) -> None:
        self.intake.on_routed(event, attempt, reply)

    def _came_back(self, work: Work, code: str, reason: str) -> None:
        self.intake.came_back(work, code, reason)

    def _went_away(self, work: Work) -> None:
        self.intake.went_away(work)

    def _on_cancel(self, cancel: Cancel) -> None:
        self.intake.on_cancel(cancel)

    # -- what was chosen ---------------------------------------------------------------------------------------------------------------

    def begin(self, work: Work, offer: Offer) -> None:
        """Generate for a request that has a slot."""
        assert self._keeper is not None
        self._keeper.used()
        self.holding.spawn(self._serve(work, offer), work)
        if not work.began_at:
            work.rung = offer.rung.name
            self.holding.spawn(self._say_started(work))

    def give_up(self, work: Work, code: str, reason: str) -> None:
        """No model will answer it here."""
        self.intake.give_up(work, code, reason)

    def looked(self) -> None:
        """Ask the queue for what there is room for."""
        if self.choosing.draining:
            return
        if self.up:
            room = self.settings.promise.look_ahead - len(self.waiting)
            wanted = max(0, self.slots - len(self.running) - len(self.waiting)), max(0, room), 0 if room > 0 else OVERFLOW
        else:
            wanted = 0, 0, max(1, STANDBY - len(self.held))
        self.queue.want(*wanted)
        self.routed.want(*wanted)

    async def _say_started(self, work: Work) -> None:
        if await work.is_fresh():
            await self.serving.started(work)

    async def _serve(self, work: Work, offer: Offer) -> None:
        try:
            why = await self.serving.generate(work, offer)
        finally:
            self.choosing.left(work)
        assert self._keeper is not None
        if why == "ended":
            self._keeper.proved()
        elif why in ("broken", "refused"):
            self.metrics.counts["failures"] += 1
            if why == "broken" or self._may_refuse_all(work):
                self._keeper.suspect(work.ask.id, work.reason or str(work.refusal))
        if why == "preempted":
            self._wait_again(work)
        elif why == "overloaded":
            self._no_room(work)
        elif why == "lost":
            self.holding.forget(work)
        elif why == "failed":
            self._on_failure(work)
        elif why == "drained" and not work.tale.started:
            self.holding.hand_back(work)
        else:
            await self.holding.conclude(work, self._end_of(work, why))

    def _may_refuse_all(self, work: Work) -> bool:
        """True if a refusal may be a sign of an endpoint that takes nothing any more. Our own engines refuse what is in the prompt."""
        assert self._keeper is not None
        too_long = work.refusal is not None and work.refusal.code == "PROMPT_TOO_LONG"
        return self._keeper.engine.abilities.remote and not too_long

    def _end_of(self, work: Work, why: Why) -> Coroutine[Any, Any, bool]:
        match why:
            case "ended":
                return self.serving.whole(work)
            case "cancelled":
                return self.serving.cancelled(work, work.reason)
            case "refused":
                return self.serving.heard_or_line(work, "refused", str(work.refusal))
            case "filtered":
                return self.serving.heard_or_line(work, "refused_by_model", work.reason)
            case "broken":
                return self.serving.heard_or_line(work, "engine_failed", work.reason)
            case "drained":
                return self.serving.heard_or_line(work, "preempted", "the worker was told to stop")
            case _:
                return self.serving.heard_or_line(work, "too_late", "the deadline came before the answer's end")

    def _no_room(self, work: Work) -> None:
        """Wait with a request for which the engine has no room now; where it said for how long, nothing is asked of it before that."""
        work.turned_away += 1
        if self.engine is not None and self.engine.abilities.remote:
            self.choosing.rest(work.again_after_s or pause_s(work.turned_away))
        self._loop.call_later(AGAIN_S, self._wait_again, work)

    def _wait_again(self, work: Work) -> None:
        work.preemptions += work.stopped == "preempted"
        self.metrics.counts["preempted"] += work.stopped == "preempted"
        work.stopped = None
        if work in self.holding:
            self.intake.ready(work)

    # -- the engine --------------------------------------------------------------------------------------------------------------------

    def _on_failure(self, work: Work) -> None:
        assert self._keeper is not None
        self._keeper.fail(work.reason)
        self.metrics.counts["failures"] += 1
        if work.tale.started:
            self.intake.degrade(work, "engine_failed", work.reason)
        else:
            self.metrics.counts["failed_back"] += 1
            self.holding.hand_back(work)

    def _on_engine(self) -> None:
        """The engine came up or went down. Who waits for it is handed back: to a worker whose engine is up, or to our own lower rungs."""
        self.changed.set()
        if self.up or self.choosing.draining:
            self.looked()
        else:
            self.holding.spawn(self._stand_back())

    async def _stand_back(self) -> None:
        """Withdraw first, or what is handed back would come back to us although another worker of the tier is well."""
        waiting = self.waiting.sweep(lambda _: True)
        try:
            await self.queue.withdraw()
            await self.routed.withdraw()
        except WorldbusError as error:
            log.debug("withdraw_failed", error=str(error))
        for work in waiting:
            self.holding.hand_back(work)
        self.looked()

    async def _heartbeats(self) -> None:
        """Tell the queue that what we hold is still in work."""
        while True:
            await asyncio.sleep(self.settings.promise.ack_wait_s / 4)
            self.holding.heartbeat()


def pause_s(turned_away: int) -> float:
    """The pause that is left to an engine which had no room so often: it doubles each time, up to a second."""
    return min(AGAIN_S * 2.0 ** min(turned_away, 10), MOST_AGAIN_S)  # a request may wait for a day, and 2.0**1024 is no number


@asynccontextmanager
async def run_worker(
    connection: Connection,
    log_: Log,
    publisher: Publisher,
    ladders: Ladders,
    settings: WorkerSettings,
    *,
    engine: Engine | None = None,
    grammar: Engine | None = None,
    warm: Sequence[Prompt] = (),
    prepare: Prepare | None = None,
    vitals: Vitals | None = None,
) -> AsyncIterator[Worker]:
    """Run one worker for the block; leaving it drains. Without `engine` it answers what no model asks for, from the lower rungs.

    `engine` is opened and kept by the worker; `grammar` is open already, and may serve several workers. `prepare` adds to each request
    what an engine needs to know, while it waits (`inference.intake.Prepare`). `vitals` is open, and may be shared by the workers of a
    process.
    """
    async with AsyncExitStack() as stack:
        worker = Worker(connection, log_, publisher, ladders, settings, engine, grammar, warm, prepare, vitals)
        stack.push_async_callback(worker.aclose)
        await worker.open()
        yield worker
