"""Streams between tests: deleted so that nothing of them is in the next ones of their names, and made to forget ids."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from bus.connection import ApiError, Connection
from worldbus.embedded import NatsServer


async def delete_streams(connection: Connection, server: NatsServer) -> None:
    """All of them.

    nats-server 2.15.1 moves a deleted stream's folder aside and removes it afterwards. Where that of an earlier stream of the name is still
    there, it deletes nothing, says that it did, and the messages are in the next stream of that name; and one that is made while the folder
    is being moved is refused. So this waits until no folder is there.
    """
    for stream in (await connection.api("STREAM.NAMES"))["streams"] or ():
        with suppress(ApiError):
            await connection.api(f"STREAM.DELETE.{stream}")
    while any(server.store.glob("jetstream/*/streams/*")):
        await asyncio.sleep(0.005)


async def forget_ids(connection: Connection) -> None:
    """Make the log's own memory of ids forget everything: what two minutes do, in a moment."""
    config = (await connection.api("STREAM.INFO.LOG"))["config"]
    await connection.api("STREAM.UPDATE.LOG", {**config, "duplicate_window": 100_000_000})
    await asyncio.sleep(0.25)
    await connection.api("STREAM.UPDATE.LOG", config)
