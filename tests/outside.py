"""A place outside the checkout: the built wheel, a fresh environment with the locked packages, and a watch that sees who opens what."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
WATCH = """
import os, sys
_root, _list = {root!r} + os.sep, {list!r}
def _watch(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        path = os.path.abspath(os.fsdecode(arguments[0]))
        if path.startswith(_root):
            file = os.open(_list, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(file, os.fsencode(path) + b"\\n")
            os.close(file)
sys.addaudithook(_watch)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """A folder, the wheels in it, and the environments made of them.

    `constraints` are the versions of our locks, `opened` is the list of the watch.
    """

    home: Path
    wheel: Path
    client: Path
    constraints: Path
    opened: Path

    @property
    def venv(self) -> Path:
        """The environment with the locked packages of a whole world, and the wheel."""
        return self.home / "venv"

    @property
    def kernel(self) -> Path:
        """The environment with the locked packages of the kernel, and the wheel; without pip."""
        return self.home / "kernel"

    def run(self, *command: str | Path, folder: Path | None = None) -> str:
        """Run a command there; returns what it prints. Fails with both streams."""
        done = subprocess.run(
            [str(word) for word in command], cwd=folder or self.home, env=self.environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{' '.join(map(str, command))} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def make(self, folder: Path, *words: str) -> str:
        """`make` in a game's repository, whose environment is watched from its beginning."""
        watched = f"WORLDBUS={self.wheel}"
        if not (folder / ".venv" / ".ready").exists():
            self.run("make", ".venv/.ready", watched, f"PYTHON={sys.executable}", folder=folder)
            self.watch(folder / ".venv")
        return self.run("make", *words, watched, f"PYTHON={sys.executable}", folder=folder)

    def watch(self, venv: Path) -> None:
        """Have every Python of an environment write down which of the checkout's files it opens."""
        site = self.run(venv / "bin" / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
        Path(site, "_watch_checkout.py").write_text(WATCH.format(root=str(ROOT), list=str(self.opened)))
        Path(site, "_watch_checkout.pth").write_text("import _watch_checkout\n")

    def environment(self) -> dict[str, str]:
        """As somebody's who has no checkout; where pip finds packages is this machine's own."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTHON", "VIRTUAL_ENV", "WORLDBUS", "MAKE", "MFLAGS"))
        }
        return {**kept, "PIP_CONSTRAINT": str(self.constraints)}


def outside(home: Path) -> Outside:
    """Build the wheel into `home` and make the environment: every package by the hashes of the lock, then the wheel alone."""
    place = Outside(
        home=home,
        wheel=build(ROOT, home / "dist"),
        client=build(ROOT / "clients" / "python", home / "dist"),
        constraints=home / "constraints.txt",
        opened=home / "opened.txt",
    )
    pins = [pin for lock in ("dev", "build") for pin in re.findall(r"^[\w.-]+==[^\s\\]+(?: ; [^\\\n]+)?", _lock(lock), re.MULTILINE)]
    place.constraints.write_text("\n".join(pins) + "\n")
    for venv, lock in ((place.venv, "all"), (place.kernel, "base")):
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
        pip(venv, "install", "--require-hashes", "-r", str(ROOT / "requirements" / f"{lock}.txt"))
        pip(venv, "install", "--no-deps", str(place.wheel))
        place.watch(venv)
    return place


def pip(venv: Path, *words: str) -> None:
    """Our pip in an environment that has none: what is in there is what was installed."""
    python = str(venv / "bin" / "python")
    subprocess.run([sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--python", python, *words], check=True)


def build(source: Path, folder: Path) -> Path:
    """The wheel of a project of ours."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(folder),
        str(source),
    ]
    subprocess.run(command, check=True)
    (name,) = folder.glob(f"{'worldbus_client' if source != ROOT else 'worldbus'}-*.whl")
    return name


def _lock(name: str) -> str:
    return (ROOT / "requirements" / f"{name}.txt").read_text()


def copied(example: str, home: Path) -> Path:
    """A copy of an example's repository, as its author has it."""
    ignored = shutil.ignore_patterns(".venv", ".worldbus", ".hypothesis", ".pytest_cache", "__pycache__")
    return Path(shutil.copytree(ROOT / "examples" / example, home / example, ignore=ignored))
