"""A client that a generator made of the gateway's document publishes and reads; its compiler finds what would be refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bus.log import Log
from tests.clients.contracts.conftest import PYTHON, TOOLS, run
from tests.integration.gateway.conftest import TOKEN, Caller, recorded

FIRST = 2  # behind the question of the gateway fixture
READ = ["worldbus.player.v1.PlayerJoined", "mira", "main", FIRST, "Mira"]


async def _typescript(workshop: Path, program: str, gateway: Caller) -> dict[str, Any]:
    """Compile a program as strictly as the compiler can, and run it."""
    await run(TOOLS / ".bin" / "tsc", "-p", "one.json", cwd=workshop)
    said: dict[str, Any] = json.loads(await run("node", workshop / "out" / f"{program}.js", gateway.base, TOKEN))
    return said


def _only(workshop: Path, program: str) -> None:
    (workshop / "one.json").write_text(json.dumps({"extends": "./tsconfig.json", "files": [f"{program}.ts"]}))
    (workshop / "package.json").write_text('{"type": "module"}')


@pytest.mark.timeout(300)
async def test_openapi_fetch_publishes_and_reads(gateway: Caller, workshop: Path, document: Path) -> None:
    _only(workshop, "fetch")
    await run(TOOLS / ".bin" / "openapi-typescript", document, "-o", "schema.d.ts", cwd=workshop)
    said = await _typescript(workshop, "fetch", gateway)

    assert said == {
        "first": [201, FIRST, False],
        "again": [200, FIRST, True],
        "batch": [201, [FIRST + 1, FIRST + 2, FIRST + 3]],
        "stale": [409, "CONFLICT", FIRST + 3],
        "read": ["fetch-1", *READ],
        "hits": [],
    }


@pytest.mark.timeout(300)
async def test_hey_api_publishes_reads_and_subscribes(gateway: Caller, log: Log, workshop: Path, document: Path) -> None:
    _only(workshop, "sdk")
    await run(TOOLS / ".bin" / "openapi-ts", "--no-log-file", cwd=workshop)
    said = await _typescript(workshop, "sdk", gateway)

    assert said == {
        "first": [201, FIRST, False],
        "again": [200, FIRST, True],
        "batch": [201, [FIRST + 1, FIRST + 2]],
        "read": ["sdk-1", *READ],
        "hits": [],
        "streamed": [
            ["sdk-1", "worldbus.player.v1.PlayerJoined", "mira", FIRST],
            [(await recorded(log))[FIRST + 1].id, "worldbus.player.v1.PlayerLeft", "mira", FIRST + 2],
        ],
    }


@pytest.mark.timeout(300)
async def test_openapi_python_client_publishes_and_reads(gateway: Caller, workshop: Path, document: Path) -> None:
    made = await run(
        PYTHON / "openapi-python-client", "generate", "--path", document, "--output-path", "made", "--fail-on-warning", cwd=workshop
    )
    assert "warning" not in made.lower()
    path = {"PYTHONPATH": str(workshop / "made"), "MYPYPATH": str(workshop / "made")}
    await run(PYTHON / "mypy", "--strict", "made/worldbus_gateway_client", "client.py", cwd=workshop, **path)
    said = json.loads(await run(PYTHON / "python", workshop / "client.py", gateway.base, TOKEN, **path))

    assert said == {
        "first": [201, FIRST, False],
        "again": [200, FIRST, True],
        "batch": [201, [FIRST + 1, FIRST + 2, FIRST + 3]],
        "stale": [409, "CONFLICT", FIRST + 3],
        "read": ["python-1", *READ],
        "hits": [],
    }
