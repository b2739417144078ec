"""Bad moods of a Postgres, each for as long as a block lasts: `MOODS`."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg

from bench.chaos.disk import NoDisk
from bench.small_disk import fill

BACK_S: Final = 180.0  # until a server has to be well again
TROUBLE: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)
OURS: Final = "usename IN ('worldbus_owner', 'worldbus_reader', 'worldbus_gateway')"
END_OURS: Final = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OURS}"


@dataclass(frozen=True, slots=True)
class Tables:
    """The Postgres of a data folder, in the hands of its superuser."""

    folder: Path
    admin: str

    @property
    def worldbus(self) -> str:
        """The superuser's address of worldbus' database."""
        return self.admin.replace("/postgres?", "/worldbus?")

    @property
    def pid(self) -> int:
        """The postmaster's; raises `OSError` while there is none."""
        return int((self.folder / "postgres" / "data" / "postmaster.pid").read_text().split("\n", 1)[0])

    @property
    def pids(self) -> list[int]:
        """The postmaster's and those of its children."""
        pid = self.pid
        return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]

    async def tell(self, *statements: str) -> None:
        """Execute these, on a connection of their own."""
        connection = await asyncpg.connect(self.admin, timeout=10)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close(timeout=5)

    async def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of worldbus' database, or nothing while nobody answers."""
        with suppress(*TROUBLE):
            connection = await asyncpg.connect(self.worldbus, timeout=10)
            try:
                return [tuple(row) for row in await connection.fetch(sql)]
            finally:
                await connection.close(timeout=5)
        return []

    async def insist(self, *statements: str) -> None:
        """Tell Postgres, as often as it takes: the server may be coming back."""
        async with asyncio.timeout(BACK_S):
            while True:
                try:
                    return await self.tell(*statements)
                except TROUBLE:
                    await asyncio.sleep(0.2)


Mood = Callable[[Tables], AbstractAsyncContextManager[None]]


def _said(begin: str, end: str) -> Mood:
    """A mood that two statements begin and end; who is connected has to come again, as after a failover."""

    @asynccontextmanager
    async def mood(tables: Tables) -> AsyncIterator[None]:
        await tables.tell(begin, END_OURS)
        try:
            yield
        finally:
            await tables.insist(end, END_OURS)

    return mood


@asynccontextmanager
async def _locked(tables: Tables) -> AsyncIterator[None]:
    """Lock the archive, and send away after half a second those who wait for a lock."""
    holder = await asyncpg.connect(tables.worldbus)
    await tables.tell("ALTER ROLE worldbus_owner SET lock_timeout = '500ms'", END_OURS)
    await holder.execute("BEGIN; LOCK TABLE worldbus.events IN SHARE MODE")
    try:
        yield
    finally:
        await holder.close()
        await tables.insist("ALTER ROLE worldbus_owner RESET lock_timeout", END_OURS)


@asynccontextmanager
async def _repeated(step: Callable[[], Awaitable[None]], every_s: float) -> AsyncIterator[None]:
    async def repeat() -> None:
        while True:
            with suppress(*TROUBLE):
                await step()
            await asyncio.sleep(every_s)

    task = asyncio.create_task(repeat())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def _stopped(tables: Tables) -> AsyncIterator[None]:
    """Shut the server down, and again whenever it was started."""

    async def stop() -> None:
        os.kill(tables.pid, signal.SIGINT)

    async with _repeated(stop, 0.1):
        yield


@asynccontextmanager
async def _killed(tables: Tables) -> AsyncIterator[None]:
    """Crash the server, and again while it recovers."""

    async def kill() -> None:
        os.kill(tables.pid, signal.SIGKILL)

    async with _repeated(kill, 0.5):
        yield


@asynccontextmanager
async def _hanging(tables: Tables) -> AsyncIterator[None]:
    """Every process of it stands still."""
    stopped = tables.pids
    try:
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in stopped:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def _out_of_connections(tables: Tables) -> AsyncIterator[None]:
    """Take all connections."""
    taken: list[asyncpg.Connection] = []

    async def take() -> None:
        while True:
            if taken:
                await taken[0].execute(END_OURS)
            taken.append(await asyncpg.connect(tables.admin, timeout=10))

    with suppress(asyncpg.TooManyConnectionsError):
        await take()
    try:
        async with _repeated(take, 0.1):
            yield
    finally:
        for one in taken:
            one.terminate()


@asynccontextmanager
async def _full(tables: Tables) -> AsyncIterator[None]:
    """The disk of Postgres has not one byte left."""
    place = tables.folder / "postgres"
    if not place.is_mount():
        raise NoDisk("a full disk needs a disk of its own")
    ballast = fill(place)

    async def again() -> None:  # what Postgres gave back meanwhile
        fill(place)

    try:
        async with _repeated(again, 0.1):
            yield
    finally:
        ballast.unlink()


MOODS: Final[Mapping[str, Mood]] = {
    "read-only": _said(
        "ALTER DATABASE worldbus SET default_transaction_read_only = on", "ALTER DATABASE worldbus RESET default_transaction_read_only"
    ),
    "locked": _locked,
    "no-connections": _said("ALTER DATABASE worldbus ALLOW_CONNECTIONS false", "ALTER DATABASE worldbus ALLOW_CONNECTIONS true"),
    "no-login": _said("ALTER ROLE worldbus_owner NOLOGIN", "ALTER ROLE worldbus_owner LOGIN"),
    "out-of-connections": _out_of_connections,
    "stopped": _stopped,
    "killed": _killed,
    "hanging": _hanging,
    "disk-full": _full,
}
