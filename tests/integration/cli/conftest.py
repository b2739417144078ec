"""A world that lived through a short demo, and the command line as people call it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

COMMAND = [sys.executable, "-c", "from worldbus.cli import main; main()"]
Worldbus = Callable[..., subprocess.CompletedProcess[str]]


def call(folder: Path, *words: object, given: str | None = None) -> subprocess.CompletedProcess[str]:
    """`worldbus words…` on a data folder, to its end."""
    return subprocess.run(
        [*COMMAND, *map(str, words)], env=environment(folder), input=given, text=True, capture_output=True, check=False, timeout=100
    )


def environment(folder: Path) -> dict[str, str]:
    """That of the test run, without settings of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WORLDBUS_")}
    return {**kept, "WORLDBUS_DATA": str(folder), "WORLDBUS_DURABILITY": "relaxed"}


@dataclass(frozen=True, slots=True)
class Lived:
    """A data folder in which a demo ran, and what it reported."""

    folder: Path
    report: dict[str, Any]


@pytest.fixture(scope="package")
def lived() -> Iterator[Lived]:
    """A small demo that has ended."""
    folder = Path(tempfile.mkdtemp(prefix="wb-cli-"))
    folder.chmod(0o711 if os.geteuid() == 0 else 0o700)
    done = call(folder, "demo", "--players", 6, "--seconds", 4, "--seed", 7, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    yield Lived(folder, json.loads(done.stdout))
    shutil.rmtree(folder)


@pytest.fixture(scope="package")
def up(lived: Lived) -> Iterator[Path]:
    """The same world, kept up by `worldbus up`."""
    errors = lived.folder / "up.err"
    with errors.open("w") as said:
        process = subprocess.Popen([*COMMAND, "up"], env=environment(lived.folder), stderr=said, stdin=subprocess.DEVNULL)
    while "Stop it with Ctrl-C" not in errors.read_text():
        assert process.poll() is None, errors.read_text()
        time.sleep(0.05)
    yield lived.folder
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0, errors.read_text()
    assert "stopped" in errors.read_text()


@pytest.fixture
def worldbus(up: Path) -> Worldbus:
    """`worldbus("sql", "SELECT 1")` beside the running `up`."""
    return lambda *words, given=None: call(up, *words, given=given)


def lines(done: subprocess.CompletedProcess[str]) -> list[Any]:
    """JSON lines of a command that ended well."""
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
