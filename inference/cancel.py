"""Barge-in: a cancel reaches every worker over core NATS the moment it is said, and stops the answer within one step of the engine.

Two ways lead here: the event `InferenceCancelRequested`, heard on its way into the log, and the signal `sig.<world>.cancel.<id>`, where the
id is a request's or a cancel key. A cancel is remembered for a while: it may overtake its request, and a worker that starts reads the last
ones from the log. A key ends only requests that were recorded before the cancel.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import structlog

from bus.connection import Connection, Listener
from bus.errors import BadEvent
from bus.event import Event
from bus.log import Log
from bus.signals import listen
from bus.subjects import Subject, stored_filter
from inference.dressing import plain
from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceCancelRequested

NAME: Final = InferenceCancelRequested.DESCRIPTOR.name
REMEMBERED: Final = 4096
LOOK_BACK: Final = timedelta(minutes=2)

log = structlog.get_logger(__name__)


class Cancel(NamedTuple):
    """A demand for an end. `at_ns` is when this worker heard of it, or when the log recorded it, on the server's clock."""

    world: str
    request_id: str
    key: str
    reason: str
    at_ns: int


OnCancel = Callable[[Cancel], None]


class Cancels:
    """Cancels as they come, and the last ones."""

    def __init__(self, connection: Connection, log_: Log, now_ns: Callable[[], int], on_cancel: OnCancel) -> None:
        self._connection = connection
        self._log = log_
        self._now_ns = now_ns
        self._on_cancel = on_cancel
        self._known: OrderedDict[tuple[str, str], Cancel] = OrderedDict()
        self._listeners: list[Listener] = []

    async def open(self) -> None:
        """Listen, then read what was said shortly before."""
        self._listeners = [
            await self._connection.listen(f"evt.*.*.*.{NAME}", self._on_event),
            await listen(self._connection, "sig.*.cancel.*", self._on_signal),
        ]
        since = datetime.now(UTC) - LOOK_BACK
        async for events in self._log.read(since=since, filters=[stored_filter(name=NAME)]):
            for event in events:
                self._take(event, event.recorded_ns)

    async def aclose(self) -> None:
        """Listen no more."""
        for listener in self._listeners:
            await listener.close()
        self._listeners = []

    def of(self, world: str, request_id: str, key: str, recorded_ns: int) -> Cancel | None:
        """The cancel that ends a request, if one was heard."""
        cancel = self._known.get((world, request_id))
        if cancel is not None and (cancel.request_id == request_id or cancel.at_ns >= recorded_ns):
            return cancel
        cancel = self._known.get((world, key)) if key else None
        return cancel if cancel is not None and cancel.at_ns >= recorded_ns else None

    def _on_event(self, subject: bytes, reply: bytes, header: bytes | None, payload: bytes) -> None:
        tokens = subject.decode(errors="replace").split(".")
        if len(tokens) == 5:
            self._take(Event(raw=payload, subject=Subject(*tokens[1:]), partition=0, position=0, header=header), self._now_ns())

    def _take(self, event: Event, at_ns: int) -> None:
        try:
            data = event.data
        except BadEvent as error:
            log.debug("cancel_unreadable", error=str(error))
            return
        if isinstance(data, InferenceCancelRequested):
            for request_id, key in ((data.request_id, ""), ("", data.cancel_key)):
                if request_id or key:
                    self._heard(Cancel(event.world, request_id, key, plain(data.reason)[:256], at_ns))

    def _on_signal(self, subject: str, payload: bytes) -> None:
        _, world, _, name = subject.split(".")
        reason = plain(payload[:1024].decode(errors="replace"))[:256]
        self._heard(Cancel(world, name, name, reason, self._now_ns()))

    def _heard(self, cancel: Cancel) -> None:
        name = cancel.request_id or cancel.key
        self._known[cancel.world, name] = cancel
        self._known.move_to_end((cancel.world, name))
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        self._on_cancel(cancel)
