"""One connection, guarded: requests that come too slowly, answers that nobody takes, too many connections, and what is no HTTP.

aiohttp itself refuses malformed requests, ambiguous lengths and too large headers; it has no limit on how long headers may take, or an
answer to be read. Where all connections are taken, those that have waited longest without a whole request give way to new ones: whoever
holds connections open and says nothing keeps nobody out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from heapq import nsmallest
from typing import Any, Final, cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from worldbus.gateway.cors import Cors
from worldbus.gateway.limits import Limits
from worldbus.gateway.metrics import Metrics
from worldbus.gateway.problem import CONTENT_TYPE, Problem, later

Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
SPARE_S: Final = 1.0  # that a connection may wait for a request before it has to give way
GIVE_WAY: Final = 50  # one in so many gives way at once, so that looking for them is not what a flood costs
LINGER_S: Final = 1.0  # beyond the time in which a stream drops its reader by itself


def _raw(problem: Problem, headers: Mapping[str, str]) -> bytes:
    """A whole answer, for a connection that has no request yet."""
    body = problem.body()
    lines = [f"HTTP/1.1 {problem.status} {problem.document()['title']}", f"Content-Type: {CONTENT_TYPE}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in {**problem.headers, **headers}.items()]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + body


class GuardedServer(web.Server):
    """A low-level server whose connections are guarded."""

    def __init__(self, handle: Handle, limits: Limits, metrics: Metrics, cors: Cors) -> None:
        super().__init__(handle)
        self.cors = cors
        self.limits = limits
        self.metrics = metrics

    def __call__(self) -> RequestHandler:
        limits = self.limits
        return Guarded(
            self,
            keepalive_timeout=limits.idle_s,
            max_line_size=limits.line,
            max_field_size=limits.line,
            max_headers=limits.headers,
            lingering_time=1.0,
            access_log=None,
            auto_decompress=False,  # a small body must not become a large one
        )

    def make_room(self) -> bool:
        """Close connections that wait for a request, the longest first. False: all are at work, or came just now."""
        now = self._loop.time()
        idle = [one for one in self._connections if isinstance(one, Guarded) and one.waits and now - one.since > SPARE_S]
        for one in nsmallest(max(1, self.limits.connections // GIVE_WAY), idle, key=lambda one: one.since):
            self.metrics.gave_way += 1
            one.force_close()
        return bool(idle)


class Guarded(RequestHandler):
    """A connection. One clock runs from its beginning, or the first byte of a later request, until that request's headers are complete;
    another one while an answer waits for its reader.
    """

    __slots__ = ("_guards", "_head_timer", "_silent", "_stall_timer", "_wire", "since")

    def __init__(self, server: GuardedServer, **options: Any) -> None:
        super().__init__(server, loop=asyncio.get_running_loop(), **options)
        self._guards = server
        self._head_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self._wire: asyncio.Transport | None = None
        self._silent = True
        """True while not a byte has come: then nobody waits for an answer."""
        self.since = self._loop.time()
        """Moment at which it was opened, or its last request was complete."""

    @property
    def waits(self) -> bool:
        """True while there is no whole request."""
        return self._waiter is not None and not self._waiter.done()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        server, wire = self._guards, cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        if len(server._connections) >= server.limits.connections and not server.make_room():
            server.metrics.refused_connections += 1
            full = later(503, "TOO_MANY_CONNECTIONS", f"wanted at most {server.limits.connections} connections: come again", 2)
            wire.write(_raw(full, server.cors.blind))
            wire.close()
            return
        self._wire = wire
        super().connection_made(transport)
        self._head_timer = self._loop.call_later(server.limits.head_s, self._late)
        if self._task_handler is not None:
            self._task_handler.add_done_callback(self._left)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._wire = None
        super().connection_lost(exc)
        self._stop()
        self._read_on()

    def data_received(self, data: bytes) -> None:
        before = self._request_count
        super().data_received(data)
        if self._request_count != before:
            self.since = self._loop.time()
            self._stop()
        elif self.waits and (self._head_timer is None or self._silent):
            self._stop()
            self._head_timer = self._loop.call_later(self._guards.limits.head_s, self._late)
        self._silent = False

    def _stop(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _late(self) -> None:
        self._head_timer = None
        self._guards.metrics.slow_requests += 1
        if self.transport is not None and not self._silent:
            limit = self._guards.limits.head_s
            late = Problem(408, "HEAD_TOO_SLOW", f"wanted a request's headers within {limit:g} s, found them unfinished")
            self.transport.write(_raw(late, self._guards.cors.blind))
        self.force_close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._must_be_read()

    def resume_writing(self) -> None:
        self._read_on()
        super().resume_writing()

    def force_close(self) -> None:
        super().force_close()
        self._left()

    def _left(self, _task: object = None) -> None:
        """Closing waits for the reader of what was written: not for ever."""
        if self._wire is not None and self._wire.get_write_buffer_size():
            self._must_be_read()

    def _must_be_read(self) -> None:
        if self._stall_timer is None:
            self._stall_timer = self._loop.call_later(self._guards.limits.stall_s + LINGER_S, self._stalled)

    def _read_on(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    def _stalled(self) -> None:
        self._stall_timer = None
        if self._wire is not None:
            self._guards.metrics.unread_answers += 1
            self._wire.abort()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """The answer to what cannot be parsed, and to a bug."""
        origin = request.headers.get("Origin")
        if status == 400 or exc is None:
            found = (message or "nothing that can be read").strip().splitlines()[0][:200]
            too_large = (
                "too long" in found.lower() or "too large" in found.lower() or "too many" in found.lower() or "more than" in found.lower()
            )
            code = "HEADERS_TOO_LARGE" if too_large else "BAD_REQUEST"
            problem = Problem(
                431 if too_large else 400, code, f"wanted an HTTP/1.1 request, found one that cannot be parsed: {found}", close=True
            )
        else:
            self.log_exception("gateway_bug", exc_info=exc)
            problem = Problem(500, "BUG", "the gateway failed on this request: please report it with what its log says", close=True)
        self._guards.metrics.answered("-", problem.status)
        headers = {"Connection": "close", **(self._guards.cors.headers(origin) if origin else self._guards.cors.blind)}
        return web.Response(status=problem.status, body=problem.body(), content_type=CONTENT_TYPE, headers=headers)
