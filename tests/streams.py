"""A log between tests: made to forget ids."""

from __future__ import annotations

import asyncio

from bus.connection import Connection


async def forget_ids(connection: Connection) -> None:
    """Make the log's own memory of ids forget everything: what two minutes do, in a moment."""
    config = (await connection.api("STREAM.INFO.LOG"))["config"]
    await connection.api("STREAM.UPDATE.LOG", {**config, "duplicate_window": 100_000_000})
    await asyncio.sleep(0.25)
    await connection.api("STREAM.UPDATE.LOG", config)
