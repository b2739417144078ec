"""The programs built, and a nats-server with an empty log that a test may kill; the programs are a NATS user with a game's permissions."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from bus.connection import Connection, connect
from bus.log import Log, open_log
from worldbus.embedded import NatsServer
from worldbus.nats_permissions import permissions

ROOT = Path(__file__).parents[3]
PASSWORD = "only-for-tests"

if not os.environ.get("WORLDBUS_CPP"):  # set by `make test-cpp`, which sees to the compiler and the libraries
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def programs() -> Path:
    """Built by `make test-cpp` with AddressSanitizer and UndefinedBehaviorSanitizer: a leak or a misstep ends the program with an error."""
    return ROOT / ".cache" / "cpp" / "sanitized"


class GameServer(NatsServer):
    """The embedded server as a game reaches it that may say what its role may, and read."""

    def _users(self) -> list[str]:
        return [*super()._users(), f"{{ user: game, password: {PASSWORD}, {permissions('game', reads=True).words()} }}"]

    @property
    def game_url(self) -> str:
        """Address of the server for the game's user."""
        return f"nats://game:{PASSWORD}@{self.url.rpartition('@')[2]}"


@pytest.fixture
def server(data_folder: Path) -> Iterator[GameServer]:
    """A nats-server of this test."""
    server = GameServer(data_folder / "nats", password=PASSWORD, strict=False)
    server.start()
    yield server
    server.stop()


@pytest_asyncio.fixture
async def connection(server: GameServer) -> AsyncIterator[Connection]:
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
    """A running program that says JSON lines."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def line(self) -> dict[str, Any]:
        """The next line; what the program wrote to stderr if there is none."""
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            await self.end(code=None)
        said: dict[str, Any] = json.loads(line)
        return said

    def go_on(self) -> None:
        """The word that it waits for."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"go on\n")

    async def end(self, code: int | None = 0) -> str:
        """Wait for its end; returns its stderr, where sanitizers complain."""
        assert self._process.stderr is not None
        errors = (await self._process.stderr.read()).decode()
        found = await self._process.wait()
        assert found == code, errors
        return errors


@pytest.fixture
def probe(programs: Path) -> Any:
    """Start `probe` with these arguments."""

    async def start(*arguments: object) -> Probe:
        command = [str(programs / "probe"), *map(str, arguments)]
        pipe = asyncio.subprocess.PIPE
        return Probe(await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe))

    return start
