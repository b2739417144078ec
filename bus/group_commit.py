"""The way into the log: one by one, or, while the disk is busy with an earlier one, gathered into atomic batches that share one sync.

Under `sync_interval: always` each single write costs the server a sync (about 1 ms here), an atomic batch of up to 1000 costs one opening
of its staging store and one sync together (about 10 ms). So a few waiting writes go alone, and many go together. A refused batch is taken
apart, so that every write gets its own answer.

Two writes under the fence of one lane must never share a batch: the server checks the expected sequence of a batch against the log as it
was before the batch, so both would be stored. (Found on nats-server 2.15.1; tests/integration/bus/test_publish.py holds us to it.)
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Protocol

import msgspec

from bus.connection import Connection, Listener, hpub
from bus.errors import Disconnected
from bus.event import new_id

MAX_BATCH = 1000  # messages, the server's own limit
MAX_BATCH_BYTES = 4 << 20
SINGLES = 8  # writes that may be on their way alone; where a batch begins to pay
BATCH_TIMEOUT = 4.5  # seconds until a batch or a single write without an answer stops holding up the next one
ATOMIC_DUPLICATE = 10201
WRONG_LAST_SEQUENCE = frozenset({10071, 10164})  # with the sequence that was found, without it


class Framed(Protocol):
    """The parts of a frame."""

    @property
    def subject(self) -> bytes:
        """The subject that the frame is published on."""

    @property
    def lines(self) -> bytes:
        """Header lines, each with its line end."""

    @property
    def payload(self) -> bytes:
        """The event."""


class Write(Protocol):
    """One write on its way into the log."""

    subject: bytes
    lines: bytes
    """Header lines, each with its line end."""
    payload: bytes
    lane: bytes
    """The part of the log that its fence covers: the subject without the event's name."""
    fenced: bool
    sent_at: float
    """Loop time of the last sending, set by the sender."""
    tries: int
    """Sendings so far, counted by the sender."""

    @property
    def ended(self) -> bool:
        """True for a write without a waiting caller, which was reported as not recorded or unknown: it must not be sent now."""

    def stored(self, position: int) -> None:
        """Take the write as recorded at `position`."""

    def answered(self, header: bytes | None, payload: bytes) -> None:
        """The server's own answer to this write: an acknowledgement or an error."""


class AckError(msgspec.Struct):
    """JetStream's refusal."""

    code: int = 0
    err_code: int = 0
    description: str = ""


class PubAck(msgspec.Struct):
    """JetStream's answer to a publish."""

    stream: str = ""
    seq: int = 0
    duplicate: bool = False
    count: int = 0
    error: AckError | None = None


decode_ack = msgspec.json.Decoder(PubAck).decode


