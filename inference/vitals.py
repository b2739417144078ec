"""Vital signs: every worker says ten times a second how it stands, on `sig.system.workers.<tier>` (of a game with a mark
`sig.system.workers.<mark>.<tier>`), and hears the others.

By them a worker knows who else could take a request, and the guardian whose requests have lost their worker. Signals may be lost and are
never stored; nothing that must be certain rests on them alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import DecodeError

from bus.connection import Connection, Listener
from bus.errors import WorldbusError
from bus.played import EVERYTHING, Played
from bus.signals import listen, signal
from schemas.gen.worldbus.inference.v1.types_pb2 import WorkerStands

EVERY_S: Final = 0.1
SILENT_S: Final = 0.3
"""Silence after which a worker is lost."""
LATELY_S: Final = 3.0
MOST_WORKERS: Final = 4096
ROOT: Final = "sig.system.workers"


@dataclass(slots=True)
class _Sign:
    stands: WorkerStands
    at: float


class Vitals:
    """The workers that are alive, and their standing, as far as was heard here. One per process is enough."""

    def __init__(self, connection: Connection, played: Played = EVERYTHING) -> None:
        self._connection = connection
        self._root = f"{ROOT}.{played.game}" if played.game else ROOT
        self._signs: dict[tuple[str, str], _Sign] = {}
        self._listener: Listener | None = None
        self._loop = asyncio.get_running_loop()

    async def open(self) -> None:
        """Listen. For the first moment nobody is known."""
        self._listener = await listen(self._connection, f"{self._root}.*", self._on_signal)

    async def aclose(self) -> None:
        """Listen no more."""
        if self._listener is not None:
            await self._listener.close()
            self._listener = None

    def alive(self, tier: str, worker: str) -> bool:
        """Return whether a worker was heard lately."""
        sign = self._signs.get((tier, worker))
        return sign is not None and self._loop.time() - sign.at < SILENT_S

    def lost_lately(self, tier: str) -> bool:
        """Return whether a worker of the tier fell silent within the last moments, without saying that it leaves."""
        now = self._loop.time()
        return any(SILENT_S <= now - sign.at < LATELY_S for (its, _), sign in self._signs.items() if its == tier)

    def up(self) -> Iterator[WorkerStands]:
        """The workers that take work for a model now."""
        now = self._loop.time()
        for sign in self._signs.values():
            if sign.stands.up and now - sign.at < SILENT_S:
                yield sign.stands

    def tell(self, stands: WorkerStands) -> None:
        """Say how a worker of ours stands. Lost without a connection, as signals may be."""
        with suppress(WorldbusError):
            signal(self._connection, f"{self._root}.{stands.tier}", stands.SerializeToString())

    async def keep_telling(self, stands: Callable[[], WorkerStands]) -> None:
        """Say it again and again, until cancelled."""
        while True:
            self.tell(stands())
            await asyncio.sleep(EVERY_S)

    def _on_signal(self, subject: str, payload: bytes) -> None:
        with suppress(DecodeError):  # anybody may send on `sig.>`
            stands = WorkerStands.FromString(payload)
            key = stands.tier, stands.worker
            if stands.leaving:
                self._signs.pop(key, None)
            elif key in self._signs or len(self._signs) < MOST_WORKERS or self._forget_silent():
                self._signs[key] = _Sign(stands, self._loop.time())

    def _forget_silent(self) -> bool:
        now = self._loop.time()
        self._signs = {key: sign for key, sign in self._signs.items() if now - sign.at < SILENT_S}
        return len(self._signs) < MOST_WORKERS
