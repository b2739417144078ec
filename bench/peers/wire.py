"""The least NATS client that can read: asyncio.Protocol, one loop over each read, a plain call per message. A ceiling, not a product: no
reconnect, no TLS, no checks.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

OnMessage = Callable[[bytes, bytes, bytes], None]
"""(subject, reply, payload)."""


class Wire(asyncio.Protocol):
    """One connection, one subscription."""

    def __init__(self, user: str, password: str) -> None:
        self.on_message: OnMessage = lambda subject, reply, payload: None
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._login = {
            "user": user,
            "pass": password,
            "verbose": False,
            "headers": True,
            "no_responders": True,
            "lang": "bench",
            "version": "0",
        }
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport  # uvloop has classes of its own

    def data_received(self, data: bytes) -> None:
        buffer = self._rest + data if self._rest else data
        position, end, find, call = 0, len(buffer), buffer.find, self.on_message
        while position < end:
            line_end = find(b"\r\n", position)
            if line_end < 0:
                break
            kind = buffer[position]
            if kind in (72, 77):  # HMSG, MSG
                words = buffer[position:line_end].split(b" ")
                size = int(words[-1])
                start = line_end + 2
                if start + size + 2 > end:
                    break
                head = int(words[-2]) if kind == 72 else 0
                if len(words) == (6 if head else 5):
                    call(words[1], words[3], buffer[start + head : start + size])
                position = start + size + 2
                continue
            if kind == 73:  # INFO
                self.transport.write(b"CONNECT %b\r\n" % json.dumps(self._login).encode())
                if not self.ready.done():
                    self.ready.set_result(None)
            elif buffer[position : position + 4] == b"PING":
                self.transport.write(b"PONG\r\n")
            position = line_end + 2
        self._rest = buffer[position:] if position < end else b""


async def connect(url: str) -> Wire:
    """A connection that is ready to write to."""
    parts = urlsplit(url)
    made: tuple[asyncio.Transport, Wire] = await asyncio.get_running_loop().create_connection(
        lambda: Wire(parts.username or "", parts.password or ""), parts.hostname, parts.port
    )
    await made[1].ready
    return made[1]


async def read(wire: Wire, stream: str, consumer: str, count: int, on_message: OnMessage, *, batch: int = 1000) -> None:
    """Pull `count` messages of a consumer that wants no acknowledgement, two requests open."""
    request = json.dumps({"batch": batch, "expires": 30_000_000_000}).encode()
    pull = b"PUB $JS.API.CONSUMER.MSG.NEXT.%b.%b _INBOX.bench %d\r\n%b\r\n" % (stream.encode(), consumer.encode(), len(request), request)
    done = asyncio.get_running_loop().create_future()
    got = 0

    def receive(subject: bytes, reply: bytes, payload: bytes) -> None:
        nonlocal got
        on_message(subject, reply, payload)
        got += 1
        if got % batch == 0:
            wire.transport.write(pull)
        if got == count:
            done.set_result(None)

    wire.on_message = receive
    wire.transport.write(b"SUB _INBOX.bench 1\r\n" + pull + pull)
    await done
    wire.transport.close()
