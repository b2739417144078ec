"""Addresses that the TypeScript client finds by itself: as the environment of a node process says, as `worldbus env` prints it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[3] / "clients" / "typescript"
PROGRAM = """
import { address, variable } from "./dist/src/environment.js";
try { console.log(JSON.stringify({ ...address(process.argv[1]), world: variable("WORLDBUS_WORLD") })); }
catch (error) { console.log(JSON.stringify({ error: error.message })); }
"""


def found(*words: str, **variables: str) -> dict[str, str]:
    """The address that the client would take."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WORLDBUS_")}
    done = subprocess.run(
        ["node", "--input-type=module", "-e", PROGRAM, *words],
        cwd=PACKAGE,
        env={**environment, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    answer: dict[str, str] = json.loads(done.stdout)
    return answer


@pytest.mark.parametrize(
    ("words", "variables", "wanted"),
    [
        (
            (),
            {"WORLDBUS_WEBSOCKET_URL": "ws://browser:p%40ss@127.0.0.1:8443"},
            {"servers": "ws://127.0.0.1:8443/", "user": "browser", "pass": "p@ss"},
        ),
        ((), {"WORLDBUS_NATS_URL": "wss://bus.example:443", "WORLDBUS_WORLD": "main"}, {"servers": "wss://bus.example/", "world": "main"}),
        (
            (),
            {"WORLDBUS_NATS_URL": "nats://worldbus:x@127.0.0.1:4222", "WORLDBUS_WEBSOCKET_URL": "ws://127.0.0.1:1"},
            {"servers": "ws://127.0.0.1:1/"},
        ),
        (("ws://other:2",), {"WORLDBUS_WEBSOCKET_URL": "ws://127.0.0.1:1"}, {"servers": "ws://other:2/"}),
    ],
)
def test_the_address_is_the_programs_or_the_environments(words: tuple[str, ...], variables: dict[str, str], wanted: dict[str, str]) -> None:
    assert found(*words, **variables) == wanted


@pytest.mark.parametrize(
    ("variables", "said"), [({}, "found none"), ({"WORLDBUS_NATS_URL": "nats://127.0.0.1:4222"}, "found one for other clients (nats://)")]
)
def test_without_one_for_websocket_the_next_step_is_said(variables: dict[str, str], said: str) -> None:
    error = found(**variables)["error"]

    assert said in error
    assert "start `worldbus up --websocket 127.0.0.1:8443`" in error
