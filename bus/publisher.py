"""Publishing: many events in flight on one inbox, each of which ends as "in the log at this position", as a refusal, or as unknown.

A publish that got no answer is sent again with the same id until its deadline; the log's memory of ids (2 minutes) makes that one event. An
answer "duplicate" is not believed blindly: the stored event must have the same bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from bus.answers import status_of
from bus.check import check_draft
from bus.connection import ApiError, Connection
from bus.durability import Durability, prove
from bus.errors import (
    Conflict,
    Disconnected,
    IdReused,
    NoLog,
    PermissionDenied,
    StorageFull,
    TooLarge,
    Transient,
    Unknown,
    WorldbusError,
)
from bus.event import Draft
from bus.group_commit import GroupCommit, PubAck, Singles, decode_ack
from bus.log import Log
from bus.subjects import lane_filter, partition_of

ANSWER_TIMEOUT = 5.0  # seconds without an answer until a publish is sent again
DEADLINE = 30.0  # seconds until a publish without an answer is given up as unknown
TICK = 0.25  # seconds between looks at what waits
MAX_UNSENT = 8 << 20  # bytes in the socket's buffer until publishers wait
WRONG_LAST_SEQUENCE = frozenset({10071, 10164})
TOO_LARGE = 10054
FULL = frozenset({10023, 10047, 10077})
WAITING, AGAIN, LOOKING = 0.0, -1.0, float("inf")  # `sent_at` of a publication: not sent yet, to be sent again, being looked up in the log


class Publication:
    """One event on its way into the log."""

    __slots__ = (
        "deadline",
        "expected",
        "fence",
        "fenced",
        "future",
        "id",
        "lane",
        "lines",
        "number",
        "payload",
        "publisher",
        "refused",
        "sent_at",
        "subject",
        "tries",
    )

    def __init__(self, publisher: Publisher, draft: Draft, expected: int | None, deadline: float) -> None:
        self.publisher = publisher
        self.subject, self.lines, self.payload = publisher.prepare(draft)
        self.id = draft.id
        self.lane = self.subject.rpartition(b".")[0]
        self.fenced = expected is not None
        self.expected = expected or 0
        self.fence = ""
        if expected is not None:
            self.fence = lane_filter(
                partition_of(draft.world, draft.entity, publisher.log.partitions), draft.world, draft.subsystem, draft.entity
            )
            self.lines += b"Nats-Expected-Last-Subject-Sequence: %d\r\nNats-Expected-Last-Subject-Sequence-Subject: %b\r\n" % (
                expected,
                self.fence.encode(),
            )
        self.future: asyncio.Future[int] = publisher.loop.create_future()
        self.number = 0
        self.deadline = deadline
        self.sent_at = WAITING
        self.tries = 0
        self.refused: WorldbusError | None = None

    def stored(self, position: int) -> None:
        """It is in the log."""
        self.publisher.end(self)
        if not self.future.done():
            self.future.set_result(position)

    def failed(self, error: WorldbusError) -> None:
        """It is not in the log, or nobody knows."""
        self.publisher.end(self)
        if not self.future.done():
            self.future.set_exception(error)

    def answered(self, header: bytes | None, payload: bytes) -> None:
        """The server's own words about it."""
        position = self.publisher.position_in(payload)
        if position:
            self.stored(position)
        else:
            self.publisher.judge(self, header, payload)


