"""The connection: our parser and joined writes inside nats-py's client, reconnects, refusals. Fails when nats-py's private names change."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bus.answers import Answers
from bus.connection import ApiError, Connection, connect, hpub, pub
from bus.errors import Disconnected, Misuse, PermissionDenied, Transient
from bus.log import LogConfig, attach, open_log
from bus.publisher import Publisher, open_publisher
from bus.writes import Writes
from tests.integration.bus.drafts import moved
from tests.integration.bus.waiting import eventually
from worldbus.embedded import NatsServer
from worldbus.embedded.nats import binary, free_ports
from worldbus.embedded.process import Process

Message = tuple[bytes, bytes, bytes | None, bytes]


async def test_messages_of_every_size_and_shape_arrive_whole_and_in_order(connection: Connection) -> None:
    """Reads end in the middle of lines, headers and payloads; a payload may look like protocol."""
    got: list[Message] = []
    await connection.listen("sizes.>", lambda *message: got.append(message))
    sent: list[Message] = []
    for number, size in enumerate((0, 1, 2, 3, 100, 32_767, 32_768, 65_536, 200_000, 5, 0)):
        body = (b"MSG sizes.x 1 5\r\nHMSG\r\n" * (size // 20 + 1))[:size]
        header = b"NATS/1.0\r\nA: %d\r\n\r\n" % number if number % 2 else None
        reply = b"back.%d" % number if number % 3 else b""
        subject = b"sizes.%d" % number
        sent.append((subject, reply, header, body))
        connection.write(hpub(subject, reply, header, body) if header else pub(subject, reply, body))
    await eventually(lambda: len(got) == len(sent))

    assert sent == got


async def test_a_listener_that_raises_does_not_stop_the_others(connection: Connection) -> None:
    got: list[bytes] = []

    def broken(subject: bytes, reply: bytes, header: bytes | None, payload: bytes) -> None:
        raise RuntimeError("a bug of a listener")

    await connection.listen("both.a", broken)
    await connection.listen("both.*", lambda subject, reply, header, payload: got.append(payload))
    connection.write(pub(b"both.a", b"", b"1") + pub(b"both.b", b"", b"2"))
    await eventually(lambda: len(got) == 2)

    assert [b"1", b"2"] == got


async def test_a_listener_whose_opening_was_cancelled_leaves_a_connection_that_hears(connection: Connection) -> None:
    """The server's PONG comes for somebody who no longer waits."""
    for turns in range(12):
        opening = asyncio.create_task(connection.listen(f"given.up.{turns}", lambda *message: None))
        for _ in range(turns):
            await asyncio.sleep(0)
        opening.cancel()
        await asyncio.wait([opening])
        assert (await connection.api("INFO"))["limits"]


async def test_a_closed_listener_hears_nothing(connection: Connection) -> None:
    got: list[bytes] = []
    listener = await connection.listen("quiet", lambda subject, reply, header, payload: got.append(payload))
    other = await connection.listen("loud", lambda subject, reply, header, payload: got.append(payload))
    await listener.close()
    connection.write(pub(b"quiet", b"", b"1") + pub(b"loud", b"", b"2"))
    await eventually(lambda: got == [b"2"])
    await other.close()


async def test_an_api_refusal_is_an_error_with_the_servers_code(connection: Connection) -> None:
    with pytest.raises(ApiError) as refused:
        await connection.api("STREAM.INFO.NOSUCH")

    assert 10059 == refused.value.err_code


async def test_nobody_answering_is_transient(connection: Connection) -> None:
    with pytest.raises(Transient, match="nobody answers"):
        await connection.request("nobody.listens.here", b"x")


async def test_a_wrong_address_is_misuse() -> None:
    port, _ = free_ports()
    with pytest.raises(Misuse, match="cannot connect"):
        async with connect(f"nats://127.0.0.1:{port}", name="test", connect_timeout=1):
            pass


async def test_wrong_credentials_are_misuse_at_once(nats_server: NatsServer) -> None:
    with pytest.raises(Misuse, match="cannot connect"):
        async with connect(nats_server.url.replace("only-for-tests", "wrong"), name="test", connect_timeout=1):
            pass


async def test_listeners_survive_a_killed_server_and_writes_in_between_say_so(own_server: NatsServer) -> None:
    got: list[bytes] = []
    async with connect(own_server.url, name="test") as connection:
        await connection.listen("again", lambda subject, reply, header, payload: got.append(payload))
        down, up = asyncio.Event(), asyncio.Event()
        connection.on_disconnect.append(down.set)
        connection.on_reconnect.append(up.set)
        own_server.kill()
        await down.wait()
        with pytest.raises(Disconnected):
            connection.write(pub(b"again", b"", b"lost"))
        await asyncio.to_thread(own_server.start)
        await up.wait()
        connection.write(pub(b"again", b"", b"back"))
        await eventually(lambda: got == [b"back"])


async def test_a_line_the_server_hates_costs_one_reconnect_and_not_the_client(connection: Connection) -> None:
    """nats-py closes for good on such an error; a bad message must not end a process."""
    up = asyncio.Event()
    connection.on_reconnect.append(up.set)
    connection.write(b"PUB %b 1\r\nx\r\n" % (b"x" * 5000))
    await up.wait()

    assert connection.connected
    assert not connection.closed.is_set()


