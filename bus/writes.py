"""Fenced writes in flight: a frame goes out, its acknowledgement comes back to a plain function. One inbox, no future per write."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from bus.connection import Connection, Listener, hpub
from bus.errors import Conflict, Disconnected, Rejected, Transient, Unknown, WorldbusError

ACK_TIMEOUT_S = 2.0  # without an answer for so long, a write is looked up in the log instead
WRONG_LAST_SEQUENCE = 10071

OnStored = Callable[[int], None]
OnRefused = Callable[[WorldbusError], None]


class _Error(msgspec.Struct):
    code: int = 0
    err_code: int = 0
    description: str = ""


class PubAck(msgspec.Struct):
    """JetStream's answer to a publish."""

    stream: str = ""
    seq: int = 0
    duplicate: bool = False
    error: _Error | None = None


decode_ack = msgspec.json.Decoder(PubAck).decode


def refusal(error: _Error) -> WorldbusError:
    """What a refused write means for its writer."""
    if error.err_code == WRONG_LAST_SEQUENCE:
        found = int(error.description.rpartition(" ")[2]) if error.description[-1:].isdigit() else 0
        return Conflict(f"the entity is at position {found}, not where it was expected: look again", found=found)
    if error.code == 400:
        return Rejected(f"the log refused the event: {error.description} ({error.err_code})", err_code=error.err_code)
    return Transient(f"the log cannot store now: {error.description} ({error.err_code}); retry", err_code=error.err_code)


@dataclass(slots=True)
class _Flight:
    on_stored: OnStored
    on_refused: OnRefused
    sent_at: float


class Writes:
    """Expected-sequence writes of one runner. Every write ends in exactly one call: stored at a position, or refused with the reason.

    `Unknown` and `Disconnected` mean that the write may or may not be in the log. A late acknowledgement of such a write is ignored.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._prefix = f"{connection.inbox}.w.".encode()
        self._next = 0
        self._flights: dict[int, _Flight] = {}
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
        self._connection.on_disconnect.remove(self._on_disconnect)
        if self._listener is not None:
            await self._listener.close()

    @property
    def in_flight(self) -> int:
        return len(self._flights)

    def write(self, subject: bytes, fence: bytes, expected: int, payload: bytes, on_stored: OnStored, on_refused: OnRefused) -> None:
        """Append `payload` if the last event on the filter `fence` is at position `expected` (0: there is none)."""
        self._next += 1
        slot = self._next
        header = b"NATS/1.0\r\nNats-Expected-Last-Subject-Sequence: %d\r\nNats-Expected-Last-Subject-Sequence-Subject: %b\r\n\r\n" % (
            expected,
            fence,
        )
        self._flights[slot] = _Flight(on_stored, on_refused, time.monotonic())
        try:
            self._connection.write(hpub(subject, b"%b%d" % (self._prefix, slot), header, payload))
        except Disconnected as error:
            self._refuse_soon(slot, error)

    def _refuse_soon(self, slot: int, error: WorldbusError) -> None:
        def refuse() -> None:
            flight = self._flights.pop(slot, None)
            if flight is not None:
                flight.on_refused(error)

        asyncio.get_running_loop().call_soon(refuse)

    def _on_ack(self, subject: bytes, reply: bytes, header: bytes | None, payload: bytes) -> None:
        flight = self._flights.pop(int(subject[len(self._prefix) :]), None)
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
        flights, self._flights = self._flights, {}
        error = Unknown("the connection broke before the log answered: look it up")
        for flight in flights.values():
            flight.on_refused(error)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(ACK_TIMEOUT_S / 4)
            oldest = time.monotonic() - ACK_TIMEOUT_S
            late = [slot for slot, flight in self._flights.items() if flight.sent_at < oldest]
            for slot in late:
                flight = self._flights.pop(slot, None)
                if flight is not None:
                    flight.on_refused(Unknown(f"no answer from the log within {ACK_TIMEOUT_S} s: look it up"))
