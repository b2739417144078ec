"""Signals: delivered now, in order, never stored."""

from __future__ import annotations

import pytest

from bus.connection import Connection
from bus.errors import BadSubject, TooLarge
from bus.log import Log
from bus.signals import listen, signal
from tests.integration.bus.waiting import eventually


async def test_signals_arrive_in_order_and_leave_no_trace(connection: Connection, log: Log) -> None:
    got: list[tuple[str, bytes]] = []
    await listen(connection, "sig.position.*", lambda subject, payload: got.append((subject, payload)))
    for n in range(500):
        signal(connection, f"sig.position.p{n % 3}", b"%d" % n)
    signal(connection, "sig.other.p1", b"not ours")
    await eventually(lambda: len(got) >= 500)

    assert [(f"sig.position.p{n % 3}", b"%d" % n) for n in range(500)] == got
    assert 0 == (await log.state()).count


async def test_a_closed_listener_hears_nothing(connection: Connection) -> None:
    got: list[bytes] = []
    first = await listen(connection, "sig.a", lambda subject, payload: got.append(payload))
    await listen(connection, "sig.>", lambda subject, payload: got.append(payload + b"!"))
    await first.close()
    signal(connection, "sig.a", b"x")
    await eventually(lambda: got == [b"x!"])


@pytest.mark.parametrize(
    "subject", ["", "sig", "evt.w.s.e.N", "sig.", "sig..a", "sig.a.", "sig.*", "sig.>", "sig.a b", "sig.ü", "sig.\0", "$SYS.x"]
)
async def test_a_signal_goes_nowhere_else(connection: Connection, subject: str) -> None:
    with pytest.raises(BadSubject):
        signal(connection, subject)


@pytest.mark.parametrize("pattern", ["", "sig", ">", "*", "evt.>", "sig.>.a", "sig.a>", "sig.a*", "sig..", "sig.a b", "$JS.API.>"])
async def test_a_listener_hears_signals_only(connection: Connection, pattern: str) -> None:
    with pytest.raises(BadSubject):
        await listen(connection, pattern, lambda subject, payload: None)


async def test_a_signal_over_the_servers_limit_is_refused_before_it_is_sent(connection: Connection) -> None:
    with pytest.raises(TooLarge):
        signal(connection, "sig.a", b"x" * (connection.max_payload + 1))

    assert connection.connected
