"""The embedded nats-server keeps what it promises: a password, proven durability, data and address across a crash."""

from __future__ import annotations

import json
import signal
import socket
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import nats
import pytest

from bus.errors import Misuse, ServerFailed
from worldbus.embedded import NatsServer
from worldbus.embedded.nats import binary


@pytest.fixture
def server(data_folder: Path) -> Iterator[NatsServer]:
    server = NatsServer(data_folder / "nats", password="p-p-p")
    server.start()
    yield server
    server.stop()


async def _publish(server: NatsServer, count: int) -> int:
    """Create the stream if needed, publish, and return the last position."""
    client = await nats.connect(server.url)
    try:
        stream = client.jetstream()
        await stream.add_stream(name="KEPT", subjects=["kept.>"])
        for number in range(count):
            acknowledged = await stream.publish("kept.n", str(number).encode())
        return acknowledged.seq
    finally:
        await client.close()


def _jetstream(server: NatsServer) -> dict[str, object]:
    with urllib.request.urlopen(f"{server.monitor_url}/jsz") as answer:
        report: dict[str, object] = json.load(answer)
        return report


async def test_acknowledged_messages_survive_kill_9_at_the_same_address(server: NatsServer) -> None:
    url = server.url
    assert await _publish(server, 100) == 100

    server.kill()
    server.start()

    assert server.url == url
    assert await _publish(server, 1) == 101


@pytest.mark.parametrize("strict", [True, False])
def test_strict_is_what_the_server_itself_reports(data_folder: Path, strict: bool) -> None:
    server = NatsServer(data_folder / "nats", password="p-p-p", strict=strict)
    server.start()
    try:
        config = _jetstream(server)["config"]
    finally:
        server.stop()

    assert isinstance(config, dict)
    assert bool(config.get("sync_always")) is strict


def test_a_wrong_password_is_refused(server: NatsServer) -> None:
    """On a bare socket: nats-py leaves a transport open when a connection is refused."""
    host, _, port = server.url.rpartition("@")[2].partition(":")
    with socket.create_connection((host, int(port))) as connection, connection.makefile("rwb") as wire:
        greeting = wire.readline()
        wire.write(b'CONNECT {"user":"worldbus","pass":"guess","verbose":false}\r\nPING\r\n')
        wire.flush()
        answer = wire.readline()

    assert greeting.startswith(b"INFO ")
    assert answer == b"-ERR 'Authorization Violation'\r\n"


def test_the_server_outlives_the_thread_that_started_it(data_folder: Path) -> None:
    """The kernel sends the parent-death signal when the parent *thread* ends."""
    server = NatsServer(data_folder / "nats", password="p-p-p")
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
    try:
        server.signal(signal.SIGCONT)  # a signal sent at the thread's end would have been handled before this one

        assert _jetstream(server)["config"]
        assert server.pid is not None
    finally:
        server.stop()


async def test_a_port_that_was_taken_meanwhile_is_replaced(server: NatsServer) -> None:
    server.stop()
    port = int(server.url.rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)):
        server.start()

        assert not server.url.endswith(f":{port}")
        assert await _publish(server, 1) == 1


def test_a_stranger_that_answers_on_our_ports_is_not_taken_for_our_child(server: NatsServer, data_folder: Path) -> None:
    """Whoever takes a port between our look and our child's would be healthy, and hold somebody else's log."""
    other = data_folder / "other"
    other.mkdir()
    (other / "ports.json").write_bytes((data_folder / "nats" / "ports.json").read_bytes())
    latecomer = NatsServer(other, password="p-p-p")

    assert latecomer.monitor_url == server.monitor_url
    assert server._healthy()
    assert not latecomer._healthy()


def test_another_owner_ends_the_server_that_a_crashed_one_left(server: NatsServer, data_folder: Path) -> None:
    heir = NatsServer(data_folder / "nats", password="p-p-p")
    heir.start()
    try:
        assert server.pid is None
        assert heir.pid is not None
        assert heir.url == server.url
    finally:
        heir.stop()


def test_a_server_that_cannot_run_is_quoted(data_folder: Path) -> None:
    server = NatsServer(data_folder / "nats", password="p-p-p")
    server.store.write_text("a file where the store should be")

    with pytest.raises(ServerFailed, match=r"(?s)nats-server ended .*storage directory is not a directory"):
        server.start()


def test_a_binary_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misuse, match="WORLDBUS_NATS_SERVER"):
        binary(tmp_path / "absent")
