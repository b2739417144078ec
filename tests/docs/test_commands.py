"""Every command in the README and the docs is run as it stands: what people copy must work.

Commands are the lines that begin with `$` in blocks marked `console`. Each page has a folder of its own, its commands run in order,
and must exit with 0 unless a comment says otherwise (`# exit 2`). Commands that go on until Ctrl-C run beside the rest of the page
and are stopped by SIGTERM at its end.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LASTING = re.compile(r"worldbus (up|run)\b|worldbus gateway --tokens\b|worldbus tail .*(--follow|-f)\b")
# What builds the environment, and so cannot be run inside its own tests.
BY_HAND = re.compile(r"(make (demo|test|ts|setup|check|bench|chaos|vllm|litellm)|git clone|cd)\b")


def pages() -> list[Path]:
    """The README and every page that has commands."""
    return [page for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))] if commands(page)]


def commands(page: Path) -> list[str]:
    """The commands of a page, in order."""
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [line[2:].strip() for block in blocks for line in block.splitlines() if line.startswith("$ ")]


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where a reader would stand: an empty folder with a short path (sockets have a limit)."""
    path = Path(tempfile.mkdtemp(prefix="wb-docs-"))
    path.chmod(0o711 if os.geteuid() == 0 else 0o700)
    yield path
    shutil.rmtree(path)


def test_the_tutorial_and_the_readme_have_commands() -> None:
    assert {ROOT / "README.md", ROOT / "docs" / "tutorial" / "first-world.md"} <= set(pages())


@pytest.mark.timeout(400)
@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_every_command_of_a_page_works(page: Path, folder: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WORLDBUS_")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    environment["WORLDBUS_DURABILITY"] = "relaxed"  # nobody pulls the plug here
    lasting: list[subprocess.Popen[str]] = []
    try:
        for command in commands(page):
            if BY_HAND.match(command):
                continue
            if LASTING.search(command):
                lasting.append(_start(command, folder, environment))
                continue
            wanted = re.search(r"# exit (\d+)$", command)
            done = subprocess.run(["bash", "-c", command], cwd=folder, env=environment, text=True, capture_output=True, check=False)
            assert done.returncode == int(wanted[1] if wanted else 0), f"$ {command}\n{done.stdout}{done.stderr}"
    finally:
        ends = [_stop(process) for process in reversed(lasting)]
    assert ends == [0] * len(lasting)


def _start(command: str, folder: Path, environment: dict[str, str]) -> subprocess.Popen[str]:
    """Run it beside the rest; `up` is there when others can find its servers, and all when they can be stopped."""
    process = subprocess.Popen(f"exec {command}", shell=True, cwd=folder, env=environment, stdout=subprocess.DEVNULL, text=True)
    while not _stoppable(process.pid) or (" up" in command and not (folder / ".worldbus" / "servers.json").exists()):
        assert process.poll() is None, f"$ {command} ended with {process.returncode}"
        time.sleep(0.05)
    return process


def _stoppable(pid: int) -> bool:
    """Whether it has a handler for SIGTERM, as the kernel says: until it has read its modules, that would be its end."""
    caught = re.search(r"^SigCgt:\s*(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return caught is not None and bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)


def _stop(process: subprocess.Popen[str]) -> int:
    process.send_signal(signal.SIGTERM)
    return process.wait(60)
