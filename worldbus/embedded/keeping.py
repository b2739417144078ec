"""Keeping embedded servers alive: started again when they end, and when a full disk that stopped them has room again."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import structlog

from bus.errors import ServerFailed
from worldbus.embedded import room
from worldbus.embedded.blocking import in_thread

if TYPE_CHECKING:
    from worldbus.embedded.nats import NatsServer
    from worldbus.embedded.postgres import PostgresServer

WATCH_S: Final = 0.2
LOOK_S: Final = 3.0  # between two looks at the log's room
RESTARTS_ALLOWED: Final = 5  # in a row, before a nats-server that keeps ending is given up
STEADY_S: Final = 30.0  # a server that ran this long starts a new row
LAST_PAUSE_S: Final = 15.0
FAILURES: Final = (ServerFailed, OSError)
"""Of a start: on a full disk the files that a server is started with cannot be written either."""
ROOM: Final = room.AGAIN_MB * room.MB

log = structlog.get_logger(__name__)


class _Row:
    """Starts of one server that ended by itself."""

    def __init__(self) -> None:
        self._clock = asyncio.get_running_loop().time
        self.restarts, self._since = 0, self._clock()

    def next(self) -> float:
        """Count one more; seconds to wait before it."""
        if self._clock() - self._since > STEADY_S:
            self.restarts = 0
        self.restarts += 1
        return min(WATCH_S * 2 ** (self.restarts - 1), LAST_PAUSE_S) if self.restarts > 1 else 0.0

    def started(self) -> None:
        self._since = self._clock()


async def keep_postgres(server: PostgresServer) -> None:
    """Start it again whenever it ended, for ever: the log and the handlers do not need it. Runs until cancelled."""
    row = _Row()
    while True:
        await asyncio.sleep(WATCH_S)
        if server.pid is not None:
            continue
        await asyncio.sleep(row.next())
        log.warning("embedded_server_restarting", server=server.name, restarts=row.restarts, free_mb=room.free(server.data) // room.MB)
        try:
            await in_thread(server.start)
        except FAILURES as error:
            log.error("embedded_server_failed", server=server.name, restarts=row.restarts, reason=str(error))
        row.started()


async def keep_nats(server: NatsServer) -> None:
    """Start it again when it ended, and when there is room again after the log was full. Raises `ServerFailed` when it keeps ending on a
    disk that has room. Runs until cancelled."""
    row, room_of = _Row(), _Room(server)
    while True:
        await asyncio.sleep(WATCH_S)
        if server.pid is not None:
            await room_of.look()
            continue
        pause = row.next()
        if row.restarts > RESTARTS_ALLOWED and room.free(server.store) > ROOM:
            raise ServerFailed(f"{server.name} ended {row.restarts} times in a row: {server.last_words()}")
        await asyncio.sleep(pause)
        log.warning("embedded_server_restarting", server=server.name, restarts=row.restarts)
        try:
            await in_thread(server.start)
        except FAILURES as error:
            if room.free(server.store) > ROOM:
                raise
            log.error("embedded_server_failed", server=server.name, restarts=row.restarts, reason=str(error))
        row.started()


class _Room:
    """Restarts a nats-server whose log was full when there is room again: it raises no limit while it runs, and a stream whose write the
    disk refused takes nothing more until then. Publishers meet a short reconnect, and go on."""

    def __init__(self, server: NatsServer) -> None:
        self._server = server
        self._clock = asyncio.get_running_loop().time
        self._look_at = 0.0
        self._full = False

    async def look(self) -> None:
        """Every `LOOK_S` seconds."""
        if self._clock() < self._look_at:
            return
        server = self._server
        why = await in_thread(server.full)
        if why and not self._full:
            log.error("log_is_full", server=server.name, reason=why, free_mb=room.free(server.store) // room.MB)
        self._full = bool(why)
        if why and server.has_more_room():
            log.warning("embedded_server_restarting", server=server.name, reason="its disk has room again")
            with suppress(*FAILURES):  # full again already: it is down, and started as one that ended
                await in_thread(server.restart)
        self._look_at = self._clock() + LOOK_S
