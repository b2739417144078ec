"""Serving one request: generate, speak, and say its end. Every path leads to one end in the log, or to handing the request back.

generate ─ ended ──────▶ Completed (rung full) │ Degraded (shorter, choice)
         ─ too late ───▶ Degraded: what was heard, or a line without a model
         ─ cancelled ──▶ Cancelled, with what was heard
         ─ broken ─────▶ Degraded: what was heard, or a line without a model; nobody else notices
         ─ failed ─────▶ the engine is down: what was heard, or handed back
         ─ preempted ──▶ waits again, and goes on behind what it has
         ─ lost ───────▶ nothing: another worker speaks this answer
"""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from typing import Any, Final

import structlog
from google.protobuf.message import Message

from bus.errors import Rejected
from bus.event import Event
from inference import lower_rungs
from inference.admission import Admission, Offer
from inference.clock_offset import ServerClock
from inference.deadlines import MS
from inference.dressing import fits, spoken_of
from inference.engine import Chunk, Engine
from inference.errors import AnswerFailed, AnswerRefused, EngineFailed, EngineOverloaded, PromptRejected
from inference.ladder import ENGINE_RUNGS
from inference.metrics import Metrics
from inference.outcome import Outcomes
from inference.request import who_of
from inference.settings import WorkerSettings
from inference.work import Why, Work
from schemas.gen.worldbus.inference.v1 import inference_pb2 as said
from schemas.gen.worldbus.inference.v1.types_pb2 import Measured

MAX_REASON: Final = 256

log = structlog.get_logger(__name__)


