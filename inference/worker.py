"""A worker of one tier: takes requests from the shared queue, lets the right one begin, and sees that each is answered in time.

Whoever waits is chosen by fairness and urgency; who cannot be finished in time is answered at once from a lower rung; who matters more
than what is running takes its slot. Without a model at work (none given, warming up, or broken) the worker still answers, from the rungs
that need none, and only what no worker with a model asks for.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import structlog

from bus.connection import Connection
from bus.errors import BadEvent, Transient, WorldbusError
from bus.event import Event
from bus.log import Log
from bus.publisher import Publisher
from inference.admission import Admission, Offer
from inference.cancel import Cancel, Cancels
from inference.clock_offset import ServerClock
from inference.deadlines import MS
from inference.delivery import Delivery, Tale
from inference.engine import Engine, Prompt
from inference.fairness import FairQueue
from inference.health import report
from inference.keeper import Keeper
from inference.ladder import Ladders
from inference.metrics import Metrics
from inference.outcome import Outcomes
from inference.queue import TierQueue
from inference.request import ask_of, problem_of, request_of
from inference.serving import Serving, stop
from inference.settings import WorkerSettings
from inference.tiers import TIERS
from inference.work import Why, Work

STANDBY: Final = 256
"""Requests that a worker without a model takes at once."""
MOST_PREEMPTIONS: Final = 3
CLEARLY: Final = 0.2
"""How much more salient a request must be to take the slot of another one that has just as little time."""

log = structlog.get_logger(__name__)


class Worker:
    """Made by `run_worker`."""

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
    ) -> None:
        self.settings = settings
        self.metrics = Metrics(settings.tier, settings.pool_name, settings.name)
        self.admission = Admission(settings.promise)
        self.queue = TierQueue(connection, log_.name, settings.promise, self._on_request)
        self.clock = ServerClock(self.queue.info)
        self.cancels = Cancels(connection, log_, self.clock.now_ns, self._on_cancel)
        self.delivery = Delivery(connection)
        self.outcomes = Outcomes(log_, publisher)
        self.serving = Serving(settings, engine, grammar, self.outcomes, self.clock, self.admission, self.metrics)
        self.held: dict[int, Work] = {}
        """Everything that was delivered and is not settled, by position."""
        self.running: set[Work] = set()
        self.waiting: FairQueue[Work] = FairQueue()
        self._publisher = publisher
        self._grammar = grammar
        self._ladders = ladders
        self._loop = asyncio.get_running_loop()
        self._keeper: Keeper | None = None
        if engine is not None:
            reopen_s, keep_warm_s = settings.reopen_s, settings.keep_warm_s
            self._keeper = Keeper(engine, warm=warm, reopen_s=reopen_s, keep_warm_s=keep_warm_s, changed=self._on_engine)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._services: list[asyncio.Task[Any]] = []
        self._yielding: Work | None = None
        self._draining = False
        self._woken = False

    @property
    def up(self) -> bool:
        """Whether a model is at work."""
        return self._keeper is not None and self._keeper.up

    @property
    def slots(self) -> int:
        """Generations at once."""
        return self._keeper.engine.slots if self._keeper is not None else 0

    async def open(self) -> None:
        """Measure the clock, listen for cancels, open the engine, take work."""
        await self.delivery.open()
        await self.queue.open()
        await self.clock.measure()
        await self.cancels.open()
        services: dict[str, Coroutine[Any, Any, None]] = {
            "clock": self.clock.keep(),
            "heartbeats": self._heartbeats(),
            "health": report(self, self._publisher),
        }
        if self._keeper is not None:
            services["keeper"] = self._keeper.run()
        self._services = [asyncio.create_task(service, name=f"inference-{name}") for name, service in services.items()]
        self._ask()

    async def drain(self) -> None:
        """Take nothing more, hand back what waits, let what runs end for `drain_s`, then hand it back or end it with what was heard."""
        self._draining = True
        await self.queue.stop()
        for work in self.waiting.sweep(lambda _: True):
            self._hand_back(work)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self.settings.drain_s)
        for work in list(self.running):
            stop(work, "drained")
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5.0)

    async def aclose(self) -> None:
        """Drain, and close everything."""
        await self.drain()
        for task in (*self._services, *self._tasks):
            task.cancel()
        await asyncio.gather(*self._services, *self._tasks, return_exceptions=True)
        await self.cancels.aclose()
        await self.delivery.aclose()

    # -- intake ------------------------------------------------------------------------------------------------------------------------

    def _on_request(self, event: Event, attempt: int, reply: bytes) -> None:
        self._wake()
        known = self.held.get(event.position)
        if known is not None:
            known.ask.reply = reply  # it was silent for too long and comes again: it is still in our hands
            return
        try:
            request = request_of(event)
        except BadEvent as error:
            log.error("request_unreadable", position=event.position, error=str(error))
            self.queue.ack(reply)
            return
        if request.tier in TIERS and request.tier != self.settings.tier:
            self.metrics.counts["skipped"] += 1
            self.queue.ack(reply)
            return
        self.metrics.counts["offered"] += 1
        if self._draining:
            self.queue.hand_back(reply)
        elif self.outcomes.known_ended(event, request.request_id):
            self.queue.ack(reply)
        elif problem := problem_of(request, event.recorded_ns, self._ladders):
            self._spawn(self._refuse(event, reply, *problem))
        else:
            self._take(event, attempt, reply)

    def _take(self, event: Event, attempt: int, reply: bytes) -> None:
        ladder = self._ladders.of(request_of(event).kind)
        assert ladder is not None
        ask = ask_of(event, ladder, attempt, reply)
        work = Work(ask, Tale(self.delivery, ask.world, ask.id, attempt, "full"))
        self.held[event.position] = work
        if attempt > 1:
            self._spawn(self._recover(work))
        else:
            self._enter(work)

    async def _recover(self, work: Work) -> None:
        """Somebody held it before us: see whether it has ended, and what was heard of it."""
        ask = work.ask
        try:
            if await self.outcomes.ended(ask.event, ask.id):
                self._settle(work)
                return
            before = await self.delivery.heard(ask.world, ask.id)
        except Transient as error:
            log.info("recovery_waits", request=ask.id, error=str(error))
            self._hand_back(work)
            return
        attempt = max(ask.attempt, before.attempt + 1)
        ask.attempt = attempt
        work.tale = Tale(self.delivery, ask.world, ask.id, attempt, "full", before)
        if before.chunks:
            # Nobody speaks twice, and nobody takes words back: what was heard is the answer.
            self._spawn(self._conclude(work, self.serving.heard_or_line(work, "engine_failed", "the worker that spoke was lost")))
        else:
            self._enter(work)

    def _enter(self, work: Work) -> None:
        """Let it wait for its turn, unless it has ended before it began."""
        ask, now = work.ask, self.clock.now_ns()
        if ask.deadline_ns <= now:
            self._spawn(self._conclude(work, self.serving.expired(ask.event, "arrival", now - ask.deadline_ns)))
        elif cancel := self.cancels.of(ask.world, ask.id, ask.request.cancel_key, ask.event.recorded_ns):
            self._spawn(self._conclude(work, self.serving.cancelled(work, cancel.reason)))
        elif not self.up:
            self._without_model(work, now)
        elif (latest := self._latest_ns(work)) <= now:
            self._degrade(work, "too_late", f"{(ask.deadline_ns - now) // MS} ms are left, too few for any answer of the model")
        else:
            self.waiting.add(work)
            self._watch(work, latest)
            if len(self.waiting) > self.settings.promise.look_ahead:
                self._shed()
            self._wake()

    def _latest_ns(self, work: Work) -> int:
        """The last moment at which the quickest rung of the engine could begin."""
        assert self._keeper is not None
        engine = self._keeper.engine
        least = self.admission.least_s(work.ask.ladder, work.wanted(), work.choice_chars(engine))
        reserve = self.admission.reserve_s(work.ask.ladder)
        return work.deadline_ns - int(max(min(least, 3600.0), reserve) * 1e9)

    def _watch(self, work: Work, at_ns: int) -> None:
        """Look at it again at that moment of the server's clock, whatever happens."""
        if work.timer is not None:
            work.timer.cancel()
        delay = (at_ns - self.clock.now_ns()) / 1e9
        work.timer = self._loop.call_later(max(0.0, delay), self._on_time, work)

    def _on_time(self, work: Work) -> None:
        if work in self.running:
            stop(work, "too_late")
        elif self.waiting.remove(work):
            self._degrade(work, "no_slot", "no slot became free in time")

    def _shed(self) -> None:
        work = self.waiting.greediest()
        assert work is not None
        self.waiting.remove(work)
        self._degrade(work, "no_slot", f"{len(self.waiting)} others wait, and {work.flow.player or 'the world'} has most of them")

    def _degrade(self, work: Work, code: str, reason: str) -> None:
        self._spawn(self._conclude(work, self.serving.heard_or_line(work, code, reason)))

    def _without_model(self, work: Work, now_ns: int) -> None:
        """Answer without a model; but who has time, waits for one."""
        if self._patient(work, now_ns):
            self._loop.call_later(min(1.0, self.settings.patience_s / 2), self._hand_back, work)
        else:
            self._degrade(work, "no_engine", "no worker of the tier has a model at work")

    def _patient(self, work: Work, now_ns: int) -> bool:
        return work.deadline_ns - now_ns > self.settings.patience_s * 1e9

    # -- choosing ----------------------------------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        """Look who is next, once per turn of the event loop."""
        if not self._woken:
            self._woken = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._woken = False
        while self.up and self.waiting and len(self.running) < self.slots and not self._draining:
            self._begin_next()
        if self.up and self.waiting and not self._draining:
            self._make_room()
        self._ask()

    def _begin_next(self) -> None:
        assert self._keeper is not None
        now = self.clock.now_ns()
        work = self.waiting.take(now)
        assert work is not None
        engine = self._keeper.engine
        offer = self.admission.offer(work.ask.ladder, work.wanted(), work.choice_chars(engine), (work.deadline_ns - now) / 1e9)
        if offer is None:
            left = (work.deadline_ns - now) // MS
            self._degrade(work, "too_late", f"{left} ms are left, too few for any answer of {engine.model}")
            return
        work.code = "preempted" if work.preemptions else "too_late"
        self.running.add(work)
        self._watch(work, work.deadline_ns - int(self.admission.reserve_s(work.ask.ladder) * 1e9))
        self._keeper.used()
        self._spawn(self._serve(work, offer))
        if not work.began_at:
            work.rung = offer.rung.name
            self._spawn(self.serving.started(work))

    def _make_room(self) -> None:
        """Stop the least important generation if who is next matters clearly more, or could not begin in time otherwise."""
        if self._yielding is not None and self._yielding in self.running:
            return
        now = self.clock.now_ns()
        candidate = self.waiting.peek(now)
        victims = [work for work in self.running if self._may_yield(work)]
        if candidate is None or not victims:
            return
        victim = min(victims, key=lambda work: (work.salience, -work.deadline_ns))
        greedy = self._greedy(victims, candidate)
        if greedy is not None:
            self._yielding = greedy
            stop(greedy, "preempted")
        elif victim.salience + CLEARLY <= candidate.salience or (
            victim.salience <= candidate.salience and self._pressed(candidate, now) and self._relaxed(victim, candidate, now)
        ):
            self._yielding = victim
            stop(victim, "preempted")

    def _greedy(self, victims: Sequence[Work], candidate: Work) -> Work | None:
        """A generation of a player who holds several slots, when who is next holds none and matters as much."""
        slots = Counter(work.flow for work in self.running)
        if slots[candidate.flow]:
            return None
        held = [work for work in victims if slots[work.flow] > 1 and work.salience <= candidate.salience]
        return max(held, key=lambda work: (slots[work.flow], work.deadline_ns), default=None)

    def _may_yield(self, work: Work) -> bool:
        assert self._keeper is not None
        if work.generating is None or work.stopped is not None or work.preemptions >= MOST_PREEMPTIONS:
            return False
        return not work.tale.started or (self._keeper.engine.abilities.resume and not work.shaped)

    def _pressed(self, work: Work, now_ns: int) -> bool:
        """Whether it would lose a rung if it waited for the next slot to become free by itself."""
        step = self.admission.per_token.cautious
        free_in = min((max(0, one.allowed - one.kept) * step for one in self.running), default=0.0)
        return now_ns + int(free_in * 1e9) > self._latest_ns(work)

    def _relaxed(self, victim: Work, candidate: Work, now_ns: int) -> bool:
        """Whether it can wait for the other one and still be whole."""
        seconds = self.admission.seconds(candidate.wanted()) + 2 * self.admission.seconds(victim.wanted())
        return now_ns + int((seconds + self.admission.reserve_s(victim.ask.ladder)) * 1e9) < victim.deadline_ns

    def _ask(self) -> None:
        if self._draining:
            return
        if self.up:
            room = self.settings.promise.look_ahead - len(self.waiting)
            self.queue.want(max(0, self.slots - len(self.running) - len(self.waiting)), max(room, 1), 0)
        else:
            self.queue.want(0, 0, max(1, STANDBY - len(self.held)))

    # -- serving -----------------------------------------------------------------------------------------------------------------------

    async def _serve(self, work: Work, offer: Offer) -> None:
        try:
            why = await self.serving.generate(work, offer)
        finally:
            self.running.discard(work)
            self._wake()
        if why == "preempted":
            self._wait_again(work)
        elif why == "overloaded":
            self._loop.call_later(0.005, self._wait_again, work)
        elif why == "lost":
            self._forget(work)
        elif why == "failed":
            self._on_failure(work)
        elif why == "drained" and not work.tale.started:
            self._hand_back(work)
        else:
            await self._conclude(work, self._end_of(work, why))

    def _end_of(self, work: Work, why: Why) -> Coroutine[Any, Any, bool]:
        match why:
            case "ended":
                return self.serving.whole(work)
            case "cancelled":
                return self.serving.cancelled(work, work.reason)
            case "refused":
                assert work.refusal is not None
                return self.serving.rejected(work.ask.event, work.refusal.code, str(work.refusal))
            case "drained":
                return self.serving.heard_or_line(work, "preempted", "the worker was told to stop")
            case _:
                return self.serving.heard_or_line(work, "too_late", "the deadline came before the answer's end")

    def _wait_again(self, work: Work) -> None:
        work.preemptions += work.stopped == "preempted"
        self.metrics.counts["preempted"] += work.stopped == "preempted"
        work.stopped = None
        if work.ask.event.position in self.held:
            self._enter(work)

    def _on_failure(self, work: Work) -> None:
        assert self._keeper is not None
        self._keeper.fail(work.reason)
        if work.tale.started:
            self._degrade(work, "engine_failed", work.reason)
        else:
            self._hand_back(work)

    def _on_engine(self) -> None:
        """The engine came up or went down. Who waits for it is handed back: to a worker whose engine is up, or to our own lower rungs."""
        if self.up or self._draining:
            self._ask()
        else:
            self._spawn(self._stand_back())

    async def _stand_back(self) -> None:
        """Withdraw first, or what is handed back would come back to us although another worker of the tier is well."""
        waiting = self.waiting.sweep(lambda _: True)
        try:
            await self.queue.withdraw()
        except WorldbusError as error:
            log.debug("withdraw_failed", error=str(error))
        for work in waiting:
            self._hand_back(work)
        self._ask()

    def _on_cancel(self, cancel: Cancel) -> None:
        for work in list(self.held.values()):
            ask = work.ask
            if ask.world == cancel.world and self._ends(cancel, work):
                work.reason = cancel.reason
                if work in self.running:
                    stop(work, "cancelled")
                elif self.waiting.remove(work):
                    self._spawn(self._conclude(work, self.serving.cancelled(work, cancel.reason)))

    def _ends(self, cancel: Cancel, work: Work) -> bool:
        ask = work.ask
        if cancel.request_id == ask.id:
            return True
        return bool(cancel.key) and cancel.key == ask.request.cancel_key and ask.event.recorded_ns <= cancel.at_ns

    # -- settling ----------------------------------------------------------------------------------------------------------------------

    async def _refuse(self, event: Event, reply: bytes, code: str, reason: str) -> None:
        await self.serving.rejected(event, code, reason)
        self.queue.ack(reply)

    async def _conclude(self, work: Work, end: Coroutine[Any, Any, bool]) -> None:
        """See an end into the log, then settle; without an end of ours somebody else speaks, and the queue will ask again if they die."""
        if await end:
            self._settle(work)
        else:
            self._forget(work)

    def _settle(self, work: Work) -> None:
        self.queue.ack(work.ask.reply)
        self._drop(work)

    def _hand_back(self, work: Work) -> None:
        if work.ask.event.position in self.held:
            self.metrics.counts["handed_back"] += 1
            self.queue.hand_back(work.ask.reply)
            self._drop(work)

    def _forget(self, work: Work) -> None:
        """Let it come again when it is due: whoever speaks it may die."""
        self.metrics.counts["lost"] += 1
        self._drop(work)

    def _drop(self, work: Work) -> None:
        self.held.pop(work.ask.event.position, None)
        if work.timer is not None:
            work.timer.cancel()
        self._wake()

    def _spawn(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._on_done)

    def _on_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("request_failed", error=repr(error), exc_info=error)

    async def _heartbeats(self) -> None:
        """Tell the queue that what we hold is still in work."""
        while True:
            await asyncio.sleep(self.settings.promise.ack_wait_s / 4)
            for work in self.held.values():
                self.queue.working(work.ask.reply)


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
) -> AsyncIterator[Worker]:
    """Run one worker for the block; leaving it drains. Without `engine` it answers what no model asks for, from the lower rungs.

    `engine` is opened and kept by the worker; `grammar` is open already, and may serve several workers.
    """
    async with AsyncExitStack() as stack:
        worker = Worker(connection, log_, publisher, ladders, settings, engine, grammar, warm)
        stack.push_async_callback(worker.aclose)
        await worker.open()
        yield worker
