"""Our documents as other people's tools see them: a real gateway, and a workshop in which clients are generated, compiled and run."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from bus.connection import Connection
from bus.log import Log
from projections.knowledge.knowledge import knowledge
from tests.integration.gateway.conftest import Caller, Open, connection, log, open_caller
from worldbus.compose import open_world, serve
from worldbus.embedded import NatsServer
from worldbus.settings import Settings

__all__ = ["connection", "log", "open_caller"]

ROOT = Path(__file__).parents[3]
TOOLS = Path(__file__).parent / "tools" / "node_modules"
PYTHON = ROOT / ".venv-contracts" / "bin"

if not os.environ.get("WORLDBUS_CONTRACTS"):  # set by `make test-contracts`, which sees to the tools
    collect_ignore_glob = ["test_*.py"]


async def run(*command: str | Path, cwd: Path | None = None, **environment: str) -> str:
    """The output of a command; fails with all that it said if it fails."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        cwd=cwd,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PATH": f"{PYTHON}:{os.environ['PATH']}", "NO_COLOR": "1", **environment},
    )
    said, errors = await process.communicate()
    assert process.returncode == 0, f"{command} failed:\n{said.decode()}\n{errors.decode()}"
    return said.decode()


@pytest.fixture
def workshop(tmp_path: Path) -> Path:
    """A folder with the packages of node, and our programs around clients that are not there yet."""
    folder = tmp_path / "workshop"
    folder.mkdir()
    (folder / "node_modules").symlink_to(TOOLS)
    for file in (Path(__file__).parent / "programs").iterdir():
        if file.is_file():
            shutil.copy(file, folder)
    return folder


@pytest_asyncio.fixture
async def gateway(
    open_caller: Open, nats_server: NatsServer, connection: Connection, log: Log, fresh_database: str, tmp_path: Path
) -> AsyncIterator[Caller]:
    """A gateway of a world with a projector and a knowledge base in which nothing is told."""
    places: dict[str, Any] = {"nats_url": nats_server.url, "postgres_dsn": fresh_database, "data": tmp_path / "world"}
    settings = Settings(**places, durability="relaxed", world="main", embedder="hashing")
    async with (
        open_world(settings, name="world") as world,
        serve(world, projections=[knowledge]),
        open_caller(nats_server.url, fresh_database) as caller,
    ):
        while (await caller.ask("GET", "/v1/search?text=lantern")).status == 503:
            await asyncio.sleep(0.02)
        await log.wait_for(1)  # the question is recorded behind its answer
        yield caller


@pytest_asyncio.fixture
async def document(gateway: Caller, workshop: Path) -> Path:
    """The document as the gateway serves it to anybody."""
    path = workshop / "openapi.json"
    path.write_text(json.dumps((await gateway.ask("GET", "/openapi.json", token=None)).body))
    return path