class Serving:
    """The way in which this worker answers. Holds no requests: the worker does."""

    def __init__(
        self,
        settings: WorkerSettings,
        engine: Engine | None,
        grammar: Engine | None,
        outcomes: Outcomes,
        clock: ServerClock,
        admission: Admission,
        metrics: Metrics,
    ) -> None:
        self.settings = settings
        self.engine = engine
        self.grammar = grammar
        self.outcomes = outcomes
        self.clock = clock
        self.admission = admission
        self.metrics = metrics

    # -- generating --------------------------------------------------------------------------------------------------------------------

    async def generate(self, work: Work, offer: Offer) -> Why:
        """Run the engine until the answer is whole or somebody stops it; says which."""
        engine = self.engine
        assert engine is not None
        work.generating = asyncio.current_task()
        try:
            prompt = work.prepare(offer, engine)
            work.called_ns = work.called_ns or self.clock.now_ns()
            if work.stopped is not None:
                return work.stopped
            if self.clock.now_ns() >= work.deadline_ns:
                return "too_late"
            self._begin(work)
            async with aclosing(engine.generate(prompt)) as chunks:
                async for chunk in chunks:
                    if self._take(work, chunk):
                        return "ended"
                    if work.tale.lost:
                        return "lost"
                    if self.clock.now_ns() >= work.deadline_ns:
                        return "too_late"
            raise EngineFailed(f"engine {engine.name} ended without an end")
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if work.stopped is None or task is None or task.uncancel() > 0:
                raise
            return work.stopped
        except EngineOverloaded as error:
            work.again_after_s = error.retry_after_s
            return "overloaded"
        except EngineFailed as error:
            work.reason = str(error)[:MAX_REASON]
            return "filtered" if isinstance(error, AnswerRefused) else "broken" if isinstance(error, AnswerFailed) else "failed"
        except PromptRejected as error:
            if work.ask.passages:
                work.without_passages()
                return "overloaded"  # at once again, as it would have been asked without a knowledge base
            work.refusal = error
            return "refused"
        finally:
            work.generating = None
            if work.stopped is not None:
                self.metrics.observe("stop", time.perf_counter() - work.stopped_at)

    def _begin(self, work: Work) -> None:
        now = time.perf_counter()
        work.first_token_at = 0.0
        if not work.began_at:
            work.began_at = now
            self.metrics.observe("queue", max(0.0, (work.called_ns - work.ask.event.recorded_ns) / 1e9))
        self.metrics.counts["began"] += 1
        work.last_token_at = now

    def _take(self, work: Work, chunk: Chunk) -> bool:
        """Take one chunk of the engine in; whether it was the last one."""
        now = time.perf_counter()
        if chunk.tokens:
            if not work.first_token_at:
                work.first_token_at = now
                self.admission.first_token.learn(now - work.last_token_at)
                self.metrics.observe("first_token", now - work.last_token_at)
            else:
                step = (now - work.last_token_at) / chunk.tokens
                self.admission.per_token.learn(step)
                self.metrics.observe("per_token", step)
            work.last_token_at = now
        if chunk.anew:
            work.begin_again()
        work.tokens += chunk.tokens
        work.kept += chunk.tokens
        work.texts.append(chunk.text)
        work.ids.extend(chunk.token_ids)
        assert work.voice is not None
        if speakable := work.voice.feed(chunk.text, now):
            self._speak(work, speakable)
        work.end = chunk.end or work.end
        return chunk.end is not None

    def _speak(self, work: Work, text: str) -> None:
        if not work.first_chunk_at:
            work.first_chunk_at = time.perf_counter()
            self.metrics.observe("first_chunk", work.first_chunk_at - work.began_at)
        work.tale.say(text, work.kept)

    # -- ends --------------------------------------------------------------------------------------------------------------------------

    async def whole(self, work: Work) -> bool:
        """The engine came to its own end; whether the request's end is in the log."""
        assert work.voice is not None
        assert work.end is not None
        request = work.ask.request
        narrow = work.rung == "choice"
        answer = work.answer()
        if not fits(answer, request.json_schema, request.choices):
            self.metrics.counts["failures"] += 1
            reason = f"the engine answered {ascii(work.text)[:120]}, which is not what was asked for"
            return await self._salvaged(work, reason)
        if rest := spoken_of(answer, request.json_schema, work.ask.speakable) if narrow else work.voice.finish():
            self._speak(work, rest)
        work.tale.say("", last=True)
        if not await work.tale.flush():
            return False
        late = self.clock.now_ns() - work.deadline_ns
        if late > 0:
            return await self._ended_late(work, late)
        if work.rung == "full":
            message: Message = said.InferenceCompleted(
                **self._who(work),
                text=answer,
                rung="full",
                **self._where(work),
                finish=work.end.finish,
                measured=self._took(work),
                citations=work.citations(),
            )
            return await self._end(work, message, "completed")
        reason = f"the {work.rung} answer was what fitted into the time"
        return await self._degraded(work, answer, work.rung, work.code, reason, self.engine)

    async def _salvaged(self, work: Work, reason: str) -> bool:
        """End with the words of an answer that is wrong in something else; if it has none, with a line that needs no model."""
        words = work.words()
        if not words:
            return await self.heard_or_line(work, "bad_answer", reason)
        assert work.voice is not None
        work.tale.say(work.voice.finish(), last=True)
        if not await work.tale.flush():
            return False
        if not work.tale.delivered:
            return await self.heard_or_line(work, "bad_answer", reason)
        if (late := self.clock.now_ns() - work.deadline_ns) > 0:
            return await self._ended_late(work, late)
        return await self._degraded(work, work.in_shape(words), "shorter", "bad_answer", reason, self.engine)

    async def _ended_late(self, work: Work, late_ns: int) -> bool:
        if work.tale.delivered:
            reason = f"what was heard ended {late_ns // MS} ms behind the deadline"
            return await self._degraded(work, work.in_shape(work.tale.delivered), "shorter", "too_late", reason, self.engine)
        return await self.expired(work.ask.event, "publish", late_ns, self._took(work), work)

    async def heard_or_line(self, work: Work, code: str, reason: str) -> bool:
        """End with what was heard; if that is nothing, with a line that needs no model."""
        tale = work.tale
        tale.hush()
        if not await tale.flush():
            return False
        if tale.delivered:
            tale.say("", last=True)
            if not await tale.flush():
                return False
            return await self._degraded(work, work.in_shape(tale.delivered), "shorter", code, reason, self.engine)
        late = self.clock.now_ns() - work.deadline_ns
        if late > 0:
            return await self.expired(work.ask.event, "engine" if work.tokens else "queue", late, self._took(work), work)
        answer = await lower_rungs.line(work, self.grammar)
        work.first_chunk_at = work.first_chunk_at or time.perf_counter()
        tale.rung = answer.rung
        tale.say(answer.spoken, last=True)
        if not await tale.flush():
            return False
        return await self._degraded(work, answer.text, answer.rung, code, reason, self.engine if work.tokens else None)

    async def cancelled(self, work: Work, reason: str) -> bool:
        """End with exactly what was heard."""
        work.tale.hush()
        await work.tale.flush()
        if work.tale.delivered:
            work.tale.say("", last=True)
        if not await work.tale.flush():
            return False
        message = said.InferenceCancelled(
            **self._who(work),
            spoken=work.tale.delivered,
            reason=reason,
            tier=self.settings.tier,
            measured=self._took(work),
            citations=work.citations() if work.tale.delivered else (),
        )
        return await self._end(work, message, "cancelled")

    async def expired(self, event: Event, stage: str, late_ns: int, took: Measured | None = None, work: Work | None = None) -> bool:
        """End without a word: the deadline has passed. With `work`, it is made sure first that nobody speaks; False if somebody did."""
        if work is not None:
            work.tale.rung = ""
            work.tale.say("", last=True)
            if not await work.tale.flush():
                return False
        message = said.InferenceExpired(
            **who_of(event), stage=stage, late_ms=max(0, late_ns // MS), tier=self.settings.tier, measured=took or self._nothing()
        )
        return await self._end_event(event, message, "expired", work)

    async def rejected(self, event: Event, code: str, reason: str) -> bool:
        """End because the request is wrong."""
        return await self._end_event(event, said.InferenceRejected(**who_of(event), code=code, reason=reason[:1024]), "rejected")

    async def started(self, work: Work) -> None:
        """Say that it began; if the log holds its end already, stop."""
        engine = self.engine
        assert engine is not None
        message = said.InferenceStarted(
            request_id=work.ask.id,
            requester_subsystem=work.ask.event.subsystem,
            requester_entity=work.ask.event.entity,
            attempt=work.ask.attempt,
            tier=self.settings.tier,
            pool=self.settings.pool_name,
            rung=work.rung,
            model=engine.model,
            engine=engine.name,
            worker=self.settings.name,
            deadline_ms=work.deadline_ns // MS,
        )
        if not await self.outcomes.started(work.ask.event, message):
            stop(work, "lost")

    # -- words -------------------------------------------------------------------------------------------------------------------------

    async def _degraded(self, work: Work, text: str, rung: str, code: str, reason: str, engine: Engine | None) -> bool:
        message = said.InferenceDegraded(
            **self._who(work),
            text=text,
            rung=rung,
            code=code,
            reason=reason[:MAX_REASON],
            **self._where(work),
            measured=self._took(work, engine=engine),
            citations=work.citations(),
        )
        return await self._end(work, message, "degraded", rung)

    async def _end(self, work: Work, message: Message, what: str, rung: str = "") -> bool:
        if what in ("completed", "degraded"):
            self.metrics.rungs[rung or work.rung] += 1
            in_time = self.clock.now_ns() <= work.deadline_ns
            self.metrics.counts["spoken"] += in_time
            self.metrics.counts["attained"] += in_time and (rung or work.rung) in ENGINE_RUNGS
        return await self._end_event(work.ask.event, message, what, work)

    async def _end_event(self, event: Event, message: Message, what: str, work: Work | None = None) -> bool:
        began = time.perf_counter()
        try:
            ours = await self.outcomes.end(event, message)
        except Rejected as error:
            log.error("end_refused", what=what, error=str(error))
            reason = ascii(f"its answer cannot be recorded: {error}")[:MAX_REASON]
            what, sorry = "rejected", said.InferenceRejected(**who_of(event), code="BAD_PROMPT", reason=reason)
            ours = await self.outcomes.end(event, sorry)
        seconds = time.perf_counter() - began
        self.admission.record.learn(seconds)
        self.metrics.observe("record", seconds)
        self.metrics.counts[what if ours else "ended_elsewhere"] += 1
        if work is not None:
            self.metrics.tokens["completion"] += work.tokens
            self.metrics.tokens["prompt"] += work.end.prompt_tokens if work.end else 0
            if work.began_at:
                self.metrics.observe("total", time.perf_counter() - work.began_at)
        return True

    def _who(self, work: Work) -> dict[str, Any]:
        return who_of(work.ask.event)

    def _where(self, work: Work) -> dict[str, Any]:
        return {
            "tier": self.settings.tier,
            "pool": self.settings.pool_name,
            "attempt": work.ask.attempt,
            "seed": work.ask.request.seed,
        }

    def _took(self, work: Work, *, engine: Engine | None = None) -> Measured:
        called = engine or (self.engine if work.called_ns else None)
        prices = self.settings.prompt_nano_usd, self.settings.completion_nano_usd
        recorded, bound = work.ask.event.recorded_ns, self.clock.bound_ns()
        return work.measured(called, self.settings.name, recorded_ns=recorded, bound_ns=bound, prices=prices)

    def _nothing(self) -> Measured:
        return Measured(worker=self.settings.name, clock_offset_us=self.clock.bound_ns() // 1000)


def stop(work: Work, why: Why) -> None:
    """Stop a running generation within one step of the engine."""
    if work.stopped is None:
        work.stopped = why
        work.stopped_at = time.perf_counter()
        if work.generating is not None:
            work.generating.cancel()
