"""Answers of the server: header blocks, status lines, acknowledgement subjects and answers to requests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

from bus.connection import Connection, Listener, pub
from bus.errors import Disconnected, Transient

NANOS = 1_000_000_000
Answer = tuple[bytes, bytes | None, bytes]
"""(subject, header block, payload) of one answer."""


class Delivered(NamedTuple):
    """The content of a delivered message's reply subject."""

    position: int
    consumer_seq: int
    """Deliveries of this consumer so far, this one included: contiguous as long as nothing was lost on the way."""
    recorded_ns: int
    pending: int
    """Matching messages behind this one in the log at the time of delivery."""


def parse_ack(reply: bytes) -> Delivered:
    """Read the acknowledgement subject of a delivery, in its first form (9 tokens) or its second (11 or 12, with domain and account).

    >>> parse_ack(b"$JS.ACK.LOG.weather_3.1.40.7.1700000000000000000.2")
    Delivered(position=40, consumer_seq=7, recorded_ns=1700000000000000000, pending=2)
    """
    tokens = reply.split(b".")
    count = len(tokens)
    if count == 9:
        return Delivered(int(tokens[5]), int(tokens[6]), int(tokens[7]), int(tokens[8]))
    if count in (11, 12):
        return Delivered(int(tokens[7]), int(tokens[8]), int(tokens[9]), int(tokens[10]))
    raise ValueError(f"wanted an acknowledgement subject of 9, 11 or 12 tokens, found {reply!r}")


def header_value(block: bytes | None, name: bytes) -> bytes:
    """The value of the last header called `name` (the server appends its own behind the stored ones), or nothing."""
    if block is None:
        return b""
    at = block.rfind(b"\r\n" + name + b":")
    if at < 0:
        return b""
    start = at + len(name) + 3
    return block[start : block.index(b"\r\n", start)].strip()


def status_of(block: bytes | None) -> int:
    """The status code of a header block, 0 for an ordinary message."""
    return int(block[9:12]) if block is not None and block[8:9] == b" " else 0


def parse_stamp(text: str) -> int:
    """Nanoseconds since 1970 of an RFC 3339 time in UTC.

    >>> parse_stamp("2026-11-22T12:00:00.5Z")
    1795348800500000000
    """
    whole, _, fraction = text.removesuffix("Z").partition(".")
    return int(datetime.fromisoformat(whole + "+00:00").timestamp()) * NANOS + int((fraction + "000000000")[:9])


class Answers:
    """Requests whose answers we want with their headers, or several of them; one subscription for all."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._prefix = connection.new_inbox().encode()
        self._waiting: dict[bytes, Callable[[Answer], None]] = {}
        self._failing: dict[bytes, asyncio.Future[Any]] = {}
        self._listener: Listener | None = None
        self._number = 0

    async def open(self) -> None:
        """Subscribe."""
        self._listener = await self._connection.listen(f"{self._prefix.decode()}.*", self._on_message)
        self._connection.on_disconnect.append(self._on_disconnect)

    async def close(self) -> None:
        """Unsubscribe; whoever still waits gets `Disconnected`."""
        if self._listener is not None:
            self._connection.on_disconnect.discard(self._on_disconnect)
            await self._listener.close()
            self._listener = None
        self._on_disconnect()

    def _on_message(self, subject: bytes, reply: bytes, header: bytes | None, payload: bytes) -> None:
        waiting = self._waiting.get(subject)
        if waiting is not None:
            waiting((subject, header, payload))

    def _on_disconnect(self) -> None:
        for future in self._failing.values():
            if not future.done():
                future.set_exception(Disconnected(f"connection {self._connection.name!r} to NATS broke before the answer: retry"))

    async def ask(self, subject: str, body: dict[str, Any], *, timeout: float = 5.0) -> list[Answer]:
        """Send one request and collect its answers: up to the one with a status, or the only one.

        A request with `batch` in its body gets many answers that end with a status; any other gets one. Raises `Transient`.
        """
        self._number += 1
        inbox = b"%b.%d" % (self._prefix, self._number)
        done: asyncio.Future[list[Answer]] = asyncio.get_running_loop().create_future()
        answers: list[Answer] = []
        many = "batch" in body

        def collect(answer: Answer) -> None:
            answers.append(answer)
            if (not many or status_of(answer[1])) and not done.done():
                done.set_result(answers)

        self._waiting[inbox], self._failing[inbox] = collect, done
        try:
            self._connection.write(pub(subject.encode(), inbox, json.dumps(body).encode()))
            async with asyncio.timeout(timeout):
                return await done
        except TimeoutError as error:
            raise Transient(f"no answer on {subject} within {timeout} s: retry", subject=subject) from error
        finally:
            del self._waiting[inbox], self._failing[inbox]
