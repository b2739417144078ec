"""A witness of the tables' progress: a bystander that listens for the checkpoint's commits, as any reader could."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from projections.checkpoints import CHANNEL
from projections.store import connected


class Witness:
    """Notes, for each commit of the projector, the position it reached and when that was heard."""

    def __init__(self) -> None:
        self._positions: list[int] = []
        self._heard_ns: list[int] = []
        self._more = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def open(cls, dsn: str) -> AsyncIterator[Witness]:
        """Listen for the block."""
        witness = cls()
        async with connected(dsn) as connection:
            await connection.add_listener(CHANNEL, witness._hear)
            yield witness

    def _hear(self, _connection: Any, _pid: int, _channel: str, position: str) -> None:
        if not self._positions or int(position) > self._positions[-1]:
            self._positions.append(int(position))
            self._heard_ns.append(time.time_ns())
            self._more.set()

    async def wait_for(self, position: int, within_s: float = 2.0) -> None:
        """Return when the commit that reached `position` was heard, or is not going to be: word of a commit is lost with its connection."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self.seen_ns(position) is None:
                    self._more.clear()
                    await self._more.wait()

    def seen_ns(self, position: int) -> int | None:
        """Nanoseconds since 1970 when the tables were heard to hold `position`."""
        index = bisect_left(self._positions, position)
        return self._heard_ns[index] if index < len(self._positions) else None
