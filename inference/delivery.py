"""Delivered chunks: what was spoken of each request, kept for minutes so that nothing is spoken twice and late joiners hear the rest.

A chunk is written to `spk.<world>.<request>` under the fence of the chunk before it, in a small stream that survives the server, which says
it again on `sig.<world>.tokens.<request>` when, and only when, it was taken. Two workers that both believe in their attempt therefore never
speak the same chunk: the first one wins, the other one learns of it and falls silent (docs/adr/0061).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.message import DecodeError

from bus.answers import Answers, header_value, status_of
from bus.connection import ApiError, Connection
from bus.errors import Conflict, Misuse, Transient, WorldbusError
from bus.signals import listen
from bus.writes import Writes
from schemas.gen.worldbus.inference.v1.types_pb2 import TokensDelivered

STREAM: Final = "SPEECH"
ROOT: Final = "spk"
KEPT_S: Final = 600
MAX_BYTES: Final = 128 << 20
LEAST_BYTES: Final = 4 << 20
_NO_ROOM: Final = (10023, 10047)
STORAGE: Final = "file"
_EXISTS: Final = 10058


@dataclass(frozen=True, slots=True)
class Heard:
    """The chunks of a request that were spoken so far; `position` is the fence of the next one."""

    chunks: tuple[TokensDelivered, ...] = ()
    position: int = 0

    @property
    def text(self) -> str:
        return "".join(chunk.text for chunk in self.chunks)

    @property
    def finished(self) -> bool:
        return bool(self.chunks) and self.chunks[-1].last

    @property
    def attempt(self) -> int:
        return self.chunks[-1].attempt if self.chunks else 0


class Delivery:
    """Writing and reading spoken chunks. One per worker."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._writes = Writes(connection)
        self._answers = Answers(connection)

    async def open(self) -> None:
        """Make the stream if it is missing, and listen for acknowledgements."""
        await ensure(self._connection)
        await self._writes.open()
        await self._answers.open()

    async def aclose(self) -> None:
        """Stop listening; what was spoken stays for its ten minutes."""
        await self._writes.aclose()
        await self._answers.close()

    def speak(self, world: str, chunk: TokensDelivered, expected: int) -> asyncio.Future[int]:
        """Say a chunk behind the one at `expected` (0: it is the first). The future ends with its position, or with `Conflict`: somebody
        else spoke. Any other error means that nobody knows whether it was heard."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        subject = f"{ROOT}.{world}.{chunk.request_id}".encode()

        def stored(position: int) -> None:
            if not future.done():
                future.set_result(position)

        def refused(error: WorldbusError) -> None:
            if not future.done():
                future.set_exception(error)

        self._writes.write(subject, subject, expected, chunk.SerializeToString(), stored, refused)
        return future

    async def mend(self) -> None:
        """Make the stream again if somebody deleted it; raises nothing."""
        with suppress(WorldbusError):
            await ensure(self._connection)

    async def heard(self, world: str, request_id: str) -> Heard:
        """Read what was spoken so far. Raises `Transient`."""
        return await heard(self._answers, world, request_id)


async def ensure(connection: Connection) -> None:
    """Make the stream of spoken chunks, if it is missing."""
    config: dict[str, Any] = {
        "name": STREAM,
        "subjects": [f"{ROOT}.*.*"],
        "storage": STORAGE,
        "max_age": KEPT_S * 1_000_000_000,
        "max_bytes": MAX_BYTES,
        "max_msgs_per_subject": -1,
        "discard": "old",
        "allow_direct": True,
        "duplicate_window": 1_000_000_000,
        "republish": {"src": f"{ROOT}.*.*", "dest": "sig.{{wildcard(1)}}.tokens.{{wildcard(2)}}"},
    }
    while True:
        try:
            await connection.make(f"STREAM.CREATE.{STREAM}", config)
        except ApiError as error:
            if error.err_code in _NO_ROOM and config["max_bytes"] > LEAST_BYTES:  # it is set aside at once: less will do on a small disk
                config["max_bytes"] //= 2
                continue
            if error.err_code != _EXISTS:
                raise Misuse(f"cannot make the stream {STREAM} for spoken chunks: {error}; free its subjects {ROOT}.*.*") from error
            await _replace(connection, config)
        return


async def _replace(connection: Connection, config: dict[str, Any]) -> None:
    """A stream made otherwise: of an earlier version, which kept chunks in memory. Nothing older than minutes is in it."""
    found = (await connection.api(f"STREAM.INFO.{STREAM}"))["config"]
    if found["storage"] != config["storage"]:
        with suppress(ApiError):  # another worker may be doing the same
            await connection.api(f"STREAM.DELETE.{STREAM}")
        await connection.make(f"STREAM.CREATE.{STREAM}", config)


async def heard(answers: Answers, world: str, request_id: str) -> Heard:
    """Read from the stream what was spoken of a request."""
    chunks: list[TokensDelivered] = []
    position = 0
    while True:
        body = {"seq": position + 1, "next_by_subj": f"{ROOT}.{world}.{request_id}", "batch": 500}
        got = await answers.ask(f"$JS.API.DIRECT.GET.{STREAM}", body, timeout=1.0)
        if status_of(got[-1][1]) in (408, 503):
            raise Transient("spoken chunks cannot be read at the moment: retry")
        before = position
        for _, header, payload in got:
            if not status_of(header):
                chunks.append(TokensDelivered.FromString(payload))
                position = int(header_value(header, b"Nats-Sequence"))
        if position == before or not int(header_value(got[-1][1], b"Nats-Num-Pending") or 0):
            return Heard(tuple(chunks), position)


async def hear(connection: Connection, world: str, request_id: str) -> AsyncIterator[TokensDelivered]:
    """Every chunk of one answer, in order and once, from its beginning, whenever one starts to listen; ends behind the last one.

    What is older than ten minutes is not spoken again: read the recorded answer.
    """
    queue: asyncio.Queue[bytes] = asyncio.Queue()
    listener = await listen(connection, f"sig.{world}.tokens.{request_id}", lambda _, payload: queue.put_nowait(payload))
    answers = Answers(connection)
    await answers.open()
    try:
        wanted = 0
        for chunk in (await heard(answers, world, request_id)).chunks:
            yield chunk
            wanted = chunk.sequence + 1
            if chunk.last:
                return
        while True:
            with suppress(DecodeError):  # anybody may send on `sig.>`
                chunk = TokensDelivered.FromString(await queue.get())
                if chunk.sequence == wanted:
                    yield chunk
                    wanted += 1
                    if chunk.last:
                        return
    finally:
        await answers.close()
        await listener.close()


class Tale:
    """The chunks of one answer, spoken one behind the other under the fence."""

    def __init__(
        self,
        delivery: Delivery,
        world: str,
        request_id: str,
        attempt: int,
        rung: str,
        before: Heard | None = None,
        *,
        fresh: asyncio.Future[bool] | None = None,
    ) -> None:
        self._delivery = delivery
        self._world = world
        self._request_id = request_id
        self._attempt = attempt
        self._position = before.position if before else 0
        self._sequence = len(before.chunks) if before else 0
        self._delivered = [before.text] if before else []
        self._closed = before.finished if before else False
        self._waiting: list[TokensDelivered] = []
        self._pump: asyncio.Task[None] | None = None
        self.rung = rung
        self.lost = False
        """True once another worker speaks this answer."""
        self.fresh = fresh
        """The answer to whether this may be spoken at all, where that is still being found out."""

    @property
    def delivered(self) -> str:
        """Exactly what was heard."""
        return "".join(self._delivered)

    @property
    def started(self) -> bool:
        """True if anything was, or is about to be, heard."""
        return bool(self._delivered and any(self._delivered)) or bool(self._waiting) or self._pump is not None

    def say(self, text: str, tokens: int = 0, *, last: bool = False) -> None:
        """Speak this next; never waits. Without text only the end marker is sent."""
        if self.lost or self._closed or not (text or last):
            return
        self._closed = last
        self._waiting.append(
            TokensDelivered(
                request_id=self._request_id,
                attempt=self._attempt,
                sequence=self._sequence,
                text=text,
                tokens=tokens,
                last=last,
                rung=self.rung,
            )
        )
        self._sequence += 1
        if self._pump is None:
            self._pump = asyncio.create_task(self._send(), name="speech")

    async def flush(self) -> bool:
        """Wait until everything said was heard; whether this answer is still ours to speak."""
        if self._pump is not None:
            await self._pump
        return not self.lost

    def hush(self) -> None:
        """Say nothing that is not on its way yet."""
        self._waiting.clear()
        self._closed = False

    async def _send(self) -> None:
        try:
            if self.fresh is not None and not (self.fresh.result() if self.fresh.done() else await asyncio.shield(self.fresh)):
                self.lost = True
            while self._waiting and not self.lost:
                chunk = self._waiting.pop(0)
                try:
                    self._position = await self._delivery.speak(self._world, chunk, self._position)
                    self._delivered.append(chunk.text)
                except Conflict:
                    self.lost = True
                except WorldbusError:
                    await self._look(chunk)
        finally:
            self._pump = None

    async def _look(self, chunk: TokensDelivered) -> None:
        """Look whether a chunk without an answer was heard, and say it if it was not, for as long as the server is away."""
        for pause in (0.02, 0.1, 0.3, 0.5, 1.0, 1.0, 1.0):
            await asyncio.sleep(pause)
            try:
                found = await self._delivery.heard(self._world, self._request_id)
                if chunk not in found.chunks:
                    if found.position > self._position:
                        self.lost = True
                        return
                    # 0: all that was heard is older than the stream remembers. A conflict may be with our own first try: look again.
                    found = Heard((), await self._delivery.speak(self._world, chunk, min(self._position, found.position)))
            except WorldbusError:
                await self._delivery.mend()
                continue
            self._position = found.position
            self._delivered.append(chunk.text)
            return
        # A signal may be lost; the recorded answer holds the text.
