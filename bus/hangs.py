"""Records that a process which stands still leaves for its successor: the call that did not return, and what came of it.

A record lies beside the snapshots, one subject for each call. It is written by a thread with an event loop and a connection of its own,
since the process's loop is what stands still:

    hanging   the call runs for longer than it should; its process may still get out of it: whoever else comes to this input waits
    hung      the process ended because of it: whoever comes to this input quarantines it instead of deciding it
    deciding  its process goes on carefully (`bus.careful`) and is about to decide it; whoever finds that has a process that died of it

A call that came to its end takes its record back. The records are read when a partition is taken up, and never on the hot path.
"""

from __future__ import annotations

import asyncio
import json
import queue
import threading
import time
from typing import TYPE_CHECKING, Final, Literal

import msgspec
import structlog

from bus.answers import status_of
from bus.connection import ApiError
from bus.errors import Transient, WorldbusError
from bus.log import SNAPSHOT_ROOT

if TYPE_CHECKING:
    from bus.log import Log

MOST: Final = 1000  # records of one handler that are read
PATIENCE_S: Final = 2.0  # to leave one record

logger = structlog.get_logger(__name__)


class Hang(msgspec.Struct, frozen=True, kw_only=True):
    """One call of a handler's function that did not return.

    step         the function: `decide`, `entities`, or `evolve` and `initial`, which concern the lane whatever its input
    position     of the input, or for `evolve` of the handler's own event
    asked        position of the operator's request to retry it; 0 for an input that was decided in its turn
    state        as above
    deaths       processes that died while they were `deciding` it, before this one
    settled_s    seconds after which a process in which the call hangs has ended at the latest, counted from the record
    """

    handler: str
    world: str
    entity: str
    step: str
    position: int
    asked: int = 0
    state: Literal["hanging", "hung", "deciding"] = "hanging"
    deaths: int = 0
    seconds: float = 0.0
    settled_s: float = 0.0
    stack: str = ""
    member: str = ""

    @property
    def subject(self) -> str:
        """The last tokens of its subject."""
        call = f"{self.position}.{self.asked}" if self.step in ("decide", "entities") else f"lane.{self.asked}"
        return f"{self.handler}.{self.step}.{call}.{self.world or '-'}.{self.entity or '-'}"


_decode = msgspec.json.Decoder(Hang).decode


class Hangs:
    """The records about the handlers of one log."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._root = f"{SNAPSHOT_ROOT}.hang.{log.name}"
        self._another = log.connection.another
        self._jobs: queue.SimpleQueue[tuple[Hang, bool, threading.Event]] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None

    # -- on the event loop -------------------------------------------------------------------------------------------------------

    async def read(self, handler: str = "*") -> list[Hang]:
        """The records about a handler's calls. Raises `Transient` while they cannot be read."""
        body = {"multi_last": [f"{self._root}.{handler}.>"], "batch": MOST}
        answers = await self._log._answers.ask(f"$JS.API.DIRECT.GET.{self._log.config.snapshots}", body, timeout=2.0)
        if status_of(answers[-1][1]) in (503, 408):
            raise Transient(f"what hangs in {handler} cannot be read at the moment: retry")
        found = []
        for _, header, payload in answers:
            if not payload or status_of(header):
                continue
            try:
                found.append(_decode(payload))
            except msgspec.DecodeError as error:
                logger.warning("hang_ignored", handler=handler, error=str(error))
        return found

    async def note(self, hang: Hang) -> None:
        """Write a record and wait until it is stored. Raises `Transient` and `ApiError`."""
        answer = json.loads(await self._log.connection.request(f"{self._root}.{hang.subject}", msgspec.json.encode(hang), timeout=2.0))
        if "error" in answer:
            raise ApiError("hang", answer["error"])

    async def forget(self, hang: Hang) -> None:
        """Take a record away: it has served. One that stays does no harm."""
        try:
            await self._log.connection.api(
                f"STREAM.PURGE.{self._log.config.snapshots}", {"filter": f"{self._root}.{hang.subject}"}, timeout=2.0
            )
        except (ApiError, WorldbusError) as error:
            logger.debug("hang_not_forgotten", error=str(error))

    # -- in the watchdog's thread, while the event loop stands still ------------------------------------------------------------------

    def leave(self, hang: Hang) -> threading.Event:
        """Write a record, in the background; the event is set when it is acknowledged, or was given up."""
        return self._do(hang, back=False)

    def take_back(self, hang: Hang) -> threading.Event:
        """The call returned after all: take its record away, in the background."""
        return self._do(hang, back=True)

    def _do(self, hang: Hang, *, back: bool) -> threading.Event:
        done = threading.Event()
        self._jobs.put((hang, back, done))
        if self._writer is None:
            self._writer = threading.Thread(target=self._write_all, name="worldbus-hangs", daemon=True)
            self._writer.start()
        return done

    def _write_all(self) -> None:
        while True:
            hang, back, done = self._jobs.get()
            began = time.monotonic()
            try:
                asyncio.run(self._write(hang, back=back))
            except Exception as error:  # nobody waits for it, and the process may be about to end
                logger.warning("hang_not_written", handler=hang.handler, position=hang.position, error=str(error) or repr(error))
            else:
                logger.debug("hang_written", handler=hang.handler, state="over" if back else hang.state, took_s=time.monotonic() - began)
            done.set()

    async def _write(self, hang: Hang, *, back: bool) -> None:
        subject = f"{self._root}.{hang.subject}"
        async with asyncio.timeout(PATIENCE_S), self._another("worldbus-hangs") as connection:
            if back:
                await connection.api(f"STREAM.PURGE.{self._log.config.snapshots}", {"filter": subject})
                return
            answer = json.loads(await connection.request(subject, msgspec.json.encode(hang)))
            if "error" in answer:
                raise ApiError("hang", answer["error"])
