"""Signals: `sig.>` on core NATS. For what is worthless a moment later (positions at 30 Hz, tokens of a line, who is there): never stored,
never replayed, delivered at most once to whoever listens now. What must be known later is an event.
"""

from __future__ import annotations

from collections.abc import Callable

from bus.connection import Connection, Listener
from bus.errors import BadSubject, TooLarge
from bus.subjects import SIGNAL_ROOT, check_signal, check_token

OnSignal = Callable[[str, bytes], None]
"""(subject, payload), called in arrival order on the event loop; it must not block and must not raise."""


def signal(connection: Connection, subject: str, payload: bytes = b"") -> None:
    """Send one signal to whoever listens now; returns at once.

    Raises `BadSubject`, `TooLarge`, or `Disconnected` when there is no connection (then the signal is lost, as signals may be).
    """
    check_signal(subject)
    if len(payload) > connection.max_payload:
        raise TooLarge(
            f"signal of {len(payload)} bytes, wanted at most {connection.max_payload}", limit=connection.max_payload, found=len(payload)
        )
    connection.write(b"PUB %b %d\r\n%b\r\n" % (subject.encode(), len(payload), payload))


async def listen(connection: Connection, pattern: str, on_signal: OnSignal) -> Listener:
    """Call `on_signal` for every signal on `pattern`: a signal subject in which tokens may be `*` and the last one `>`.

    Survives reconnects; what was sent meanwhile is lost.
    """
    _check_pattern(pattern)

    def receive(subject: bytes, reply: bytes, header: bytes | None, payload: bytes) -> None:
        on_signal(subject.decode(errors="replace"), payload)

    return await connection.listen(pattern, receive)


def _check_pattern(pattern: str) -> None:
    first, *rest = pattern.split(".")
    if first != SIGNAL_ROOT or not rest:
        raise BadSubject(f"signal pattern must be {SIGNAL_ROOT}.<token, * or >>…, found {ascii(pattern)[:80]}", subject=pattern)
    for index, token in enumerate(rest):
        if token == "*" or (token == ">" and index == len(rest) - 1):
            continue
        check_token(token, "signal token")
