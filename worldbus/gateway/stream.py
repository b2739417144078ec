"""Server-sent events: one response that goes on, with signs of life, and a clear end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from aiohttp import web

from worldbus.gateway.limits import Limits
from worldbus.gateway.metrics import Metrics

CONTENT_TYPE: Final = "text/event-stream"
HEADERS: Final = {
    "Content-Type": CONTENT_TYPE,
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # proxies pass it on as it comes
}
RETRY_MS: Final = 1000


class ReaderGone(Exception):
    """The reader closed the connection, or took nothing for too long: there is nobody left to tell."""


class Stream:
    """One reader. Writing waits for the reader, but not for ever: whoever takes nothing for `stall_s` is dropped."""

    def __init__(
        self, request: web.BaseRequest, limits: Limits, metrics: Metrics, granted: Callable[[], bool], headers: Mapping[str, str]
    ) -> None:
        """`granted`: whether its token still is what it was when the stream began; asked before each look at what is new.

        headers  further ones of the answer
        """
        self.granted = granted
        self._request = request
        self._limits = limits
        self._metrics = metrics
        self.response = web.StreamResponse(headers={**HEADERS, **headers})
        self.response.force_close()

    async def open(self) -> None:
        """Send the head, and how long a reader should wait before it comes again."""
        await self.response.prepare(self._request)
        await self.write(b"retry: %d\n\n" % RETRY_MS)

    async def end_unless_granted(self) -> bool:
        """True while its token stands; if not, the stream has ended."""
        if self.granted():
            return True
        await self.end("TOKEN_CHANGED", "the token is not what it was when this stream began: come again, if it is still good")
        return False

    async def write(self, data: bytes) -> None:
        """Raises `ReaderGone`."""
        try:
            async with asyncio.timeout(self._limits.stall_s):
                await self.response.write(data)
        except TimeoutError as error:
            self._metrics.dropped["slow"] += 1
            if self._request.transport is not None:
                self._request.transport.abort()
            raise ReaderGone from error
        except (ConnectionError, RuntimeError) as error:
            raise ReaderGone from error

    async def end(self, code: str, words: str, **more: Any) -> None:
        """Say why it ends. The reader comes again with `Last-Event-ID`, unless it was told not to."""
        self._metrics.dropped[code.lower()] += 1
        try:
            await self.write(named("end", {"code": code, "detail": words, **more}))
            await self.response.write_eof()
        except (ReaderGone, ConnectionError, RuntimeError):
            return


def named(event: str, data: dict[str, Any]) -> bytes:
    """A block with a name of its own, which `onmessage` does not see."""
    return f"event: {event}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode(errors="replace")


def recorded(position: int, line: str) -> bytes:
    """A block with one recorded event; its id is its position."""
    return f"id: {position}\ndata: {line}\n\n".encode(errors="replace")


def alive(position: int) -> bytes:
    """A sign of life. It moves the reader's `Last-Event-ID` on without an event, so that coming again skips what was of no interest."""
    return b": alive\nid: %d\n\n" % position
