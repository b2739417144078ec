"""Fenced writes: each writer hears of its own, however many of them share a connection."""

from __future__ import annotations

import asyncio
from typing import Any

from bus.connection import Connection
from bus.errors import Conflict, WorldbusError
from bus.writes import Writes


def _write(writes: Writes, subject: str, expected: int) -> asyncio.Future[Any]:
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def done(outcome: int | WorldbusError) -> None:
        if not future.done():
            future.set_result(outcome)

    writes.write(subject.encode(), subject.encode(), expected, b"x", done, done)
    return future


async def test_writers_on_one_connection_do_not_take_each_others_acknowledgements(connection: Connection) -> None:
    await connection.api("STREAM.CREATE.W", {"name": "W", "subjects": ["w.*"]})
    writers = [Writes(connection) for _ in range(3)]
    for writer in writers:
        await writer.open()
    first = await asyncio.gather(*(_write(writer, f"w.{number}", 0) for number, writer in enumerate(writers)))
    again = await asyncio.gather(*(_write(writer, f"w.{number}", number) for number, writer in enumerate(writers)))
    for writer in writers:
        await writer.aclose()
    await connection.api("STREAM.DELETE.W")

    assert sorted(first) == [1, 2, 3]
    assert all(isinstance(outcome, Conflict) for outcome in again), again
