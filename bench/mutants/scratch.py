"""A scratch copy of the checkout, in which faults are planted; the checkout itself is never touched."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.mutants.fault import ROOT, Fault

PACKAGES = (".", "clients/python", "clients/evennia")


class Scratch:
    """One copy, and the processes that run in it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "copy"
        self._temporary = folder / "t"  # short: sockets have a limit
        self._time = int(ROOT.stat().st_mtime) + 1_000
        self._temporary.mkdir()
        self._temporary.chmod(0o711)  # passable for the user that Postgres runs as
        for name in files():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, self.root / name)

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment in which only the copy is imported, and nothing differs from `make test`."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("WORLDBUS_", "PYTEST_", "HYPOTHESIS_", "LAWS_"))}
        return kept | {
            "PYTHONPATH": os.pathsep.join(str(self.root / package) for package in PACKAGES),
            "HYPOTHESIS_PROFILE": "notice",
            "PYTHONHASHSEED": "0",
            "TZ": "UTC",
            "LC_ALL": "C.UTF-8",
            "TMPDIR": str(self._temporary),
        }

    @contextmanager
    def planted(self, fault: Fault) -> Iterator[None]:
        """With the fault, for the block."""
        path = self.root / fault.file
        before = path.read_text()
        self._write(path, fault.plant(self.root))
        try:
            yield
        finally:
            self._write(path, before)

    def _write(self, path: Path, text: str) -> None:
        """With a time of its own: Python takes a compiled file for fresh by its whole seconds and its size."""
        path.write_text(text)
        self._time += 1
        os.utime(path, (self._time, self._time))

    def run(self, words: Sequence[str], within_s: float) -> tuple[int | None, str]:
        """Run Python with these words; (exit code, what it wrote). None: it did not end in time, and was ended with all it had started."""
        with subprocess.Popen(
            [sys.executable, *words],
            cwd=self.root,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        ) as process:
            try:
                written, _ = process.communicate(timeout=within_s)
                return process.returncode, written
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                written, _ = process.communicate()
                return None, written
            finally:
                self._tidy()

    def _tidy(self) -> None:
        for path in self._temporary.iterdir():
            shutil.rmtree(path, ignore_errors=True)


def files() -> Iterator[str]:
    """The files that git knows or would know."""
    listed = subprocess.run(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in listed.stdout.split("\0"):
        if name and (ROOT / name).is_file():
            yield name


@contextmanager
def scratch() -> Iterator[Scratch]:
    """A copy that goes away."""
    folder = Path(tempfile.mkdtemp(prefix="wb-m-"))
    folder.chmod(0o711)
    try:
        yield Scratch(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
