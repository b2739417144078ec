"""Asking the server: the errors of JetStream's API, patience with answers that come late, and cancellations that nats-py drops."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from bus.errors import Disconnected, Transient, Unknown, WorldbusError

START_S: Final = 60.0  # for what is opened once: the server reads a long log, or the machine is slow
T = TypeVar("T")


class ApiError(WorldbusError):
    """JetStream refused an API call. `facts`: `verb`, `code`, `err_code`."""

    code = "JETSTREAM_API"

    def __init__(self, verb: str, error: dict[str, Any]) -> None:
        super().__init__(
            f"JetStream refused {verb}: {error.get('description', error)}",
            verb=verb,
            status=error.get("code", 0),
            err_code=error.get("err_code", 0),
        )
        self.err_code: int = error.get("err_code", 0)
        self.status: int = error.get("code", 0)


async def retried(call: Callable[[], Awaitable[T]], timeout: float) -> T:
    """The result of a reading call, tried again while the server is away, for at most `timeout` seconds."""
    deadline = asyncio.get_running_loop().time() + timeout
    pause = 0.02
    while True:
        try:
            return await call()
        except (Disconnected, Transient, Unknown):
            if asyncio.get_running_loop().time() + pause > deadline:
                raise
        except ApiError as error:
            # 10008: JetStream is starting; 10076: no leader yet
            if error.status != 503 or asyncio.get_running_loop().time() + pause > deadline:
                raise
        await asyncio.sleep(pause)
        pause = min(pause * 2, 0.5)


async def heedful(call: Awaitable[T]) -> T:
    """The result or error of a call into nats-py, or the cancellation that came meanwhile.

    nats-py waits by `asyncio.wait_for`, which drops a cancellation that comes in the same turn as the answer (before Python 3.12): the task
    would go on, and whoever ends it wait for ever.
    """
    task = asyncio.current_task()
    assert task is not None
    before = task.cancelling()
    try:
        return await call
    finally:
        if task.cancelling() > before:
            raise asyncio.CancelledError
