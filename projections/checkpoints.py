"""The position of the projections, and waiting until they are further (read your writes)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import asyncpg

from bus.errors import StoreUnavailable
from projections.store import connected, in_our_words, migrated

if TYPE_CHECKING:
    from asyncpg import Connection

CHANNEL = "worldbus_checkpoint"
SELDOM_S = 10.0  # between two looks of a service that has all the time
POLL_S = 0.5  # a notification can be lost with its connection; looking again costs next to nothing

# Compare and set. It also tells whoever waits, when the transaction commits.
ADVANCE = f"""
    WITH moved AS (
        UPDATE worldbus.checkpoint SET position = $2, chain = $3, moved_at = now() WHERE position = $1 AND epoch = $4 RETURNING position
    )
    SELECT position, pg_notify('{CHANNEL}', position::text) FROM moved
"""  # noqa: S608 - a constant


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A position up to which all events are archived and projected; `chain` is the archive's hash there."""

    position: int
    chain: bytes
    epoch: int


async def read(connection: Connection, *, lock: bool = False) -> Checkpoint:
    """The checkpoint; `lock` holds every projector still until the transaction ends."""
    try:
        row = await connection.fetchrow(f"SELECT position, chain, epoch FROM worldbus.checkpoint{' FOR UPDATE' if lock else ''}")  # noqa: S608
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError) as error:
        raise migrated(error) from error
    if row is None:
        raise migrated("no row in worldbus.checkpoint")
    return Checkpoint(row["position"], row["chain"], row["epoch"])


async def next_epoch(connection: Connection) -> Checkpoint:
    """Say that the generations changed; the running projector looks again before its next batch."""
    row = await connection.fetchrow("UPDATE worldbus.checkpoint SET epoch = epoch + 1 RETURNING position, chain, epoch")
    return Checkpoint(row["position"], row["chain"], row["epoch"])


class Checkpoints:
    """A reader's view of the checkpoint. Works with the reader role: it sees `world.checkpoint` only."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._heard = asyncio.Event()
        self._lock = asyncio.Lock()

    @classmethod
    @asynccontextmanager
    async def open(cls, dsn: str) -> AsyncIterator[Checkpoints]:
        """Connect and listen."""
        async with connected(dsn) as connection:
            checkpoints = cls(connection)
            await connection.add_listener(CHANNEL, checkpoints._hear)
            yield checkpoints

    async def position(self) -> int:
        """The position of the projections now. Raises `StoreUnavailable`."""
        try:
            async with self._lock:
                with in_our_words("the checkpoint was read", self._connection, at_work=True):
                    found: int = await self._connection.fetchval("SELECT position FROM world.checkpoint")
        except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError) as error:
            raise migrated(error) from error
        return found

    async def wait_for(self, position: int, timeout: float | None = None) -> int:
        """Return where the projections are, once that is at least `position`.

        Raises `StoreUnavailable` when they are not there within `timeout` seconds; the event itself is safe in the log all the same.
        """
        found = -1
        try:
            async with asyncio.timeout(timeout):
                while True:
                    self._heard.clear()
                    found = await self.position()
                    if found >= position:
                        return found
                    await self._listen_once()
        except TimeoutError as error:
            raise StoreUnavailable(
                f"wanted the projections at position {position} within {timeout} s, found them at {found}: is a projector running?",
                wanted=position, found=found,
            ) from error  # fmt: skip

    async def _listen_once(self) -> None:
        try:
            async with asyncio.timeout(POLL_S):
                await self._heard.wait()
        except TimeoutError:
            return

    def _hear(self, *_: Any) -> None:
        self._heard.set()


class Moves:
    """Tells when the checkpoint has moved. Made by `moves`."""

    def __init__(self) -> None:
        self._moved = asyncio.Event()

    def tell(self, *_: Any) -> None:
        """Note that the checkpoint moved, or that there is another reason to look."""
        self._moved.set()

    async def again(self, within_s: float = SELDOM_S) -> None:
        """Return when it was told since the last call, or after `within_s`: a notification can be lost with its connection."""
        try:
            async with asyncio.timeout(within_s):
                await self._moved.wait()
        except TimeoutError:
            pass
        self._moved.clear()


@asynccontextmanager
async def moves(connection: Connection) -> AsyncIterator[Moves]:
    """The checkpoint's moves for the block, without asking for them again and again."""
    found = Moves()
    await connection.add_listener(CHANNEL, found.tell)
    try:
        yield found
    finally:
        if not connection.is_closed():
            await connection.remove_listener(CHANNEL, found.tell)
