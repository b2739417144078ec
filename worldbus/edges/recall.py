"""The request subject `req.<world>.kb.recall`: workers of inference ask here what a prompt wants to know.

Asked and answered in JSON: the fields of `worldbus.inference.v1.Knowledge` by their names in, `{"passages": [...]}` or `{"error": "..."}`
out. Several processes may serve it; each question goes to one of them. Nothing here is recorded: the request says what was asked, and its
end what was shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any, Final

import msgspec
import structlog

from bus.connection import Connection, pub
from bus.errors import Disconnected, WorldbusError
from projections.knowledge.recall import Recall, Wanted

SUBJECT: Final = "req.*.kb.recall"
QUEUE: Final = "kb"
MOST_WAITING: Final = 256
"""Questions in work at once; more are refused, for nobody would wait for the answers."""

log = structlog.get_logger(__name__)


class _Asked(msgspec.Struct):
    query: str
    as_of: int
    audience: list[str] = []
    owner: str = ""
    player: str = ""
    most: int = 4
    world_ms: int = 0
    exclude: list[str] = []


_ASKED: Final = msgspec.json.Decoder(_Asked)


def wanted(world: str, payload: bytes) -> Wanted:
    """What is asked; raises `ValueError` for anything else."""
    asked = _ASKED.decode(payload)
    if not (0 < len(asked.query) <= 1024 and 1 <= asked.most <= 32 and 0 <= asked.as_of < 2**62 and abs(asked.world_ms) < 2**62):
        raise ValueError("wanted a query of 1 to 1024 characters, most of 1 to 32, and as_of of 0 or more")
    if max(len(asked.audience), len(asked.exclude)) > 64 or "\0" in asked.query:
        raise ValueError("wanted at most 64 tokens of an audience and 64 excluded passages, and a query without NUL")
    return Wanted(
        world=world,
        query=asked.query,
        audience=tuple(asked.audience),
        as_of=asked.as_of,
        owner=asked.owner,
        player=asked.player,
        most=asked.most,
        world_ms=asked.world_ms,
        exclude=frozenset(asked.exclude),
    )


class _Service:
    def __init__(self, connection: Connection, recall: Recall) -> None:
        self._connection = connection
        self._recall = recall
        self.tasks: set[asyncio.Task[None]] = set()

    def on_message(self, subject: bytes, reply: bytes, header: bytes | None, payload: bytes) -> None:
        if not reply:
            return
        if len(self.tasks) >= MOST_WAITING:
            self._answer(reply, {"error": f"{MOST_WAITING} questions are in work already"})
            return
        task = asyncio.create_task(self._serve(subject.split(b".")[1].decode(errors="replace"), reply, payload))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _serve(self, world: str, reply: bytes, payload: bytes) -> None:
        try:
            found = await self._recall.passages(wanted(world, payload))
        except (WorldbusError, ValueError) as error:
            self._answer(reply, {"error": str(error)})
        except Exception as error:  # whoever asks waits for an answer: say that there is none, and go on serving the others
            log.exception("recall_failed", world=world)
            self._answer(reply, {"error": f"the knowledge base failed: {error!r}"})
        else:
            self._answer(reply, {"passages": [asdict(one) for one in found]})

    def _answer(self, reply: bytes, answer: dict[str, Any]) -> None:
        try:
            self._connection.write(pub(reply, b"", msgspec.json.encode(answer)))
        except Disconnected:
            log.info("recall_unanswered")


@asynccontextmanager
async def serve_recall(connection: Connection, recall: Recall) -> AsyncIterator[None]:
    """Answer questions for the block."""
    service = _Service(connection, recall)
    listener = await connection.listen(SUBJECT, service.on_message, queue=QUEUE)
    try:
        yield
    finally:
        await listener.close()
        for task in service.tasks:
            task.cancel()
        await asyncio.gather(*service.tasks, return_exceptions=True)
