"""The worlds that run on this machine under this user: each owner of a data folder leaves a note, for whoever stands in another folder.

Notes are a convenience: one that cannot be written or read is as good as none, and nothing is decided by them.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from worldbus.embedded.process import Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A world whose servers run: its data folder, its name, and the process that started them."""

    folder: str
    world: str
    pid: int
    born: str


def note(running: Running) -> None:
    """Leave a note of a world that runs now."""
    with suppress(OSError):
        folder = _notes()
        handle, name = tempfile.mkstemp(dir=folder, prefix=".")
        with os.fdopen(handle, "w") as file:
            json.dump(asdict(running), file)
        Path(name).replace(folder / _name(running.folder))


def forget(folder: Path) -> None:
    """Remove the note of a world that ends."""
    with suppress(OSError):
        (_notes() / _name(str(folder))).unlink(missing_ok=True)


def running() -> list[Running]:
    """The worlds that run now, by folder. Notes of those that died are removed."""
    found = []
    with suppress(OSError):
        for path in _notes().glob("*.json"):
            one = _read(path)
            if one is not None and Identity(one.pid, one.born).alive:
                found.append(one)
            else:
                path.unlink(missing_ok=True)
    return sorted(found, key=lambda one: one.folder)


def _read(path: Path) -> Running | None:
    try:
        record = json.loads(path.read_text())
        return Running(folder=str(record["folder"]), world=str(record["world"]), pid=int(record["pid"]), born=str(record["born"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _notes() -> Path:
    """The folder of the notes: this user's runtime folder, or one of our own beside everybody's temporary files. Raises `OSError`."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    folder = Path(runtime) / "worldbus" if Path(runtime).is_absolute() else Path(tempfile.gettempdir()) / f"worldbus-{os.geteuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise PermissionError(f"{folder} is somebody else's")  # what it says must not lead us anywhere
    return folder


def _name(folder: str) -> str:
    return hashlib.sha256(os.fsencode(folder)).hexdigest()[:16] + ".json"
