"""A verb loads what it needs: what is loaded is what most of its time goes into. Names are held here, not seconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.cli.conftest import environment
from tests.kernel import OF_EXTRAS

PROGRAM = """
import json, sys
from worldbus.cli import main
try:
    main(sys.argv[1:])
finally:
    print("LOADED " + json.dumps(sorted(sys.modules)), file=sys.stderr)
"""
GAME = (
    "handlers",
    "worldbus.standard.projections",
    "projections.projector",
    "worldbus.compose",
    "worldbus.knowledge",
    "inference.worker",
    "numpy",
    "tokenizers",
)
NEVER = ("aiohttp", "rich", "prometheus_client", "hypothesis", "pytest")
PROTOBUF = ("google.protobuf", "betterproto2", "schemas.registry", "bus.event")
NATS = ("nats", "bus.connection", "bus.log", "bus.publisher")
SERVERS = ("worldbus.embedded.nats", "worldbus.embedded.postgres", "http.client")


def loaded(folder: Path, *words: str, **variables: str) -> set[str]:
    """The modules that a verb has loaded at its end."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words],
        env={**environment(folder), **variables},
        text=True,
        capture_output=True,
        check=False,
        timeout=100,
    )
    line = next(line for line in reversed(done.stderr.splitlines()) if line.startswith("LOADED "))
    return set(json.loads(line.removeprefix("LOADED ")))


def of(modules: set[str], *packages: str) -> set[str]:
    """Those of the modules that belong to these packages."""
    return {name for name in modules if any(name == one or name.startswith(f"{one}.") for one in packages)}


@pytest.mark.parametrize(
    ("words", "without"),
    [
        (("--help",), (*GAME, *NEVER, *PROTOBUF, *NATS, *SERVERS, "asyncpg", "structlog")),
        (("sql", "--help"), (*GAME, *NEVER, *PROTOBUF, *NATS, *SERVERS, "asyncpg", "structlog")),
        (("sql", "SELECT 1"), (*GAME, *NEVER, *PROTOBUF, *NATS, *SERVERS)),
        (("skipped", "list"), (*GAME, *NEVER, *PROTOBUF, *NATS, *SERVERS)),
        (("parked", "list"), (*GAME, *NEVER, *PROTOBUF, *NATS, *SERVERS)),
        (("env",), (*GAME, *NEVER, *PROTOBUF, *NATS, *SERVERS, "asyncpg")),
        (("ps",), (*GAME, *NEVER, *SERVERS, "asyncpg")),
        (("tail", "-n", "1"), (*GAME, *NEVER, *SERVERS, "asyncpg")),
        (("replay", "--limit", "1"), (*GAME, *NEVER, *SERVERS, "asyncpg")),
        # Which facts are a subsystem's own is asked of the handlers before anything is published.
        (
            ("publish", "PlayerHeartbeat", "--entity", "lean"),
            (*NEVER, *SERVERS, "projections.projector", "worldbus.compose", "worldbus.knowledge", "numpy"),
        ),
        (("lag",), (*NEVER, *SERVERS, "worldbus.compose", "worldbus.knowledge", "projections.projector", "numpy", "tokenizers")),
        (("why", "1"), (*NEVER, *SERVERS, *NATS, "handlers", "projections.projector")),
        (("verify",), (*OF_EXTRAS, "worldbus.embedded.nats", "worldbus.embedded.postgres")),
        (("check",), (*OF_EXTRAS, *SERVERS)),
        (("run", "--only", "nobody"), (*OF_EXTRAS, "worldbus.embedded.nats", "worldbus.embedded.postgres")),
    ],
)
def test_a_verb_beside_a_running_world_loads_no_more_than_it_needs(up: Path, words: tuple[str, ...], without: tuple[str, ...]) -> None:
    modules = loaded(up, *words)

    assert "worldbus.cli.app" in modules
    assert of(modules, *without) == set()


@pytest.mark.parametrize(
    "words", ["worldbus publish Pl", "worldbus run --only we", "worldbus sql pl", "worldbus rebuild we", "worldbus tail --type N"]
)
def test_the_tab_key_loads_no_protobuf(tmp_path: Path, words: str) -> None:
    typed = words.split()
    modules = loaded(tmp_path, _WORLDBUS_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(len(typed) - 1))

    assert of(modules, *GAME, *NEVER, *PROTOBUF, *NATS, *SERVERS, "asyncpg", "structlog") == set()


def test_without_a_running_world_its_servers_are_loaded_and_nothing_of_the_game(tmp_path: Path) -> None:
    modules = loaded(tmp_path / "none", "sql", "SELECT 1")

    assert of(modules, *GAME, *NATS) == set()
    assert os.listdir(tmp_path) == []
