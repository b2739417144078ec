"""The end of a request in the log: exactly one of five events, whoever is killed when.

It is written with the expected sequence of everything that the edge `inference` said about the requester's entity. On a conflict the
writer reads what came in between: if the request's end is among it, that one stands and ours is dropped; otherwise it tries again behind
it. So two workers that both hold a request agree on one end, without a lock and without a memory that could run out.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final, cast

import structlog
from google.protobuf.message import Message

from bus.errors import BadEvent, Conflict, IdReused, Transient
from bus.event import Draft, Event, output_id
from bus.log import Log
from bus.publisher import Publisher
from bus.subjects import lane_filter
from schemas.gen.worldbus.inference.v1 import inference_pb2 as said

EDGE: Final = "inference"
ENDS: Final = frozenset(
    kind.DESCRIPTOR.name
    for kind in (
        said.InferenceCompleted,
        said.InferenceDegraded,
        said.InferenceExpired,
        said.InferenceCancelled,
        said.InferenceRejected,
    )
)
REMEMBERED: Final = 65_536
PAUSE_S: Final = 0.05

log = structlog.get_logger(__name__)


class Outcomes:
    """Writes `InferenceStarted` and ends. One per worker; whatever several workers write is fenced by the log."""

    def __init__(self, log_: Log, publisher: Publisher) -> None:
        self._log = log_
        self._publisher = publisher
        self._last: OrderedDict[str, int] = OrderedDict()  # position of the last event on a lane, as far as we know
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}
        self._ended: OrderedDict[tuple[str, str], None] = OrderedDict()

    def known_ended(self, event: Event, request_id: str) -> bool:
        """Return whether this worker wrote or saw the end of a request with this id."""
        return (event.world, request_id) in self._ended

    async def ended(self, event: Event, request_id: str) -> bool:
        """Return whether the log holds an end behind the request. Raises `Transient`."""
        if self.known_ended(event, request_id):
            return True
        fence = self._fence(event)
        last = await self._log.last(fence)
        self._note(fence, last.position if last else 0)
        if last is None or last.position < event.position:
            return False
        return self._is_among(await self._log.read_lane(fence, after=event.position), event, request_id)

    async def started(self, event: Event, message: said.InferenceStarted) -> bool:
        """Record a beginning; False if the request has an end already. Nothing depends on it being recorded."""
        return await self._write(event, message, message.request_id, f"started-{message.attempt}-{message.worker}")

    async def end(self, event: Event, message: Message) -> bool:
        """Record the end; False if another one stands. Returns only when one of the two is certain.

        Raises `Rejected` for an end that the log does not take.
        """
        request_id = cast(Any, message).request_id
        ours = await self._write(event, message, request_id, "end")
        self._remember(event, request_id)
        return ours

    async def repeated(self, event: Event, request_id: str) -> None:
        """Record that a request has the id of an earlier one. Not an end; recorded once for each request, whoever records it."""
        reason = f"{request_id[:80]!r} was another request's id: its end is the answer; ask under a new id for another one"
        message = said.InferenceRequestRepeated(request_id=request_id, request_event_id=event.id, reason=reason)
        await self._record(self._draft(event, message, request_id, "repeated"))

    async def found_nothing(self, event: Event, request_id: str, cancel_key: str, reason: str) -> None:
        """Record that a cancel ends nothing; recorded once for each cancel, whoever records it."""
        message = said.InferenceCancelFoundNothing(request_id=request_id, cancel_key=cancel_key, request_event_id=event.id, reason=reason)
        await self._record(self._draft(event, message, "", "found-nothing"))

    async def _record(self, draft: Draft) -> None:
        """Publish without a fence, as often as it takes; what is there under the same id stands."""
        while True:
            try:
                await self._publisher.publish(draft)
            except IdReused:
                return
            except Transient as error:
                log.debug("answer_waits", event=type(draft.data).__name__, error=str(error))
                await asyncio.sleep(PAUSE_S)
            else:
                return

    def _fence(self, event: Event) -> str:
        return lane_filter(event.partition, event.world, EDGE, event.entity)

    async def _write(self, event: Event, message: Message, request_id: str, step: str) -> bool:
        fence = self._fence(event)
        draft = self._draft(event, message, request_id, step)
        async with self._locked(fence):
            while True:
                try:
                    return await self._try(fence, draft, event, request_id)
                except Conflict:
                    known = self._last[fence]
                    behind = await self._retried_read(fence, known)
                    self._note(fence, behind[-1].position if behind else 0)
                    if not behind:
                        self._last.pop(fence, None)
                    if self._is_among(behind, event, request_id):
                        return False
                except IdReused:
                    return False  # the log remembers this id: another worker ended it minutes ago at most
                except Transient as error:
                    log.debug("outcome_waits", request=request_id, error=str(error))
                    await asyncio.sleep(PAUSE_S)

    async def _try(self, fence: str, draft: Draft, event: Event, request_id: str) -> bool:
        if fence not in self._last:
            if await self.ended(event, request_id):
                return False
        elif self.known_ended(event, request_id):
            return False
        position = await self._publisher.publish(draft, expected=self._last[fence])
        self._note(fence, position)
        return True

    async def _retried_read(self, fence: str, after: int) -> Sequence[Event]:
        while True:
            try:
                return await self._log.read_lane(fence, after=after)
            except Transient:
                await asyncio.sleep(PAUSE_S)

    def _draft(self, event: Event, message: Message, request_id: str, step: str) -> Draft:
        try:
            correlation, depth, deadline = event.correlation or event.id, event.depth + 1, event.deadline_ns
            traceparent, cause = event.traceparent, event.id
        except BadEvent:
            correlation, depth, deadline, traceparent, cause = "", 1, 0, "", ""
        return Draft(
            data=message,
            world=event.world,
            entity=event.entity,
            subsystem=EDGE,
            id=output_id(f"{event.world}\n{request_id}", EDGE, event.entity, 0) if step == "end" else output_id(cause, step, request_id, 0),
            time_ns=time.time_ns(),
            cause=cause,
            correlation=correlation,
            depth=depth,
            deadline_ns=deadline,
            traceparent=traceparent,
        )

    def _is_among(self, events: Sequence[Event], request: Event, request_id: str) -> bool:
        for event in events:
            if event.kind in ENDS and event.position > request.position and cast(Any, event.data).request_id == request_id:
                self._remember(request, request_id)
                return True
        return False

    def _note(self, fence: str, position: int) -> None:
        self._last[fence] = position
        self._last.move_to_end(fence)
        while len(self._last) > REMEMBERED:
            self._last.popitem(last=False)

    def _remember(self, event: Event, request_id: str) -> None:
        self._ended[event.world, request_id] = None
        while len(self._ended) > REMEMBERED:
            self._ended.popitem(last=False)

    def _locked(self, fence: str) -> _Turn:
        return _Turn(self._locks, fence)


class _Turn:
    """One writer at a time per lane in this process; a lock lives as long as somebody wants it."""

    def __init__(self, locks: dict[str, tuple[asyncio.Lock, int]], fence: str) -> None:
        self._locks = locks
        self._fence = fence

    async def __aenter__(self) -> None:
        lock, users = self._locks.get(self._fence) or (asyncio.Lock(), 0)
        self._locks[self._fence] = lock, users + 1
        try:
            await lock.acquire()
        except BaseException:
            self._leave()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._locks[self._fence][0].release()
        self._leave()

    def _leave(self) -> None:
        lock, users = self._locks[self._fence]
        if users == 1:
            del self._locks[self._fence]
        else:
            self._locks[self._fence] = lock, users - 1
