"""A nats-server that also speaks WebSocket, as a browser needs it, and the example running in node."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from bus.connection import Connection, connect
from bus.log import Log, open_log
from worldbus.embedded import NatsServer
from worldbus.embedded.nats import HOST, free_ports
from worldbus.embedded.websocket import USER, Browsers

ROOT = Path(__file__).parents[3]
PASSWORD = "only-for-tests"

if not os.environ.get("WORLDBUS_TS"):  # set by `make test-ts`, which sees to node's packages and the generated classes
    collect_ignore_glob = ["test_*.py"]


class WebSocketServer(NatsServer):
    """The embedded server as browsers reach it."""

    def __init__(self, folder: Path) -> None:
        self.ours = Browsers(host=HOST, port=free_ports()[0], password=PASSWORD)
        super().__init__(folder, password="of-nobody-here", strict=False, browsers=self.ours)

    @property
    def websocket_url(self) -> str:
        """The address for browsers."""
        return f"ws://{self.ours.host}:{self.ours.port}"


@pytest.fixture
def server(data_folder: Path) -> Iterator[WebSocketServer]:
    """A server of this test."""
    server = WebSocketServer(data_folder / "nats")
    server.start()
    yield server
    server.stop()


@pytest_asyncio.fixture
async def connection(server: WebSocketServer) -> AsyncIterator[Connection]:
    """Our own connection."""
    async with connect(server.url, name="test") as opened:
        yield opened


@pytest_asyncio.fixture
async def log(connection: Connection) -> AsyncIterator[Log]:
    """An empty log."""
    opened = await open_log(connection)
    yield opened
    await opened.aclose()


class Probe:
    """clients/typescript/test/probe.ts in node: says JSON lines."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def line(self, within_s: float = 60.0) -> dict[str, Any]:
        """The next thing that it says."""
        assert self._process.stdout is not None
        async with asyncio.timeout(within_s):
            line = await self._process.stdout.readline()
        if not line:
            assert self._process.stderr is not None
            raise AssertionError(f"the probe ended: {(await self._process.stderr.read()).decode()}")
        said: dict[str, Any] = json.loads(line)
        return said

    def go_on(self) -> None:
        """The word that it waits for."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"go on\n")

    async def end(self) -> None:
        """Let it end; fails if it does so with an error."""
        said, errors = await self._process.communicate(b"end\n")
        assert (self._process.returncode, said, errors) == (0, b"", b"")

    async def aclose(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


@pytest_asyncio.fixture
async def probe(server: WebSocketServer) -> AsyncIterator[Callable[..., Awaitable[Probe]]]:
    """Starts probes."""
    started: list[Probe] = []

    async def start(verb: str, *arguments: object) -> Probe:
        node = shutil.which("node")
        assert node is not None, "wanted node, found none"
        process = await asyncio.create_subprocess_exec(
            node,
            str(ROOT / "clients" / "typescript" / "dist" / "test" / "probe.js"),
            verb,
            server.websocket_url,
            "w1",
            *map(str, arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "WORLDBUS_USER": USER, "WORLDBUS_PASSWORD": PASSWORD},
        )
        started.append(Probe(process))
        return started[-1]

    yield start
    for one in started:
        await one.aclose()