class Singles:
    """Every write alone, as soon as it comes. Forgets what is on its way when the connection breaks: its owner sends it again."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._prefix = f"{connection.new_inbox()}.".encode()
        self._cut = len(self._prefix)
        self._number = 0
        self._flights: dict[int, tuple[Write, float]] = {}  # with the loop time of its sending
        self._listener: Listener | None = None
        self._loop = asyncio.get_running_loop()

    async def open(self) -> None:
        """Listen for acknowledgements."""
        self._listener = await self._connection.listen(f"{self._prefix.decode()}*", self._on_ack)

    async def aclose(self) -> None:
        """Stop listening; what is on its way stays without an answer."""
        if self._listener is not None:
            await self._listener.close()
            self._listener = None
        self.forget()

    def add(self, write: Write) -> None:
        """Send it. Raises `Disconnected`; then it was not sent."""
        self._send(write)

    def forget(self) -> None:
        """Drop everything that waits or is on its way; late answers are ignored."""
        self._flights.clear()

    def _send(self, write: Write) -> None:
        self._number = number = self._number + 1
        self._connection.write(hpub(write.subject, b"%b%d" % (self._prefix, number), b"NATS/1.0\r\n%b\r\n" % write.lines, write.payload))
        write.sent_at = now = self._loop.time()
        write.tries += 1
        self._flights[number] = write, now

    def _on_ack(self, subject: bytes, reply: bytes, header: bytes | None, payload: bytes) -> None:
        self._landed(int(subject[self._cut :]), header, payload)

    def _landed(self, number: int, header: bytes | None, payload: bytes) -> None:
        flight = self._flights.pop(number, None)
        if flight is not None:
            flight[0].answered(header, payload)


class GroupCommit(Singles):
    """Writes that wait for the disk travel together; see the top of this file. Order: as added, except where a refused batch is taken
    apart.
    """

    def __init__(self, connection: Connection, *, singles: int = SINGLES) -> None:
        super().__init__(connection)
        self._singles = singles
        self._queue: deque[Write] = deque()
        self._apart: deque[list[Write]] = deque()  # pieces of refused batches, first in turn
        self._batch: list[Write] = []
        self._batch_number = 0
        self._batch_sent = 0.0
        self._turning = False
        self.batches = 0
        """Batches stored so far."""

    def add(self, write: Write) -> None:
        """Send it with whatever else is added in this turn of the event loop, or later with what waits."""
        if not self._connection.connected:
            raise Disconnected(f"connection {self._connection.name!r} to NATS is down and reconnecting: retry")
        self._queue.append(write)
        self._turn_soon()

    def forget(self) -> None:
        super().forget()
        self._queue.clear()
        self._apart.clear()
        self._batch = []

    def _turn_soon(self) -> None:
        if not self._turning:
            self._turning = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._turning = False
        if self._batch:
            if self._loop.time() - self._batch_sent < BATCH_TIMEOUT:
                return
            self._batch = []  # its owner looks after the writes; the others need not wait for ever
        self._give_up_the_unanswered()
        try:
            self._travel()
        except Disconnected:
            self.forget()

    def _give_up_the_unanswered(self) -> None:
        """Answers can be lost while the connection stays: a write that is sent again must not wait for its own first answer."""
        oldest = self._loop.time() - BATCH_TIMEOUT
        while self._flights:
            number, (_, sent_at) = next(iter(self._flights.items()))
            if sent_at >= oldest:
                return
            del self._flights[number]

    def _travel(self) -> None:
        while self._apart and not self._flights:
            if piece := [write for write in self._apart.popleft() if not write.ended]:
                self._together(piece)
                return
        if self._apart:
            return
        if len(self._queue) <= self._singles - len(self._flights):
            while self._queue:
                if not (write := self._queue.popleft()).ended:
                    self._send(write)
        elif not self._flights:
            self._together(self._cut_batch())

    def _together(self, writes: list[Write]) -> None:
        if len(writes) <= self._singles:
            for write in writes:
                self._send(write)
        else:
            self._send_batch(writes)

    def _cut_batch(self) -> list[Write]:
        """The first writes of the queue that may share a batch."""
        writes: list[Write] = []
        fenced: set[bytes] = set()
        lanes: set[bytes] = set()
        size = 0
        while self._queue and len(writes) < MAX_BATCH and size < MAX_BATCH_BYTES:
            write = self._queue[0]
            if write.ended:
                self._queue.popleft()
                continue
            if write.lane in fenced or (write.fenced and write.lane in lanes):
                break
            lanes.add(write.lane)
            if write.fenced:
                fenced.add(write.lane)
            size += len(write.payload)
            writes.append(self._queue.popleft())
        return writes

    def _send_batch(self, writes: list[Write]) -> None:
        self._number = number = self._number + 1
        self._connection.write(batch_frames(writes, b"%b%d" % (self._prefix, number)))
        self._batch, self._batch_number, self._batch_sent = writes, number, self._loop.time()
        for write in writes:
            write.sent_at = self._batch_sent
            write.tries += 1

    def _on_ack(self, subject: bytes, reply: bytes, header: bytes | None, payload: bytes) -> None:
        number = int(subject[self._cut :])
        if self._batch and number == self._batch_number:
            self._on_batch(payload)
        else:
            self._landed(number, header, payload)
        if self._queue or self._apart:
            self._turn_soon()

    def _on_batch(self, payload: bytes) -> None:
        writes, self._batch = self._batch, []
        ack = decode_ack(payload) if payload else None
        if ack is not None and ack.error is None and ack.count == len(writes):
            self.batches += 1
            for position, write in enumerate(writes, ack.seq - len(writes) + 1):
                write.stored(position)
            return
        middle = len(writes) // 2
        if ack is None or ack.error is None or ack.error.err_code == ATOMIC_DUPLICATE or middle <= self._singles:
            pieces = [writes[at : at + self._singles] for at in range(0, len(writes), self._singles)]
        else:  # most likely one stale fence among many good ones: halves find it in a few syncs
            pieces = [writes[:middle], writes[middle:]]
        self._apart.extendleft(reversed(pieces))


def batch_frames(writes: Sequence[Framed], reply: bytes) -> bytes:
    """The frames of one atomic batch; the last one commits it and asks for the answer."""
    batch = new_id().encode()
    last = len(writes)
    frames = []
    for number, write in enumerate(writes, 1):
        header = b"NATS/1.0\r\n%bNats-Batch-Id: %b\r\nNats-Batch-Sequence: %d\r\n%b\r\n" % (
            write.lines,
            batch,
            number,
            b"Nats-Batch-Commit: 1\r\n" if number == last else b"",
        )
        frames.append(hpub(write.subject, reply if number == last else b"", header, write.payload))
    return b"".join(frames)