class Publisher:
    """Publishes through one inbox. Made by `open_publisher`; safe to share between the tasks of one event loop.

    Publishes of one publisher are recorded in the order of their submission, also over reconnects; only what the server refused or did not
    answer is sent again later, out of its turn. An entity whose events must never swap is published one by one, or with `expected`.
    """

    def __init__(
        self, connection: Connection, log: Log, durability: Durability = "strict", *, window: int = 4096, deadline: float = DEADLINE
    ) -> None:
        self.connection = connection
        self.log = log
        self.durability = durability
        self.loop = asyncio.get_running_loop()
        self._window = window
        self._deadline = deadline
        self._sender: Singles = GroupCommit(connection) if durability == "strict" else Singles(connection)
        self._open: dict[int, Publication] = {}  # in order of submission
        self._number = 0
        self._waiters: list[asyncio.Future[None]] = []
        self._ticker: asyncio.Task[None] | None = None
        self._looking: set[asyncio.Task[None]] = set()
        self._own = b'{"stream":"%b","seq":' % log.name.encode()

    async def open(self) -> None:
        """Listen for acknowledgements."""
        await self._sender.open()
        self.connection.on_disconnect.append(self._on_disconnect)
        self.connection.on_reconnect.append(self._on_reconnect)
        self.connection.on_denied.append(self._on_denied)
        self._ticker = asyncio.create_task(self._tick(), name="publisher-ticker")

    async def flush(self) -> None:
        """Return when everything submitted so far has ended, one way or the other."""
        if self._open:
            await asyncio.wait([publication.future for publication in self._open.values()])

    async def aclose(self) -> None:
        """Close now; what has no answer yet ends as `Unknown`."""
        if self._ticker is None:
            return
        self._ticker.cancel()
        self._ticker = None
        self.connection.on_disconnect.remove(self._on_disconnect)
        self.connection.on_reconnect.remove(self._on_reconnect)
        self.connection.on_denied.remove(self._on_denied)
        for publication in list(self._open.values()):
            publication.failed(self._unknown(publication, "the publisher was closed"))
        for task in self._looking:
            task.cancel()
        await self._sender.aclose()

    @property
    def in_flight(self) -> int:
        """Publishes that have no answer yet."""
        return len(self._open)

    async def publish(self, draft: Draft, *, expected: int | None = None, once: bool = False) -> int:
        """Record one event; returns its position. Waits first while the window or the socket is full.

        With `expected`, only if the last event of the same subsystem about this entity is at that position (0: there is none). The same id
        twice is recorded once within the log's memory of 2 minutes; `once` extends that for ever by looking through what the subsystem said
        about the entity.

        Raises `Rejected` (never recorded), `Conflict` (not recorded; look again), `Disconnected`, `NoLog` or `StorageFull` (not recorded,
        may be retried), `Unknown` (may be recorded: retry with the same id).
        """
        if once:
            return await self._publish_once(draft, expected)
        await self._room()
        return await self.submit(draft, expected=expected)

    def submit(self, draft: Draft, *, expected: int | None = None) -> asyncio.Future[int]:
        """As `publish`, without waiting for room: the caller bounds what it has in flight. Raises `Rejected` at once, for a bad draft."""
        publication = Publication(self, draft, expected, self.loop.time() + self._deadline)
        self._number = publication.number = self._number + 1
        self._open[publication.number] = publication
        self._send(publication)
        return publication.future

    async def publish_many(self, drafts: Iterable[Draft] | AsyncIterable[Draft]) -> list[int]:
        """Record many events in order, as quickly as the log takes them; returns their positions.

        Raises the first error; what was published before it stays recorded, and publishing the same drafts again completes the rest.
        """
        positions: list[int] = []
        futures: list[asyncio.Future[int]] = []
        async for draft in _drafts(drafts):
            await self._room()
            futures.append(self.submit(draft))
            if len(futures) >= self._window:
                positions += await asyncio.gather(*futures)
                futures.clear()
        return positions + await asyncio.gather(*futures)

    async def _room(self) -> None:
        while len(self._open) >= self._window:
            waiter = self.loop.create_future()
            self._waiters.append(waiter)
            await waiter
        if self.connection.unsent > MAX_UNSENT:
            await self.connection.drain()

    def prepare(self, draft: Draft) -> tuple[bytes, bytes, bytes]:
        """Subject, header lines and body of a draft that keeps every rule; raises `Rejected`."""
        subject = draft.subject.published().encode()
        payload = draft.encode()
        check_draft(draft, payload)
        lines = b"Nats-Msg-Id: %b\r\n" % draft.id.encode()
        if len(payload) + len(lines) + 512 > self.connection.max_payload:
            raise TooLarge(
                f"event {draft.id} of {len(payload)} bytes and its header exceed what the server takes ({self.connection.max_payload} bytes): "
                "send a reference instead",
                limit=self.connection.max_payload,
                found=len(payload) + len(lines),
            )
        return subject, lines, payload

    def position_in(self, payload: bytes) -> int:
        """The position in a plain acknowledgement, 0 for any other answer."""
        own = self._own
        if payload.startswith(own):
            rest = payload[len(own) : -1]
            if rest.isdigit():
                return int(rest)
        return 0

    def _send(self, publication: Publication) -> None:
        publication.sent_at = WAITING
        try:
            self._sender.add(publication)
        except Disconnected:
            return  # it goes out on reconnect, or ends at its deadline

    def end(self, publication: Publication) -> None:
        """Forget a publication and let the next one in."""
        self._open.pop(publication.number, None)
        while self._waiters and len(self._open) < self._window:
            waiter = self._waiters.pop()
            if not waiter.done():
                waiter.set_result(None)
                break

    def judge(self, publication: Publication, header: bytes | None, payload: bytes) -> None:
        """Any answer but a plain acknowledgement."""
        if not payload:
            if status_of(header) == 503:
                publication.refused = NoLog(
                    f"no stream takes {publication.subject.decode()}: is log {self.log.name} there, and its server started?",
                    subject=publication.subject.decode(),
                )
            publication.sent_at = AGAIN
            return
        ack = decode_ack(payload)
        if ack.error is None:
            if ack.duplicate:
                self._look(publication, self._recognise(publication, ack.seq))
            else:
                publication.stored(ack.seq)
        elif ack.error.err_code in WRONG_LAST_SEQUENCE:
            found = int(ack.error.description.rpartition(" ")[2]) if ack.error.description[-1:].isdigit() else 0
            conflict = Conflict(
                f"expected the last event on {publication.fence} at {publication.expected}, found it at {found}: look again and decide again",
                expected=publication.expected,
                found=found,
            )
            if publication.tries > 1:
                self._look(publication, self._recognise_behind(publication, conflict, found))
            else:
                publication.failed(conflict)
        else:
            self._refused(publication, ack)

    def _refused(self, publication: Publication, ack: PubAck) -> None:
        assert ack.error is not None
        words = f"{ack.error.description} ({ack.error.err_code})"
        if ack.error.err_code == TOO_LARGE:
            publication.failed(
                TooLarge(
                    f"the log refused {publication.subject.decode()}: {words}; send a reference instead", found=len(publication.payload)
                )
            )
        elif ack.error.err_code in FULL and publication.tries == 1:
            publication.failed(
                StorageFull(f"the log has no room: {words}; give its server more, then publish again", err_code=ack.error.err_code)
            )
        elif ack.error.code == 400:
            publication.failed(
                ApiError(f"publish to {publication.subject.decode()}", {"description": words, "code": 400, "err_code": ack.error.err_code})
            )
        else:
            publication.refused = Transient(
                f"the log cannot store now: {words}; publish again with the same id", err_code=ack.error.err_code
            )
            publication.sent_at = AGAIN

    def _look(self, publication: Publication, work: Coroutine[Any, Any, None]) -> None:
        publication.sent_at = LOOKING

        async def look() -> None:
            try:
                await work
            except (Transient, ApiError):
                publication.sent_at = AGAIN
            except WorldbusError as error:
                publication.failed(error)

        task = asyncio.create_task(look(), name="publisher-look")
        self._looking.add(task)
        task.add_done_callback(self._looking.discard)

    async def _recognise(self, publication: Publication, position: int) -> None:
        """The log says it knows the id: is it this event?"""
        event = await self.log.get(position)
        if event.raw == publication.payload and event.subject.published().encode() == publication.subject:
            publication.stored(position)
        else:
            publication.failed(
                IdReused(
                    f"id {publication.id} is taken by another event at position {position} ({'.'.join(event.subject)}); nothing was recorded: use a new id",
                    id=publication.id,
                    position=position,
                )
            )

    async def _recognise_behind(self, publication: Publication, conflict: Conflict, found: int) -> None:
        """A fenced publish was sent twice and refused: the first one may be what moved the entity on."""
        for event in await self.log.read_lane(publication.fence, after=publication.expected, at_least=found):
            if event.raw == publication.payload:
                publication.stored(event.position)
                return
        publication.failed(conflict)

    async def _publish_once(self, draft: Draft, expected: int | None) -> int:
        """Look for the id in everything the subsystem said about the entity, then publish under the fence of what was seen."""
        subject, _, payload = self.prepare(draft)
        fence = lane_filter(partition_of(draft.world, draft.entity, self.log.partitions), draft.world, draft.subsystem, draft.entity)
        seen = 0
        while True:
            for event in await self.log.read_lane(fence, after=seen):
                if event.raw == payload and event.subject.published().encode() == subject:
                    return event.position
                if event.id == draft.id:
                    raise IdReused(
                        f"id {draft.id} is taken by another event at position {event.position}; nothing was recorded: use a new id",
                        id=draft.id,
                        position=event.position,
                    )
                seen = event.position
            if expected is not None and seen != expected:
                raise Conflict(
                    f"expected the last event on {fence} at {expected}, found it at {seen}: look again and decide again",
                    expected=expected,
                    found=seen,
                )
            try:
                return await self.publish(draft, expected=seen)
            except Conflict:
                if expected is not None:
                    raise

    def _unknown(self, publication: Publication, why: str) -> WorldbusError:
        subject = publication.subject.decode()
        if publication.tries == 0:
            return Disconnected(f"{subject} was not sent, {why}: publish it again", id=publication.id)
        if publication.refused is not None and publication.tries == 1:
            return publication.refused
        return Unknown(f"{subject} may be in the log or not, {why}: publish it again with the same id {publication.id}", id=publication.id)

    def _on_disconnect(self) -> None:
        self._sender.forget()
        for publication in self._open.values():
            if publication.sent_at != LOOKING:
                publication.sent_at = WAITING

    def _on_reconnect(self) -> None:
        for publication in list(self._open.values()):
            if publication.sent_at != LOOKING:
                self._send(publication)

    def _on_denied(self, reason: str) -> None:
        denied = [one for one in self._open.values() if f'"{one.subject.decode().lower()}"' in reason]
        for publication in denied:
            publication.failed(
                PermissionDenied(
                    f"these credentials may not publish {publication.subject.decode()}: grant it or use others",
                    subject=publication.subject.decode(),
                )
            )

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            now = self.loop.time()
            for publication in list(self._open.values()):
                if now > publication.deadline:
                    publication.failed(self._unknown(publication, f"no answer within {self._deadline:g} s"))
                elif publication.sent_at == AGAIN or 0 < publication.sent_at < now - ANSWER_TIMEOUT:
                    self._send(publication)


@asynccontextmanager
async def open_publisher(
    connection: Connection, log: Log, durability: Durability = "strict", *, monitors: Sequence[str] = (), window: int = 4096
) -> AsyncIterator[Publisher]:
    """A publisher for the block, after the server proved what `durability` promises (see `bus.durability.prove`).

    Leaving the block waits until everything submitted has ended; leaving it by an error does not. Raises `NotDurable`.
    """
    await prove(log, durability, monitors)
    publisher = Publisher(connection, log, durability, window=window)
    await publisher.open()
    try:
        yield publisher
        await publisher.flush()
    finally:
        await publisher.aclose()


async def _drafts(drafts: Iterable[Draft] | AsyncIterable[Draft]) -> AsyncIterator[Draft]:
    if isinstance(drafts, AsyncIterable):
        async for draft in drafts:
            yield draft
    else:
        for draft in drafts:
            yield draft
