"""A line between a client and a real nats-server that loses, doubles, holds back or swaps what it carries, frame by frame, and breaks.

A whole server never loses a delivery or an acknowledgement, and a killed one loses them at a moment of its own choosing. Here a test says
which one. The server is real, and so is the client; only what the network does is scripted.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

READ_BYTES = 65_536
_SIZED = frozenset({b"PUB", b"HPUB", b"MSG", b"HMSG"})


class Frame(NamedTuple):
    """One word of the protocol. `subject`, `reply` and `body` (header and payload) are empty where it has none."""

    verb: bytes
    subject: bytes
    reply: bytes
    body: bytes
    raw: bytes

    @property
    def delivery(self) -> bool:
        """Return whether a consumer hands over an event with it."""
        return self.verb in (b"MSG", b"HMSG") and self.reply.startswith(b"$JS.ACK.")

    @property
    def published(self) -> bool:
        """Return whether a client says something with it."""
        return self.verb in (b"PUB", b"HPUB")

    @property
    def answered(self) -> bool:
        """Return whether it tells a writer that an event is stored."""
        return self.verb in (b"MSG", b"HMSG") and self.body.startswith(b'{"stream":')


Carry = Callable[[Frame], Iterable[Frame]]
"""The rest of a frame behind the line: itself, nothing, itself twice, or what was held back before."""


def all_of_it(frame: Frame) -> Iterable[Frame]:
    """A good line."""
    return (frame,)


class Frames:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterable[Frame]:
        """The frames that are whole now."""
        buffer, at = self._rest + data, 0
        while (end := buffer.find(b"\r\n", at)) >= 0:
            words = buffer[at:end].split()
            verb = words[0].upper() if words else b""
            after = end + 2
            if verb not in _SIZED:
                yield Frame(verb, b"", b"", b"", buffer[at:after])
                at = after
                continue
            size = int(words[-1])
            if len(buffer) < after + size + 2:
                break
            yield _sized(verb, words, buffer[after : after + size], buffer[at : after + size + 2])
            at = after + size + 2
        self._rest = buffer[at:]


def _sized(verb: bytes, words: Sequence[bytes], body: bytes, raw: bytes) -> Frame:
    names = words[1 : -2 if verb in (b"HPUB", b"HMSG") else -1]
    replies = names[2:] if verb in (b"MSG", b"HMSG") else names[1:]  # a delivery names its subscription too
    return Frame(verb, names[0], replies[0] if replies else b"", body, raw)


@dataclass(slots=True)
class Proxy:
    """The line. `up` carries what the client says, `down` what the server says; both may be exchanged at any time."""

    server: str
    up: Carry = all_of_it
    down: Carry = all_of_it
    url: str = ""
    connections: int = 0
    """Clients that came so far."""
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def cut(self) -> None:
        """Break every connection now; what is on its way is lost. The client may come again."""
        for writer in self._writers:
            writer.transport.abort()

    def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A client is there."""
        self.connections += 1
        task = asyncio.create_task(self._serve(reader, writer), name="proxy")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client, until either side goes."""
        place = urlsplit(self.server)
        try:
            far_reader, far_writer = await asyncio.open_connection(place.hostname, place.port)
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, far_writer}
        self._writers |= ends
        ways = [
            asyncio.create_task(self._carry(reader, far_writer, self._up), name="proxy-up"),
            asyncio.create_task(self._carry(far_reader, writer, self._down), name="proxy-down"),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for end in ends:
                end.transport.abort()
            self._writers -= ends

    def _up(self, frame: Frame) -> Iterable[Frame]:
        return self.up(frame)

    def _down(self, frame: Frame) -> Iterable[Frame]:
        return self.down(frame)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, carry: Carry) -> None:
        frames = Frames()
        with suppress(ConnectionError):
            while data := await reader.read(READ_BYTES):
                arrived = b"".join(one.raw for frame in frames.feed(data) for one in carry(frame))
                if arrived:
                    writer.write(arrived)
                    await writer.drain()

    async def aclose(self) -> None:
        """Break everything and wait until it is broken."""
        self.cut()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def proxied(server: str) -> AsyncIterator[Proxy]:
    """A line to the nats-server at this address; `Proxy.url` is its own, with the same credentials."""
    proxy = Proxy(server)
    listening = await asyncio.start_server(proxy.take, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    place = urlsplit(server)
    credentials, _, _ = place.netloc.rpartition("@")
    proxy.url = urlunsplit(place._replace(netloc=f"{credentials}@127.0.0.1:{port}" if credentials else f"127.0.0.1:{port}"))
    try:
        yield proxy
    finally:
        listening.close()
        await proxy.aclose()
