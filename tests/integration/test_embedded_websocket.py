"""The embedded nats-server for browsers: a port that speaks WebSocket, and a user of their own that may say what a game says, no more."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import nats
import pytest

from bus.connection import connect
from bus.log import open_log
from worldbus.embedded.nats import HOST, NatsServer, free_ports
from worldbus.embedded.websocket import Browsers

HANDSHAKE = (
    "GET / HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@pytest.fixture
def server(data_folder: Path) -> Iterator[NatsServer]:
    browsers = Browsers(host=HOST, port=free_ports()[0], password='p"w')
    server = NatsServer(data_folder / "nats", password="only-for-tests", strict=False, browsers=browsers)
    server.start()
    yield server
    server.stop()


class Browser:
    """The browsers' user, and what the server says against it. It comes in by NATS's own port: users are the same at both."""

    def __init__(self, server: NatsServer) -> None:
        assert server.browsers is not None
        self._url = f"nats://{server.url.rpartition('@')[2]}"
        self._password = server.browsers.password
        self.complaints: asyncio.Queue[str] = asyncio.Queue()

    @asynccontextmanager
    async def _in(self) -> AsyncIterator[nats.NATS]:
        async def complain(error: Exception) -> None:
            self.complaints.put_nowait(str(error))

        client = await nats.connect(self._url, user="browser", password=self._password, error_cb=complain)
        yield client
        await client.close()

    async def asks(self, subject: str) -> str:
        """What is answered."""
        async with self._in() as client:
            return (await client.request(subject, b"", timeout=30)).data.decode()

    async def refused(self, subject: str) -> str:
        """What the server says against it."""
        async with self._in() as client, asyncio.timeout(60):
            await client.publish(subject, b"")
            return await self.complaints.get()


async def _make_log(server: NatsServer) -> None:
    async with connect(server.url, name="test") as connection:
        await (await open_log(connection)).aclose()


async def test_the_port_speaks_websocket_also_after_a_restart(server: NatsServer) -> None:
    browsers = server.browsers
    assert browsers is not None
    for _ in range(2):
        with socket.create_connection((browsers.host, browsers.port), timeout=30) as asking:
            asking.sendall(HANDSHAKE.encode())
            assert asking.recv(4096).startswith(b"HTTP/1.1 101 ")
        server.kill()
        server.start()


async def test_a_browser_says_what_a_game_says_and_reads_the_log(server: NatsServer) -> None:
    await _make_log(server)
    browser = Browser(server)

    assert '"seq":1' in await browser.asks("evt.w1.game.mira.PlayerMoved")
    assert '"messages":1' in await browser.asks("$JS.API.STREAM.INFO.LOG")
    assert browser.complaints.empty()


@pytest.mark.parametrize(
    "subject",
    [
        "evt.w1.npc.widow-hask.NpcSpoke",  # speaks for nobody of the world
        "evt.w1.weather.quay.WeatherChanged",
        "$JS.API.STREAM.PURGE.LOG",
        "$JS.API.STREAM.DELETE.LOG",
        "$JS.API.STREAM.MSG.DELETE.LOG",
        "$JS.API.CONSUMER.DELETE.LOG.weather_0",
        "$JS.API.CONSUMER.DURABLE.CREATE.LOG.mine",
        "sig.w1.tokens.r1",
        "evt.w1.game.summer.CouponDefinitionRequested",  # nor does a game say it
        "evt.w1.game.silver.RolloutStartRequested",
        "evt.w1.studio.summer.CouponDefinitionRequested",
        "$JS.API.CONSUMER.MSG.NEXT.LOG.weather_0",
        "$JS.API.DIRECT.GET.LOG",
    ],
)
async def test_a_browser_may_nothing_else(server: NatsServer, subject: str) -> None:
    await _make_log(server)

    assert "permissions violation" in (await Browser(server).refused(subject)).lower()


async def test_without_an_address_there_is_no_such_user(data_folder: Path) -> None:
    server = NatsServer(data_folder / "nats", password="only-for-tests", strict=False)
    server.start()
    try:
        with socket.create_connection((HOST, int(server.url.rpartition(":")[2])), timeout=30) as asking, asking.makefile("rb") as answers:
            assert answers.readline().startswith(b"INFO ")
            asking.sendall(b'CONNECT {"user": "browser", "pass": ""}\r\nPING\r\n')
            assert answers.readline() == b"-ERR 'Authorization Violation'\r\n"
    finally:
        server.stop()


@pytest.mark.filterwarnings("ignore:parameter 'timeout':DeprecationWarning")  # nats-py's way of calling aiohttp
async def test_we_come_in_by_websocket_too(server: NatsServer) -> None:
    """nats-py needs aiohttp for that, which is kept from it until somebody does."""
    assert server.browsers is not None
    url = f"ws://worldbus:only-for-tests@{server.browsers.host}:{server.browsers.port}"

    async with connect(url, name="test") as connection:
        assert (await connection.api("INFO"))["streams"] == 0
