"""Cancels that end nothing are answered too: nobody waits for an end that cannot come.

A cancel of something open is answered by the end of what it ends. One that names nothing open, not even a moment later (it may overtake
its request), gets `InferenceCancelFoundNothing`. Its id is derived from the cancel's, so several guardians, or one that starts anew,
record it once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from bus.connection import Connection, Listener
from bus.errors import BadEvent, WorldbusError
from bus.event import Event
from bus.log import Log
from bus.subjects import Subject, partition_of, stored_filter
from inference.worker import Worker
from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceCancelRequested

NAME: Final = InferenceCancelRequested.DESCRIPTOR.name
GRACE_S: Final = 1.0
"""A cancel that overtakes its request is that much earlier at most."""
LOOK_BACK: Final = timedelta(seconds=10)
MOST: Final = 4096

log = structlog.get_logger(__name__)
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
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Listen, then read what was said shortly before."""
        self._listener = await self._connection.listen(f"evt.*.*.*.{NAME}", self._on_message)
        async for events in self._log.read(since=datetime.now(UTC) - LOOK_BACK, filters=[stored_filter(name=NAME)]):
            for event in events:
                self._take(event)

    async def aclose(self) -> None:
        """Listen no more. What is not answered by then is answered by the next guardian, if it starts within ten seconds."""
        if self._listener is not None:
            await self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

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
        if not isinstance(it, InferenceCancelRequested) or self._is_open(event.world, it.request_id, it.cancel_key):
            return
        if len(self._tasks) >= MOST:
            log.warning("cancels_unanswered", waiting=len(self._tasks))
            return
        task = asyncio.create_task(self._answer(event.subject, own, it, datetime.now(UTC) - LOOK_BACK), name="vain cancel")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, subject: Subject, own: str, it: InferenceCancelRequested, since: datetime) -> None:
        await asyncio.sleep(GRACE_S)
        if self._is_open(subject.world, it.request_id, ""):
            return
        try:
            event = await self._recorded(subject, own, since)
            if event is not None:
                reason = await self._why(event.world, it)
                await self._worker.outcomes.found_nothing(event, it.request_id[:256], it.cancel_key[:256], reason)
        except WorldbusError as error:
            log.warning("cancel_unanswered", cancel=own, error=str(error))

    async def _recorded(self, subject: Subject, own: str, since: datetime) -> Event | None:
        """The cancel as the log has it; None if it was heard and never recorded."""
        stored = ".".join(("evt", str(partition_of(subject.world, subject.entity, self._log.partitions)), *subject))
        async for events in self._log.read(since=since, filters=[stored]):
            for event in events:
                if _id(event) == own:
                    return event
        return None

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


def _id(event: Event) -> str:
    try:
        return event.id
    except BadEvent:
        return ""
