"""The guardian: knows every open request, and answers from the ladder what its worker can no longer answer.

A worker that is killed takes its requests with it until the queue gives them to another one, after `ack_wait`; a deadline may be shorter
than that. The guardian hears requests, beginnings and ends as they are said, and looks at each request that is still open shortly before
its deadline: what a lost worker has, or may have, is ended with what was heard, or with a line; what nobody has begun gets a line when no
engine could begin it any more; and whatever is open at the last moment gets one too.

It speaks and ends under the same fences as every worker, so being wrong about a death costs an answer's rest, and never makes a second
voice or a second end. Several guardians may watch the same requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar, cast

import structlog

from bus.connection import Connection, Listener
from bus.errors import BadEvent, WorldbusError
from bus.event import Event
from bus.log import Log
from bus.subjects import Subject, stored_filter
from inference.admission import Lag
from inference.deadlines import MS, deadline_of
from inference.delivery import Heard, Tale
from inference.ladder import Ladder, Ladders
from inference.lateness import Lateness
from inference.outcome import EDGE, ENDS
from inference.recorded import recorded
from inference.request import Ask, problem_of, request_of
from inference.vain_cancels import NAME as CANCEL
from inference.vain_cancels import VainCancels
from inference.vitals import Vitals
from inference.work import Work
from inference.worker import Worker
from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceRequested, InferenceStarted

NAME: Final = InferenceRequested.DESCRIPTOR.name
LOST_NS: Final = 60 * MS
"""Before the deadline: what a lost worker has, or may have, is ended. What else is open then is looked up in the log, to be ready."""
UNBEGUN_NS: Final = 25 * MS
"""Before the deadline: what nobody began gets a line; the quickest rung of an engine needs longer."""
LAST_NS: Final = 10 * MS
"""Before the deadline: whatever is open gets a line. Workers do that themselves some milliseconds earlier."""
STAGES: Final = (LOST_NS, UNBEGUN_NS, LAST_NS)
MATTERS_S: Final = 0.002
MOST_OPEN: Final = 65_536
LOOK_BACK: Final = timedelta(seconds=10)

log = structlog.get_logger(__name__)
Key = tuple[str, str]
T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Open:
    """A request without an end so far."""

    subject: Subject
    request_id: str
    tier: str
    deadline_ns: int
    cancel_key: str
    since: datetime
    """Moment of our own clock after which it was recorded."""
    holder: tuple[str, str] | None = None
    """Tier and name of the worker that began it last."""
    timer: asyncio.TimerHandle | None = None
    stage: int = 0
    event: asyncio.Task[Event | None] | None = None
    """The request as the log holds it, once somebody looks."""


class Guardian:
    """Watches for the tiers of `workers`, whose voices it uses. Made by `run_guardian`."""

    def __init__(self, connection: Connection, log_: Log, ladders: Ladders, workers: Mapping[str, Worker], vitals: Vitals) -> None:
        self._connection = connection
        self._log = log_
        self._ladders = ladders
        self._workers = workers
        self._vitals = vitals
        one = next(iter(workers.values()))
        self._clock, self._played = one.clock, one.settings.played
        self._open: dict[Key, _Open] = {}
        self._loop = asyncio.get_running_loop()
        self._lateness = Lateness(Lag(), MATTERS_S, worse=self._watch_all, busy=lambda: bool(self._open), looked=lambda: None)
        self._vain = VainCancels(connection, log_, next(iter(workers.values())), self._is_open)
        self._listeners: list[Listener] = []
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        """Requests that are open, as far as was heard."""
        return len(self._open)

    async def open(self) -> None:
        """Listen, then read what was asked shortly before."""
        self._listeners = [await self._connection.listen(f"evt.*.*.*.{NAME}", self._heard(self._on_request))]
        for end in sorted(ENDS):
            self._listeners.append(await self._connection.listen(f"evt.*.{EDGE}.*.{end}", self._heard(self._on_end)))
        started = InferenceStarted.DESCRIPTOR.name
        self._listeners.append(await self._connection.listen(f"evt.*.{EDGE}.*.{started}", self._heard(self._on_started)))
        await self._vain.open()
        names = (NAME, CANCEL, *sorted(ENDS))
        async for events in self._log.read(since=datetime.now(UTC) - LOOK_BACK, filters=[stored_filter(name=name) for name in names]):
            for event in events:
                self._parsed(self._on_past, event)
        self._vain.take_past()

    async def aclose(self) -> None:
        """Watch no more; who is being answered is answered."""
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            await listener.close()
        await self._vain.aclose()
        for one in self._open.values():
            if one.timer is not None:
                one.timer.cancel()
        self._open.clear()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5.0)

    # -- what is said ------------------------------------------------------------------------------------------------------------------

    def _heard(self, take: Any) -> Any:
        def receive(subject: bytes, reply: bytes, header: bytes | None, payload: bytes) -> None:
            tokens = subject.decode(errors="replace").split(".")
            if len(tokens) == 5:
                self._parsed(take, Event(raw=payload, subject=Subject(*tokens[1:]), partition=0, position=0, header=header))

        return receive

    def _parsed(self, take: Any, event: Event) -> None:
        try:
            take(event, event.data)
        except BadEvent as error:
            log.debug("said_unreadable", subject=".".join(event.subject), error=str(error))

    def _is_open(self, world: str, request_id: str, cancel_key: str) -> bool:
        """True if a cancel of this id or key ends something, as far as was heard."""
        if request_id and (world, request_id) in self._open:
            return True
        return bool(cancel_key) and any(of == world and one.cancel_key == cancel_key for (of, _), one in self._open.items())

    def _on_past(self, event: Event, it: Any) -> None:
        """Take in what the log recorded shortly before, in its order."""
        if isinstance(it, InferenceRequested):
            self._on_request(event, it)
        elif event.kind in ENDS:
            self._close(event.world, it.request_id)
        self._vain.on_past(event, it)

    def _on_request(self, event: Event, it: InferenceRequested) -> None:
        if not self._played.has(event.world):
            return
        now = self._clock.now_ns()
        recorded_ns, key = event.recorded_ns or now, (event.world, it.request_id)
        deadline = deadline_of(it, recorded_ns)
        if key in self._open or deadline <= now or it.tier not in self._workers or problem_of(it, recorded_ns, self._ladders):
            return
        if len(self._open) >= MOST_OPEN:
            log.warning("guardian_full", open=len(self._open))
            return
        one = self._open[key] = _Open(event.subject, it.request_id, it.tier, deadline, it.cancel_key, datetime.now(UTC) - LOOK_BACK)
        self._watch(key, one)
        self._lateness.measure()

    def _on_started(self, event: Event, it: InferenceStarted) -> None:
        one = self._open.get((event.world, it.request_id))
        if one is not None:
            one.holder = it.tier, it.worker

    def _on_end(self, event: Event, it: Any) -> None:
        self._vain.ended(event.world, it.request_id)
        self._close(event.world, it.request_id)

    def _close(self, world: str, request_id: str) -> None:
        one = self._open.pop((world, request_id), None)
        if one is not None and one.timer is not None:
            one.timer.cancel()

    # -- looking -----------------------------------------------------------------------------------------------------------------------

    def _watch(self, key: Key, one: _Open) -> None:
        """Look at it at its stage's moment: earlier by as much as this process was late lately."""
        if one.timer is not None:
            one.timer.cancel()
        left_s = (one.deadline_ns - STAGES[one.stage] - self._clock.now_ns()) / 1e9 - self._lateness.reckoned_s
        one.timer = self._loop.call_later(max(0.0, left_s), self._look, key, one)

    def _look(self, key: Key, one: _Open) -> None:
        if one.event is None:
            one.event = self._spawn(self._find(one))
        if self._to_answer(one, one.stage):
            self._open.pop(key, None)
            self._spawn(self._answer(one, one.event))
        else:
            one.stage += 1
            self._watch(key, one)

    def _watch_all(self) -> None:
        for key, one in self._open.items():
            self._watch(key, one)

    def _to_answer(self, one: _Open, stage: int) -> bool:
        if STAGES[stage] == LOST_NS:
            return self._vitals.lost_lately(one.tier) if one.holder is None else not self._vitals.alive(*one.holder)
        return STAGES[stage] == LAST_NS or one.holder is None

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work, name="guardian")
        self._tasks.add(task)
        task.add_done_callback(self._on_done)
        return task

    def _on_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.debug("guardian_looks_in_vain", error=str(error))

    # -- answering ---------------------------------------------------------------------------------------------------------------------

    async def _answer(self, one: _Open, found: asyncio.Task[Event | None]) -> None:
        worker = self._workers[one.tier]
        try:
            event, before = await asyncio.gather(found, worker.delivery.heard(one.subject.world, one.request_id))
            # What was heard to its end was in time: whoever spoke it is recording it, or the queue sees to that.
            if event is not None and not before.finished and not await worker.outcomes.ended(event, one.request_id):
                await self._speak(worker, one, event, before)
        except WorldbusError as error:
            log.warning("guardian_failed", request=one.request_id, error=str(error))

    async def _speak(self, worker: Worker, one: _Open, event: Event, before: Heard) -> None:
        request, attempt = request_of(event), before.attempt + 1
        ask = Ask(event, request, cast(Ladder, self._ladders.of(request.kind)), deadline_of(request, event.recorded_ns), attempt, b"")
        work = Work(ask, Tale(worker.delivery, ask.world, ask.id, attempt, "full", before))
        worker.metrics.counts["guarded"] += 1
        if cancel := worker.cancels.of(ask.world, ask.id, request.cancel_key, event.recorded_ns):
            await worker.serving.cancelled(work, cancel.reason)
        elif one.holder is None:
            await worker.serving.heard_or_line(work, "no_slot", "nobody had begun it when the last moment for that had passed")
        else:
            await worker.serving.heard_or_line(work, "engine_failed", f"worker {one.holder[1]} was lost, or too late")

    async def _find(self, one: _Open) -> Event | None:
        """The request as the log recorded it; None if it did not. Raises `Transient`."""
        return await recorded(self._log, one.subject, lambda event: request_of(event).request_id == one.request_id, one.since)


@asynccontextmanager
async def run_guardian(
    connection: Connection, log_: Log, ladders: Ladders, workers: Mapping[str, Worker], vitals: Vitals
) -> AsyncIterator[Guardian]:
    """Watch over the requests of the tiers that `workers` names, for the block. The workers need no engine."""
    guardian = Guardian(connection, log_, ladders, workers, vitals)
    try:
        await guardian.open()
        yield guardian
    finally:
        await guardian.aclose()
