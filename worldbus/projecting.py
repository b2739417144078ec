"""The state of a projector, and asking every projector of a log for it: whether it works, stands by, or waits, for what and since when.

Asked over NATS, because Postgres is what a projector mostly waits for.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Literal

import msgspec
import structlog

from bus.connection import Connection, pub
from bus.errors import Disconnected

if TYPE_CHECKING:
    from projections.projector import Projector

Doing = Literal["starts", "works", "stands by", "waits"]
SLOW_S: Final = 5.0  # a commit that takes longer waits for Postgres
FIRST_ANSWER_S: Final = 2.0
OTHERS_S: Final = 0.1

log = structlog.get_logger(__name__)


class Projecting(msgspec.Struct, frozen=True, kw_only=True):
    """One projector at one moment. `since` is seconds since 1970; `reason` is empty while it works."""

    host: str
    pid: int
    doing: Doing
    reason: str
    since: float
    position: int

    def __str__(self) -> str:
        for_s = max(0, time.time() - self.since)
        return f"{self.host}/{self.pid} {self.doing}" + (f" since {for_s:.0f} s: {self.reason}" if self.reason else "")


class ProjectorState:
    """What this process's projector does."""

    def __init__(self) -> None:
        self._doing: Doing = "starts"
        self._reason = ""
        self._since = time.time()
        self.worked = False
        self.projector: Projector | None = None  # the one that works, or worked last

    def works(self) -> None:
        """It projects."""
        self.worked = True
        self._become("works", "")

    def waits(self, reason: str) -> None:
        """It cannot project, for this reason."""
        self._become("waits", reason)

    def stands_by(self, reason: str) -> None:
        """Another one projects."""
        self._become("stands by", reason)

    def _become(self, doing: Doing, reason: str) -> None:
        if doing != self._doing:
            self._since = time.time()
        self._doing, self._reason = doing, reason

    @property
    def now(self) -> Projecting:
        """The state at this moment."""
        doing, reason, since = self._doing, self._reason, self._since
        asked_s = self.projector.asked_s if self.projector is not None and doing == "works" else 0.0
        if asked_s > SLOW_S:
            doing, since = "waits", time.time() - asked_s
            reason = "Postgres has not answered a commit yet: somebody holds a lock, or it hangs"
        position = self.projector.position if self.projector is not None else 0
        return Projecting(host=socket.gethostname(), pid=os.getpid(), doing=doing, reason=reason, since=since, position=position)


_decode: Final = msgspec.json.Decoder(Projecting).decode


def subject(log_name: str) -> str:
    """Where projectors of this log are asked."""
    return f"req.{log_name}.projector"


@asynccontextmanager
async def answering(connection: Connection, log_name: str, state: ProjectorState) -> AsyncIterator[None]:
    """Tell whoever asks how our projector is, for the block."""

    def tell(_: bytes, reply: bytes, header: bytes | None, payload: bytes) -> None:
        if reply:
            try:
                connection.write(pub(reply, b"", msgspec.json.encode(state.now)))
            except Disconnected:
                log.debug("projector_state_untold")

    listener = await connection.listen(subject(log_name), tell)
    try:
        yield
    finally:
        await listener.close()


async def projectors(connection: Connection, log_name: str, *, within_s: float = FIRST_ANSWER_S) -> list[Projecting]:
    """The state of every projector of this log that answers; none runs, or none is reached, where the list is empty.

    Returns as soon as the server says that nobody listens, and a moment after the first answer. Raises `Disconnected`.
    """
    found: list[Projecting] = []
    heard = asyncio.Event()

    def take(_: bytes, reply: bytes, header: bytes | None, payload: bytes) -> None:
        if payload:
            try:
                found.append(_decode(payload))
            except msgspec.DecodeError:
                log.debug("projector_state_unreadable", payload=payload[:200])
        heard.set()

    inbox = connection.new_inbox()
    listener = await connection.listen(inbox, take)
    try:
        connection.write(pub(subject(log_name).encode(), inbox.encode(), b""))
        try:
            async with asyncio.timeout(within_s):
                await heard.wait()
        except TimeoutError:
            return []
        if found:
            await asyncio.sleep(OTHERS_S)
    finally:
        await listener.close()
    return sorted(found, key=lambda one: (one.host, one.pid))
