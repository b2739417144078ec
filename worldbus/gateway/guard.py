"""One connection, guarded: headers that come too slowly, too many connections, and answers to what is no HTTP.

aiohttp itself refuses malformed requests, ambiguous lengths and too large headers; it has no limit on how long headers may take.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from worldbus.gateway.limits import Limits
from worldbus.gateway.metrics import Metrics
from worldbus.gateway.problem import CONTENT_TYPE, Problem, later

Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def _raw(problem: Problem) -> bytes:
    """A whole answer, for a connection that has no request yet."""
    body = problem.body()
    lines = [f"HTTP/1.1 {problem.status} {problem.document()['title']}", f"Content-Type: {CONTENT_TYPE}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in problem.headers.items()]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + body


class GuardedServer(web.Server):
    """A low-level server whose connections are guarded."""

    def __init__(self, handle: Handle, limits: Limits, metrics: Metrics) -> None:
        super().__init__(handle)
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


class Guarded(RequestHandler):
    """A connection. The clock runs from the first byte of a request until its headers are complete."""

    __slots__ = ("_guards", "_head_timer")

    def __init__(self, server: GuardedServer, **options: Any) -> None:
        super().__init__(server, loop=asyncio.get_running_loop(), **options)
        self._guards = server
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        server = self._guards
        if len(server._connections) >= server.limits.connections:
            server.metrics.refused_connections += 1
            refused = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
            refused.write(
                _raw(later(503, "TOO_MANY_CONNECTIONS", f"wanted at most {server.limits.connections} connections: come again", 2))
            )
            refused.close()
            return
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        before = self._request_count
        super().data_received(data)
        if self._request_count != before:
            self._stop()
        elif self._head_timer is None and self._waiter is not None and not self._waiter.done():
            self._head_timer = self._loop.call_later(self._guards.limits.head_s, self._late)

    def _stop(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _late(self) -> None:
        self._head_timer = None
        self._guards.metrics.slow_requests += 1
        if self.transport is not None:
            limit = self._guards.limits.head_s
            self.transport.write(
                _raw(Problem(408, "HEAD_TOO_SLOW", f"wanted a request's headers within {limit:g} s, found them unfinished"))
            )
        self.force_close()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """The answer to what cannot be parsed, and to a bug."""
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
        return web.Response(status=problem.status, body=problem.body(), content_type=CONTENT_TYPE, headers={"Connection": "close"})
