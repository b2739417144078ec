"""Answering requests of core NATS: JSON in, JSON out, and who asks gets an answer whatever happens.

Several processes may serve a subject `req.<world>.…`; each request goes to one of them. What cannot be answered says so as
`{"error": CODE, "message": …}`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
import structlog

from bus.connection import Connection, pub
from bus.errors import Disconnected, WorldbusError

MOST_WAITING: Final = 256
"""Requests in work at once; more are refused, for nobody would wait for the answers."""

log = structlog.get_logger(__name__)

Answer = Callable[[str, bytes], Awaitable[dict[str, Any]]]
"""World and payload to the answer's fields. A `WorldbusError` is told to whoever asked."""


class _Requests:
    def __init__(self, connection: Connection, answer: Answer) -> None:
        self._connection = connection
        self._answer = answer
        self.tasks: set[asyncio.Task[None]] = set()

    def on_message(self, subject: bytes, reply: bytes, header: bytes | None, payload: bytes) -> None:
        if not reply:
            return
        if len(self.tasks) >= MOST_WAITING:
            self._reply(reply, {"error": "BUSY", "message": f"{MOST_WAITING} requests are in work already: ask again"})
            return
        task = asyncio.create_task(self._serve(subject.decode(errors="replace"), reply, payload))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _serve(self, subject: str, reply: bytes, payload: bytes) -> None:
        try:
            self._reply(reply, await self._answer(subject.split(".")[1], payload))
        except WorldbusError as error:
            self._reply(reply, {"error": error.code, "message": str(error)})
        except Exception as error:  # whoever asks waits for an answer: say that there is none, and go on serving the others
            log.exception("request_failed", subject=subject)
            self._reply(reply, {"error": "BUG", "message": f"it failed: {error!r}"})

    def _reply(self, reply: bytes, answer: dict[str, Any]) -> None:
        try:
            self._connection.write(pub(reply, b"", msgspec.json.encode(answer)))
        except Disconnected:
            log.info("request_unanswered")


@asynccontextmanager
async def serve_requests(
    connection: Connection, subject: str, queue: str, answer: Answer, worlds: Iterable[str] | None = None
) -> AsyncIterator[None]:
    """Answer what comes on `subject`, for the block; what is in work at its end is given up.

    `worlds` stand in place of the first `*` of the subject, one after the other; None: questions of every world are answered.
    """
    requests = _Requests(connection, answer)
    subjects = [subject] if worlds is None else [subject.replace("*", world, 1) for world in sorted(worlds)]
    listeners = [await connection.listen(one, requests.on_message, queue=queue) for one in subjects]
    try:
        yield
    finally:
        for listener in listeners:
            await listener.close()
        for task in requests.tasks:
            task.cancel()
        await asyncio.gather(*requests.tasks, return_exceptions=True)
