"""Intake: what is delivered becomes a work that waits, an end at once, or nothing, if somebody else has it.

The path of a request: delivered ─ readable, of our tier, by the rules ─▶ held ─ not ended, not spoken by the dead ─▶ ready ─▶ waits.
What cannot be answered here in full and in time is put before the router (`consult`), and may come from there to a worker of another tier.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import cast

import structlog

from bus.errors import BadEvent, Transient, WorldbusError
from bus.event import Event
from bus.log import Log
from inference.asked import Asked
from inference.cancel import Cancel, Cancels
from inference.choosing import Choosing
from inference.clock_offset import ServerClock
from inference.consult import Consult
from inference.deadlines import MS
from inference.delivery import Delivery, Tale
from inference.holding import Holding
from inference.ladder import Ladders
from inference.outcome import Outcomes
from inference.queue import TierQueue
from inference.request import ask_of, problem_of, request_of
from inference.serving import Serving, stop
from inference.tiers import TIERS
from inference.work import Work
from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceRequested
from schemas.gen.worldbus.router.v1.router_pb2 import InferenceRouted

log = structlog.get_logger(__name__)
Prepare = Callable[[Work], Awaitable[None]]
"""An addition to a request before it waits for its turn (passages that the model is shown, say). It may change `work.ask`, must not
raise, and is cut off at the last moment at which an engine could begin."""


class Intake:
    """One worker's intake."""

    def __init__(
        self,
        serving: Serving,
        queue: TierQueue,
        holding: Holding,
        choosing: Choosing,
        cancels: Cancels,
        delivery: Delivery,
        asked: Asked,
        log_: Log,
        ladders: Ladders,
        consult: Consult,
        up: Callable[[], bool],
        late_here: Callable[[Work, int], bool],
        prepare: Prepare | None = None,
    ) -> None:
        self.serving = serving
        self.queue = queue
        self.holding = holding
        self.choosing = choosing
        self.cancels = cancels
        self.delivery = delivery
        self._asked = asked
        self._log = log_
        self._ladders = ladders
        self.consult = consult
        self._up = up
        self._late_here = late_here
        self._prepare = prepare
        self._counts = serving.metrics.counts

    @property
    def _clock(self) -> ServerClock:
        return self.serving.clock

    @property
    def _outcomes(self) -> Outcomes:
        return self.serving.outcomes

    def on_request(self, event: Event, attempt: int, reply: bytes) -> None:
        """Take one delivery. Settles it, or holds it; never waits, never raises."""
        self.choosing.wake()
        known = self.holding.held.get(event.position)
        if known is not None:
            known.ask.reply = reply  # it was silent for too long and comes again: it is still in our hands
            return
        try:
            request = request_of(event)
        except BadEvent as error:
            log.error("request_unreadable", position=event.position, error=str(error))
            self.queue.ack(reply)
            return
        if request.tier in TIERS and request.tier != self.serving.settings.tier:
            self._counts["skipped"] += 1
            self.queue.ack(reply)
            return
        self._counts["offered"] += 1
        if self.choosing.draining:
            self.queue.hand_back(reply)
        elif self._outcomes.known_ended(event, request.request_id):
            self.queue.ack(reply)
            self._say_repeated(event, request.request_id)
        elif problem := problem_of(request, event.recorded_ns, self._ladders):
            self.holding.spawn(self._refuse(event, reply, *problem))
        else:
            self._take(event, attempt, reply)

    def _say_repeated(self, event: Event, request_id: str) -> None:
        """Answer a request whose id was an earlier one's; the earlier one itself, delivered again, needs no answer."""

        def found(known: bool) -> None:
            if known:
                self.holding.spawn(self._outcomes.repeated(event, request_id))

        self._asked.look(event.world, request_id, event.position, found)

    def on_cancel(self, cancel: Cancel) -> None:
        """End a request that is held here and that a cancel names."""
        for work in list(self.holding.held.values()):
            if work.ask.world == cancel.world and _ends(cancel, work):
                work.reason = cancel.reason
                if work in self.choosing.running:
                    stop(work, "cancelled")
                elif self.choosing.waiting.remove(work) or self.consult.recall(work):
                    self.holding.spawn(self.holding.conclude(work, self.serving.cancelled(work, cancel.reason)))

    def ready(self, work: Work) -> None:
        """Let it wait for its turn, unless it has ended before it began."""
        if work not in self.holding:
            return
        ask, now = work.ask, self._clock.now_ns()
        if ask.deadline_ns <= now:
            self._conclude_expired(work, now)
        elif cancel := self.cancels.of(ask.world, ask.id, ask.request.cancel_key, ask.event.recorded_ns):
            self.holding.spawn(self.holding.conclude(work, self.serving.cancelled(work, cancel.reason)))
        elif not self._up():
            self._without_model(work, now)
        elif not self.choosing.speaks(work):
            self.degrade(work, "no_engine", f"the engine speaks by grammars, and requests of kind {ask.request.kind} have none")
        elif self.choosing.latest_ns(work) <= now:
            self.give_up(work, "too_late", f"{(ask.deadline_ns - now) // MS} ms are left, too few for any answer of the model")
        elif self._late_here(work, now) and self.consult.worth(work):
            self.consult.ask(work, "no_slot", "all slots are taken for too long")
        else:
            self.choosing.add(work)

    def give_up(self, work: Work, code: str, reason: str) -> None:
        """No model will answer it here: perhaps another tier will, else a line that needs none."""
        if self.consult.worth(work):
            self.consult.ask(work, code, reason)
        else:
            self.degrade(work, code, reason)

    def came_back(self, work: Work, code: str, reason: str) -> None:
        """No other tier takes it."""
        if self.choosing.draining:
            self.holding.hand_back(work)
        elif work in self.holding:
            self.ready(work)

    def went_away(self, work: Work) -> None:
        """Another tier has it: the log says so."""
        self._counts["routed_away"] += 1
        self.holding.settle(work)

    def degrade(self, work: Work, code: str, reason: str) -> None:
        """End it with what was heard, or with a line that needs no model."""
        self.holding.spawn(self.holding.conclude(work, self.serving.heard_or_line(work, code, reason)))

    def on_routed(self, event: Event, attempt: int, reply: bytes) -> None:
        """Take one word of the router. Settles it, or holds the request that it sends here; never waits, never raises."""
        self.choosing.wake()
        try:
            it = cast(InferenceRouted, event.data)
        except BadEvent as error:
            log.error("routing_unreadable", position=event.position, error=str(error))
            self.queue.ack(reply)
            return
        known = self.holding.held.get(it.position)
        settings = self.serving.settings
        if it.tier != settings.tier or it.tier == it.asked or not settings.played.has(it.world):
            self.queue.ack(reply)
        elif known is not None:
            known.ask.reply = reply
        elif self.choosing.draining:
            self.queue.hand_back(reply)
        else:
            self.holding.spawn(self._fetch(it, attempt, reply))

    async def _fetch(self, it: InferenceRouted, attempt: int, reply: bytes) -> None:
        """Hold the request that a word of the router is about."""
        try:
            event = await self._log.get(it.position)
            request = request_of(event)
        except Transient as error:
            log.info("routed_request_waits", request=it.request_id, error=str(error))
            self.queue.hand_back(reply)
            return
        except WorldbusError as error:
            log.error("routed_request_unreadable", request=it.request_id, error=str(error))
            self.queue.ack(reply)
            return
        if not isinstance(request, InferenceRequested) or (event.world, request.request_id) != (it.world, it.request_id):
            log.error("routed_request_unknown", request=it.request_id, position=it.position)
            self.queue.ack(reply)
        elif problem := problem_of(request, event.recorded_ns, self._ladders):
            await self._refuse(event, reply, *problem)
        elif event.position not in self.holding.held:
            self._counts["routed_here"] += 1
            self._take(event, attempt, reply, routed=True)

    def _take(self, event: Event, attempt: int, reply: bytes, *, routed: bool = False) -> None:
        ladder = self._ladders.of(request_of(event).kind)
        assert ladder is not None
        ask = ask_of(event, ladder, attempt, reply)
        fresh = asyncio.get_running_loop().create_future()
        work = Work(ask, Tale(self.delivery, ask.world, ask.id, attempt, "full", fresh=fresh), routed=routed)
        self.holding.take(work)
        self._look_back(work, fresh)
        if attempt > 1:
            self.holding.spawn(self._recover(work), work)
        else:
            self._fresh(work)

    def _look_back(self, work: Work, fresh: asyncio.Future[bool]) -> None:
        """See whether its id was another request's before; one whose id was leaves our hands without a word."""
        ask = work.ask

        def found(known: bool) -> None:
            if not fresh.done():
                fresh.set_result(not known)
            if known:
                self._counts["asked_before"] += 1
                stop(work, "lost")
                self.choosing.waiting.remove(work)
                self.consult.recall(work)
                self.holding.settle(work)
                self.holding.spawn(self._outcomes.repeated(ask.event, ask.id))

        self._asked.look(ask.world, ask.id, ask.event.position, found)

    def _fresh(self, work: Work) -> None:
        """Prepare a request of which nothing was heard so far."""
        if self._prepare is None or not work.ask.wants_passages or not self._up():
            self.ready(work)
        else:
            self.holding.spawn(self._prepared(work, self._prepare), work)

    async def _prepared(self, work: Work, prepare: Prepare) -> None:
        left = (self.choosing.latest_ns(work) - self._clock.now_ns()) / 1e9
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, left)):
                await prepare(work)
        self.ready(work)

    async def _recover(self, work: Work) -> None:
        """Take up a request that another worker held: see whether it has ended, and how much of it was heard."""
        ask = work.ask
        try:
            if await self._outcomes.ended(ask.event, ask.id):
                self.holding.settle(work)
                return
            before = await self.delivery.heard(ask.world, ask.id)
        except Transient as error:
            log.info("recovery_waits", request=ask.id, error=str(error))
            self.holding.hand_back(work)
            return
        ask.attempt = max(ask.attempt, before.attempt + 1)
        work.tale = Tale(self.delivery, ask.world, ask.id, ask.attempt, "full", before, fresh=work.tale.fresh)
        if before.chunks:
            # Nobody speaks twice, and nobody takes words back: what was heard is the answer.
            self.degrade(work, "engine_failed", "the worker that spoke was lost")
        else:
            self._fresh(work)

    def _conclude_expired(self, work: Work, now_ns: int) -> None:
        late = now_ns - work.deadline_ns
        self.holding.spawn(self.holding.conclude(work, self.serving.expired(work.ask.event, "arrival", late, work=work)))

    def _without_model(self, work: Work, now_ns: int) -> None:
        """Answer by another tier or without a model; but who has time, waits for one."""
        patience_s = self.serving.settings.patience_s
        if self.consult.worth(work):
            self.consult.ask(work, "no_engine", "no worker of the tier has a model at work")
        elif work.deadline_ns - now_ns > patience_s * 1e9:
            asyncio.get_running_loop().call_later(min(1.0, patience_s / 2), self.holding.hand_back, work)
        else:
            self.degrade(work, "no_engine", "no worker of the tier has a model at work")

    async def _refuse(self, event: Event, reply: bytes, code: str, reason: str) -> None:
        await self.serving.rejected(event, code, reason)
        self.queue.ack(reply)


def _ends(cancel: Cancel, work: Work) -> bool:
    ask = work.ask
    if cancel.request_id == ask.id:
        return True
    return bool(cancel.key) and cancel.key == ask.request.cancel_key and ask.event.recorded_ns <= cancel.at_ns
