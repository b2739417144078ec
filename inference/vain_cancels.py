"""An answer to cancels that end nothing: nobody waits for an end that cannot come.

A cancel of something open is answered by the end of what it ends. One that names nothing open, not even a moment later (it may overtake
its request), gets `InferenceCancelFoundNothing`, unless that moment brings the end of what it names: a guardian that began lately, or is
full, does not know every request. Its id is derived from the cancel's, so several guardians, or one that starts anew, record it once.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

import structlog
from google.protobuf.message import Message

from bus.api import START_S, retried
from bus.connection import Connection, Listener
from bus.errors import BadEvent, WorldbusError
from bus.event import Event
from bus.log import Log
from bus.subjects import Subject
from inference.recorded import recorded
from inference.worker import Worker
from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceCancelRequested, InferenceRequested

NAME: Final = InferenceCancelRequested.DESCRIPTOR.name
GRACE_S: Final = 1.0
"""A cancel that overtakes its request is that much earlier at most."""
LOOK_BACK: Final = timedelta(seconds=10)
MOST: Final = 4096

log = structlog.get_logger(__name__)
Key = tuple[str, str]
IsOpen = Callable[[str, str, str], bool]
"""Of a world, a request's id and a cancel key."""


class VainCancels:
    """Hears cancels and answers those in vain, with the voice of `worker`. Part of a guardian, which knows what is open."""

    def __init__(self, connection: Connection, log_: Log, worker: Worker, is_open: IsOpen) -> None:
        self._connection = connection
        self._log = log_
        self._worker = worker
        self._is_open = is_open
        self._listener: Listener | None = None
        self._waiting: dict[Key, set[asyncio.Task[None]]] = defaultdict(set)
        """By world and the id that a cancel names, those about to be answered."""
        self._count = 0
        self._past = _Past()

    async def open(self) -> None:
        """Listen. The guardian shows what was recorded shortly before: `on_past`, then `take_past`."""
        self._listener = await self._connection.listen(f"evt.*.*.*.{NAME}", self._on_message)

    async def aclose(self) -> None:
        """Listen no more. What is not answered by then is answered by the next guardian, if it starts within ten seconds."""
        if self._listener is not None:
            await self._listener.close()
        tasks = [task for waiting in self._waiting.values() for task in waiting]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def on_past(self, event: Event, it: Message) -> None:
        """See a request, a cancel or an end of the last seconds, in the log's order."""
        self._past.see(event, it)

    def take_past(self) -> None:
        """Answer those of the cancels seen that ended nothing."""
        past, self._past = self._past, _Past()
        for event in past.cancels.values():
            self._take(event)

    def ended(self, world: str, request_id: str) -> None:
        """A request has its end, which answers every cancel of it that waits."""
        for task in self._waiting.get((world, request_id), ()):
            task.cancel()

    def _on_message(self, subject: bytes, reply: bytes, header: bytes | None, payload: bytes) -> None:
        tokens = subject.decode(errors="replace").split(".")
        if len(tokens) == 5:
            self._take(Event(raw=payload, subject=Subject(*tokens[1:]), partition=0, position=0, header=header))

    def _take(self, event: Event) -> None:
        try:
            it, own = event.data, event.id
        except BadEvent as error:
            log.debug("cancel_unreadable", error=str(error))
            return
        if not isinstance(it, InferenceCancelRequested) or not self._worker.settings.played.has(event.world):
            return
        if self._is_open(event.world, it.request_id, it.cancel_key):
            return
        if self._count >= MOST:
            log.warning("cancels_unanswered", waiting=self._count)
            return
        key = event.world, it.request_id
        task = asyncio.create_task(self._answer(event.subject, own, it, datetime.now(UTC) - LOOK_BACK), name="vain cancel")
        self._waiting[key].add(task)
        self._count += 1
        task.add_done_callback(partial(self._done, key))

    def _done(self, key: Key, task: asyncio.Task[None]) -> None:
        self._count -= 1
        self._waiting[key].discard(task)
        if not self._waiting[key]:
            del self._waiting[key]

    async def _answer(self, subject: Subject, own: str, it: InferenceCancelRequested, since: datetime) -> None:
        await asyncio.sleep(GRACE_S)
        if self._is_open(subject.world, it.request_id, ""):
            return
        try:
            event = await retried(partial(recorded, self._log, subject, lambda event: event.id == own, since), START_S)
            if event is not None:
                reason = await self._why(event.world, it)
                await self._worker.outcomes.found_nothing(event, it.request_id[:256], it.cancel_key[:256], reason)
        except WorldbusError as error:
            log.warning("cancel_unanswered", cancel=own, error=str(error))

    async def _why(self, world: str, it: InferenceCancelRequested) -> str:
        if not it.request_id:
            named = (
                f"no open request has the cancel key {it.cancel_key[:80]!r}"
                if it.cancel_key
                else "it names neither a request nor a cancel key"
            )
            return f"nothing is ended: {named}"
        ended: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._worker.asked.look(world, it.request_id, 0, ended.set_result)
        had = "had its end before" if await ended else "is not known as an open one"
        return f"nothing is ended: the request {it.request_id[:80]!r} {had}"


class _Past:
    """Cancels of the last seconds, without those that ended something: what they name has its end behind them."""

    def __init__(self) -> None:
        self.cancels: dict[int, Event] = {}  # by position
        self._by_name: dict[Key, set[int]] = defaultdict(set)
        self._keys: dict[Key, str] = {}  # cancel keys of the requests that were seen

    def see(self, event: Event, it: Any) -> None:
        """Take the next event. A key counts for requests before it alone, as in `inference.cancel`."""
        if isinstance(it, InferenceRequested):
            self._keys[event.world, it.request_id] = it.cancel_key
        elif isinstance(it, InferenceCancelRequested):
            self.cancels[event.position] = event
            for name in filter(None, (it.request_id, it.cancel_key)):
                self._by_name[event.world, name].add(event.position)
        else:
            for name in filter(None, (it.request_id, self._keys.pop((event.world, it.request_id), ""))):
                for position in self._by_name.pop((event.world, name), ()):
                    self.cancels.pop(position, None)