async def test_a_frozen_server_is_noticed_by_pings(own_server: NatsServer) -> None:
    """No FIN, no RST: only the missing PONG tells."""
    async with connect(own_server.url, name="test") as connection:
        connection._client.options["ping_interval"] = 0.2
        assert own_server.pid is not None
        down, up = asyncio.Event(), asyncio.Event()
        connection.on_disconnect.append(down.set)
        connection.on_reconnect.append(up.set)
        os.kill(own_server.pid, signal.SIGSTOP)
        try:
            await down.wait()
        finally:
            os.kill(own_server.pid, signal.SIGCONT)
        await up.wait()


async def test_a_server_that_answers_late_is_waited_for(own_server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads a long log, or the machine is slow: `up` died of nats-py's time-out for a flush."""
    monkeypatch.setattr("bus.connection.ROUND_TRIP_S", 0.2)
    async with connect(own_server.url, name="test") as connection:
        assert own_server.pid is not None
        os.kill(own_server.pid, signal.SIGSTOP)
        try:
            with capture_logs() as said:
                opening = asyncio.create_task(connection.listen("late", lambda *message: None))
                await eventually(lambda: sum(one["event"] == "server_slow" for one in said) > 2)
        finally:
            os.kill(own_server.pid, signal.SIGCONT)
        await (await opening).close()


async def test_what_failed_half_way_through_its_opening_closes_without_an_error(connection: Connection) -> None:
    """An error in a clean-up hid the one that it cleaned up after (`list.remove(x): x not in list`)."""
    await Writes(connection).aclose()
    await Answers(connection).close()
    log = await attach(connection, LogConfig())
    await Publisher(connection, log, "relaxed").aclose()
    await log.aclose()
    await log.aclose()


async def test_a_listener_closes_without_an_error_when_its_connection_is_closed(nats_server: NatsServer) -> None:
    async with connect(nats_server.url, name="test") as connection:
        listener = await connection.listen("over", lambda *message: None)
    await listener.close()


CONFIG = """
listen: "127.0.0.1:{port}"
http: "127.0.0.1:{monitor}"
jetstream {{ store_dir: "{store}" }}
authorization {{ users: [
  {{ user: all, password: p }}
  {{ user: few, password: p, permissions: {{
      publish: {{ allow: ["evt.allowed.>", "$JS.API.>"] }}, subscribe: {{ allow: ["_INBOX.>"] }} }} }}
] }}
"""


@pytest.fixture
def guarded_server(data_folder: Path) -> Iterator[str]:
    """The address of a server with a user who may do little, with a place for the user's name."""
    port, monitor = free_ports()
    (data_folder / "nats.conf").write_text(CONFIG.format(port=port, monitor=monitor, store=data_folder / "store"))
    process = Process("nats-server", data_folder, stop_signal=signal.SIGTERM)

    def ready() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    process.start(
        [str(binary()), "-c", str(data_folder / "nats.conf")], cwd=data_folder, env={"PATH": os.defpath}, ready=ready, within_s=20
    )
    yield f"nats://{{}}:p@127.0.0.1:{port}"
    process.stop()


async def test_a_refused_subscription_is_an_error_and_not_silence(guarded_server: str) -> None:
    async with connect(guarded_server.format("few"), name="test") as connection:
        with pytest.raises(PermissionDenied, match="may not subscribe"):
            await connection.listen("evt.>", lambda *message: None)
        assert connection.connected


async def test_a_refused_request_is_an_error_before_its_timeout(guarded_server: str) -> None:
    async with connect(guarded_server.format("few"), name="test") as connection:
        with pytest.raises(PermissionDenied, match="may not publish"):  # `Transient` at the timeout
            await connection.request("evt.Other.game.e.Happened", b"x", timeout=60)


async def test_a_refused_publish_is_an_error_before_its_deadline(guarded_server: str) -> None:
    async with connect(guarded_server.format("all"), name="test") as connection:
        await open_log(connection)
    async with connect(guarded_server.format("few"), name="test") as connection:
        log = await open_log(connection)
        async with open_publisher(connection, log, "relaxed") as publisher:
            with pytest.raises(PermissionDenied):  # `Unknown` at the deadline
                await publisher.publish(moved(1))
            with pytest.raises(PermissionDenied):
                await publisher.publish_many([moved(1), moved(2)])
            with pytest.raises(PermissionDenied):
                await publisher.publish_group([moved(1), moved(2)])
            assert 1 == await publisher.publish(moved(1, world="allowed"))


async def test_a_task_that_is_cancelled_while_it_begins_to_listen_ends(connection: Connection) -> None:
    """In whichever turn of the event loop: where the answer came in the same one, the cancellation was lost, and a server never closed."""
    for number in range(1000):
        listening = asyncio.create_task(connection.listen(f"nobody.says.{number}", lambda *_: None))
        for _ in range(number % 50):
            await asyncio.sleep(0)
        was_under_way = listening.cancel()
        await asyncio.wait([listening])

        assert listening.cancelled() is was_under_way
        if not was_under_way:
            await listening.result().close()
    assert connection._client.listeners == {}
