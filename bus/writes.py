"""Fenced writes in flight: a frame goes out, its acknowledgement comes back to a plain function. One inbox, no future per write."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from bus.connection import Connection, Listener, hpub
from bus.errors import Conflict, Disconnected, Rejected, Transient, Unknown, WorldbusError
from bus.group_commit import WRONG_LAST_SEQUENCE, AckError, batch_frames, decode_ack

ACK_TIMEOUT_S = 2.0  # without an answer for so long, a write is looked up in the log instead
MAX_TOGETHER = 8  # atomic batches on their way; the server holds 50 for a stream

OnStored = Callable[[int], None]
OnRefused = Callable[[WorldbusError], None]


def refusal(error: AckError) -> WorldbusError:
    """The meaning of a refused write for its writer."""
    if error.err_code in WRONG_LAST_SEQUENCE:
        found = int(error.description.rpartition(" ")[2]) if error.description[-1:].isdigit() else 0
        return Conflict(f"the entity is at position {found}, not where it was expected: look again", found=found)
    if error.code == 400:
        return Rejected(f"the log refused the event: {error.description} ({error.err_code})", err_code=error.err_code)
    return Transient(f"the log cannot store now: {error.description} ({error.err_code}); retry", err_code=error.err_code)


class Written(Protocol):
    """An event to be written, and its subject."""

    @property
    def subject(self) -> bytes: ...

    @property
    def raw(self) -> bytes: ...


class _Frame(NamedTuple):
    subject: bytes
    lines: bytes
    payload: bytes


def _fence(fence: bytes, expected: int) -> bytes:
    return b"Nats-Expected-Last-Subject-Sequence: %d\r\nNats-Expected-Last-Subject-Sequence-Subject: %b\r\n" % (expected, fence)


@dataclass(slots=True)
class _Flight:
    on_stored: OnStored
    on_refused: OnRefused
    sent_at: float
    together: bool


class Writes:
    """Expected-sequence writes of one runner. Every write ends in exactly one call: stored at a position, or refused with the reason.

    `Unknown` and `Disconnected` mean that the write may or may not be in the log. A late acknowledgement of such a write is ignored.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._prefix = f"{connection.new_inbox()}.".encode()  # its own: others on this connection write too
        self._next = 0
        self._flights: dict[int, _Flight] = {}
        self._together = 0
        self._listener: Listener | None = None
        self._sweeper: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Start to listen for acknowledgements."""
        self._listener = await self._connection.listen(self._prefix.decode() + "*", self._on_ack)
        self._connection.on_disconnect.append(self._on_disconnect)
        self._sweeper = asyncio.create_task(self._sweep(), name="writes-sweeper")

    async def aclose(self) -> None:
        """Stop; writes in flight are not waited for."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._connection.on_disconnect.discard(self._on_disconnect)
        if self._listener is not None:
            await self._listener.close()

    @property
    def in_flight(self) -> int:
        return len(self._flights)

    def write(self, subject: bytes, fence: bytes, expected: int, payload: bytes, on_stored: OnStored, on_refused: OnRefused) -> None:
        """Append `payload` if the last event on the filter `fence` is at position `expected` (0: there is none)."""
        header = b"NATS/1.0\r\n%b\r\n" % _fence(fence, expected)
        self._send(lambda reply: hpub(subject, reply, header, payload), on_stored, on_refused, together=False)

    @property
    def room_for_together(self) -> bool:
        """Return whether another atomic batch may be on its way."""
        return self._together < MAX_TOGETHER

    def write_together(self, events: Sequence[Written], fence: bytes, expected: int, on_stored: OnStored, on_refused: OnRefused) -> None:
        """Append all `events`, at consecutive positions, or none, if the last event on the filter `fence` is at position `expected`.

        `on_stored` is called with the position of the last one.
        """
        frames = [_Frame(event.subject, b"" if number else _fence(fence, expected), event.raw) for number, event in enumerate(events)]
        self._send(lambda reply: batch_frames(frames, reply), on_stored, on_refused, together=True)

    def _send(self, frames: Callable[[bytes], bytes], on_stored: OnStored, on_refused: OnRefused, *, together: bool) -> None:
        self._next += 1
        slot = self._next
        self._flights[slot] = _Flight(on_stored, on_refused, time.monotonic(), together)
        self._together += together
        try:
            self._connection.write(frames(b"%b%d" % (self._prefix, slot)))
        except Disconnected as error:
            self._refuse_soon(slot, error)

    def _land(self, slot: int) -> _Flight | None:
        flight = self._flights.pop(slot, None)
        if flight is not None:
            self._together -= flight.together
        return flight

    def _refuse_soon(self, slot: int, error: WorldbusError) -> None:
        def refuse() -> None:
            flight = self._land(slot)
            if flight is not None:
                flight.on_refused(error)

        asyncio.get_running_loop().call_soon(refuse)

    def _on_ack(self, subject: bytes, reply: bytes, header: bytes | None, payload: bytes) -> None:
        flight = self._land(int(subject[len(self._prefix) :]))
        if flight is None:
            return
        if not payload:  # "503 no responders": JetStream is not up yet
            flight.on_refused(Transient("nobody stores events: JetStream is not ready; retry"))
            return
        ack = decode_ack(payload)
        if ack.error is None:
            flight.on_stored(ack.seq)
        else:
            flight.on_refused(refusal(ack.error))

    def _on_disconnect(self) -> None:
        flights, self._flights, self._together = self._flights, {}, 0
        error = Unknown("the connection broke before the log answered: look it up")
        for flight in flights.values():
            flight.on_refused(error)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(ACK_TIMEOUT_S / 4)
            oldest = time.monotonic() - ACK_TIMEOUT_S
            late = [slot for slot, flight in self._flights.items() if flight.sent_at < oldest]
            for slot in late:
                flight = self._land(slot)
                if flight is not None:
                    flight.on_refused(Unknown(f"no answer from the log within {ACK_TIMEOUT_S} s: look it up"))
