"""Every command in the README and the docs is run as it stands, and its answer is looked at: what people copy must work as shown.

Commands are the lines that begin with `$` in blocks marked `console`; the lines below one, up to the next, are what it prints. Each page
has a folder of its own, its commands run in order, and must exit with 0 unless a comment says otherwise (`# exit 2`, with its error).
Commands that go on until Ctrl-C run beside the rest of the page and are stopped by SIGTERM at its end.

A page's files, each a block below a line that is nothing but its path in backticks and a colon, lie in the folder before its first command.
A page with a comment `folder: …` begins in a copy of that folder, and the files that it shows are those that lie there.

`…` in a line stands for any text, on a line of its own for any lines. Spaces count as one, beside `…` for nothing. A command without lines
below it prints nothing. One that only reads is asked again until the answer is there: tables follow the log.
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
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"^`([\w./-]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FOLDER = re.compile(r"^<!-- folder: ([\w/-]+) -->$", re.MULTILINE)
LASTING = re.compile(r"worldbus (up|dev|run)\b|worldbus gateway --tokens\b|worldbus tail .*(--follow|-f)\b")
READING = re.compile(
    r"(worldbus (tail|replay|sql|lag|check|ps|parked list|skipped list|kb search|why|verify|env)|curl .*/(readyz|subscribe|v1/search))\b"
)
EDITING = re.compile(r"sed -i|>> |cp ")
TAKEN_UP = re.compile(r"plays again|runs on|nothing is started again")  # by `worldbus dev`
# What builds the environment, and so cannot be run inside its own tests.
BY_HAND = re.compile(r"(make (demo|test|ts|setup|check|bench|chaos|vllm|litellm)|git clone|cd)\b")
ANY = "…"
PATIENCE_S = 120.0  # for an answer that has to come first


@dataclass(slots=True)
class Command:
    """A line to type, and what it is to print."""

    line: str
    printed: list[str] = field(default_factory=list)

    @property
    def code(self) -> int:
        found = re.search(r"# exit (\d+)$", self.line)
        return int(found[1]) if found else 0

    @property
    def by_hand(self) -> bool:
        return BY_HAND.match(self.line) is not None

    def fits(self, text: str) -> bool:
        """True if that is what it was to print."""
        return _pattern(self.printed).fullmatch(_lines(text)) is not None

    def begins(self, text: str) -> bool:
        """True if that goes on from what it was to print."""
        return _pattern(self.printed).match(_lines(text)) is not None


def _lines(text: str) -> str:
    return "".join(f"{' '.join(line.split())}\n" for line in text.splitlines())


def _pattern(printed: list[str]) -> re.Pattern[str]:
    parts = []
    for line in printed:
        words = " ".join(line.split())
        parts.append(r"(?:[^\n]*\n)*?" if words == ANY else r"[^\n]*".join(re.escape(part.strip()) for part in words.split(ANY)) + r"\n")
    return re.compile("".join(parts))


def pages() -> list[Path]:
    """The README and every page that has commands."""
    return [page for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))] if commands(page.read_text(encoding="utf-8"))]


def commands(text: str) -> list[Command]:
    """The commands of a page, in order."""
    found: list[Command] = []
    for block in BLOCK.findall(text):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append(Command(line[2:].strip()))
            elif found:
                found[-1].printed.append(line)
    for command in found:
        while command.printed and not command.printed[-1].strip():
            command.printed.pop()
    return found


def files(text: str) -> list[tuple[str, str]]:
    """The files that a page shows, by path."""
    return FILE.findall(text)


def begins_in(text: str) -> Path | None:
    """The folder of this repository that a page's commands begin in a copy of."""
    found = FOLDER.search(text)
    return ROOT / found[1] if found else None


@pytest.fixture
def folder() -> Iterator[Path]:
    """A reader's place: an empty folder with a short path (sockets have a limit)."""
    path = Path(tempfile.mkdtemp(prefix="wb-docs-"))
    path.chmod(0o711 if os.geteuid() == 0 else 0o700)
    yield path
    shutil.rmtree(path)


def test_the_tutorial_and_the_readme_have_commands() -> None:
    assert {ROOT / "README.md", ROOT / "docs" / "tutorial" / "first-world.md"} <= set(pages())


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_every_answer_that_a_page_shows_says_something(page: Path) -> None:
    """An answer of which anything would do is none."""
    vague = [
        one.line for one in commands(page.read_text(encoding="utf-8")) if one.printed and not "".join(one.printed).replace(ANY, "").split()
    ]

    assert vague == []


def test_answers_are_compared_as_written() -> None:
    (command, silent) = commands('```console\n$ worldbus sql "SELECT …"\nzone  online\nquay  …\n…\nold-moor  yes\n\n$ true\n```\n')

    assert command.fits("zone   online\nquay   yes\nreed   no\nold-moor   yes\n")
    assert command.fits("zone online\nquay yes\nold-moor yes\n")
    assert not command.fits("zone online\nold-moor yes\n")
    assert not command.fits("zone online\nquay yes\nold-moor yes\nmore\n")
    assert not command.fits("")
    assert silent.fits("")
    assert not silent.fits("something\n")


def test_the_files_of_a_page_are_those_below_their_paths() -> None:
    text = "`a/b.py`:\n\n```python\nx = 1\n```\n\nNot `c.py`:\n\n```python\ny = 2\n```\n\n```python\nz = 3\n```\n"

    assert files(text) == [("a/b.py", "x = 1\n")]


@pytest.mark.parametrize("page", [page for page in pages() if begins_in(page.read_text(encoding="utf-8"))], ids=lambda page: page.stem)
def test_a_page_shows_the_files_of_its_folder(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    folder = begins_in(text)
    assert folder is not None

    assert files(text) == [(path, (folder / path).read_text(encoding="utf-8")) for path, _ in files(text)]


FIGURE = re.compile(r"\d[\d,.]*")


@pytest.mark.timeout(600)
def test_the_demo_prints_what_the_readme_shows(folder: Path) -> None:
    """The README shows `make demo`, a minute with other players: its words are looked at here, and its figures are of that run."""
    (shown,) = (one for one in commands((ROOT / "README.md").read_text(encoding="utf-8")) if one.line == "make demo" and one.printed)
    words = Command("worldbus demo --players 20 --seconds 5", [FIGURE.sub(ANY, line) for line in shown.printed])

    environment = _environment(folder)
    del environment["WORLDBUS_DURABILITY"]  # strict, as it comes
    _run(words, folder, environment)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_every_command_of_a_page_works(page: Path, folder: Path) -> None:
    text = page.read_text(encoding="utf-8")
    environment = _environment(folder)
    lasting: list[Lasting] = []
    if start := begins_in(text):
        _copy_tracked(start, folder)
    for path, content in files(text):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content, encoding="utf-8")
    try:
        for command in commands(text):
            if command.by_hand:
                continue
            if LASTING.search(command.line):
                lasting.append(Lasting(command, folder, environment, len(lasting)))
            else:
                playing = [one for one in lasting if one.plays_changes and EDITING.search(command.line)]
                before = [one.taken_up for one in playing]
                _run(command, folder, environment)
                for one, count in zip(playing, before, strict=True):
                    one.until(lambda one=one, count=count: one.taken_up > count)
        for one in lasting:
            one.look()
    finally:
        ends = [one.stop() for one in reversed(lasting)]
    assert ends == [0] * len(lasting)


def _environment(folder: Path) -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WORLDBUS_")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    environment["WORLDBUS_DURABILITY"] = "relaxed"  # nobody pulls the plug here
    environment["XDG_RUNTIME_DIR"] = str(folder)  # worlds that run beside the tests are none of a reader's
    return environment


def _copy_tracked(start: Path, folder: Path) -> None:
    """Copy what a clone would have: no world and no generated code that somebody left there."""
    listed = subprocess.run(["git", "ls-files", "-z", "."], cwd=start, text=True, capture_output=True, check=True).stdout
    for path in filter(None, listed.split("\0")):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(start / path, folder / path)


def _run(command: Command, folder: Path, environment: dict[str, str]) -> None:
    until = time.monotonic() + PATIENCE_S
    while True:
        done = subprocess.run(["bash", "-c", command.line], cwd=folder, env=environment, text=True, capture_output=True, check=False)
        printed = done.stdout + (done.stderr if command.code else "")
        if done.returncode == command.code and command.fits(printed):
            return
        if not READING.match(command.line) or time.monotonic() > until:
            break
        time.sleep(0.2)
    wanted = "\n".join(command.printed)
    raise AssertionError(
        f"$ {command.line}\n--- wanted (exit {command.code})\n{wanted}\n--- found (exit {done.returncode})\n{done.stdout}{done.stderr}"
    )


class Lasting:
    """A command that goes on beside the rest of its page."""

    def __init__(self, command: Command, folder: Path, environment: dict[str, str], number: int) -> None:
        """`up` is there when others can find its servers, and all when they can be stopped."""
        self._command = command
        self._said = folder / f"lasting-{number}.txt"
        with self._said.open("w") as said:
            self._process = subprocess.Popen(
                f"exec {command.line}", shell=True, cwd=folder, env=environment, stdout=said, stderr=subprocess.STDOUT, text=True
            )
        servers = folder / ".worldbus" / "servers.json"
        while not _stoppable(self._process.pid) or (" up" in command.line and not servers.exists()):
            assert self._process.poll() is None, f"$ {command.line} ended with {self._process.returncode}\n{self._said.read_text()}"
            time.sleep(0.05)
        if " up" in command.line:
            self.look()
        if self.plays_changes:
            self.until(lambda: "Watching" in self._text())

    @property
    def plays_changes(self) -> bool:
        """True if files that change concern it."""
        return "worldbus dev" in self._command.line

    @property
    def taken_up(self) -> int:
        """How many changes it has told the end of."""
        return len(TAKEN_UP.findall(self._text()))

    def look(self) -> None:
        """Wait for what it is to say."""
        self.until(lambda: self._command.begins(self._text()))

    def until(self, said: Callable[[], bool]) -> None:
        """Wait for something that it is to say."""
        until = time.monotonic() + PATIENCE_S
        while not said():
            assert time.monotonic() < until, (
                f"$ {self._command.line}\n--- wanted\n{self._command.printed}\n--- found\n{self._said.read_text()}"
            )
            time.sleep(0.1)

    def _text(self) -> str:
        """Without the log, which is for machines."""
        return "".join(line for line in self._said.read_text().splitlines(keepends=True) if not line.startswith('{"'))

    def stop(self) -> int:
        """End it as an operator would; its exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(60)


def _stoppable(pid: int) -> bool:
    """True if it has a handler for SIGTERM, as the kernel says: until it has read its modules, that would be its end."""
    caught = re.search(r"^SigCgt:\s*(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return caught is not None and bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)
