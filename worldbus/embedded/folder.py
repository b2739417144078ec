"""The data folder: one owner at a time, its secrets, and where its servers can be found."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import shlex
import tempfile
import time
import unicodedata
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bus.errors import FolderInUse, Misuse, NoWorld
from worldbus import __version__
from worldbus.embedded import registry
from worldbus.embedded.process import Identity

POLL_S = 0.02
PROBES = 5
LOCK = "worldbus.lock"
LAYOUT = "worldbus.json"
LAYOUT_VERSION = 1
"""Of the data folder itself: which files lie where. A folder of a higher one is left alone."""
MAY_BE_THERE = {"lost+found"}  # on a volume of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """The addresses that the owner of a folder wrote down for everybody else. None: the owner uses a server from elsewhere."""

    pid: int = 0
    born: str = ""
    durability: str = "strict"
    world: str = "main"
    nats_url: str | None = None
    nats_monitor_url: str | None = None
    websocket_url: str | None = None
    postgres_dsn: str | None = None
    reader_dsn: str | None = None
    gateway_dsn: str | None = None  # an owner of an earlier release has none


class Folder:
    """A data folder. The lock is the kernel's, so a crashed owner holds nothing."""

    def __init__(self, path: Path, *, create: bool = True) -> None:
        """Makes the folder if needed and wanted. Raises `NoWorld` if it is not wanted, and `Misuse` when it is not ours to use."""
        self.path = Path(os.path.abspath(path))  # noqa: PTH100  # resolve() would follow links that an operator placed on purpose
        self._lock: int | None = None
        if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in str(self.path)):
            raise Misuse(
                f"data folder {str(self.path)!a}: wanted a path in UTF-8 without control characters, which files of the servers hold "
                "line by line; choose another with --data-dir"
            )
        try:
            self.made = not self._holds_a_world()
            """True if no world was here before."""
            if self.made and not create:
                raise no_world(self.path)
            if not self.path.exists():
                # Postgres runs as another user when we are root, and must pass through; what is inside is closed to others by itself.
                self.path.mkdir(parents=True, exist_ok=True, mode=0o711 if os.geteuid() == 0 else 0o700)
            names = set(os.listdir(self.path))
            if LOCK not in names and names - MAY_BE_THERE:
                raise Misuse(
                    f"data folder {self.path}: wanted a new or empty folder, or one that worldbus made, found {min(names)!r} in it; "
                    "choose another with --data-dir",
                    folder=str(self.path),
                )
            self._refuse_other_layouts()
            os.close(os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise self.unusable(error) from error

    def _holds_a_world(self) -> bool:
        """Return whether somebody began one here: its servers have folders, or an owner is about to make them."""
        if not (self.path / LOCK).exists():
            return False
        if any((self.path / part).exists() for part in ("nats", "postgres")):
            return True
        free = self._try_lock(fcntl.LOCK_SH)
        if free is not None:
            os.close(free)
        return free is None

    def _refuse_other_layouts(self) -> None:
        try:
            layout = json.loads((self.path / LAYOUT).read_text())
            version, release = int(layout["layout"]), str(layout["worldbus"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return
        if version > LAYOUT_VERSION:
            raise Misuse(
                f"data folder {self.path} was made by worldbus {release}, which lays it out as {version}; this is worldbus {__version__}, "
                f"which knows up to {LAYOUT_VERSION}: use that release or a newer one, or choose another folder with --data-dir",
                folder=str(self.path),
            )

    def unusable(self, error: OSError) -> Misuse:
        """The error for a folder that the system does not let us use: read-only, closed to us, on a full disk."""
        where = f" ({error.filename})" if error.filename and str(error.filename) != str(self.path) else ""
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        step = "free some room there" if full else "let this user write there"
        return Misuse(
            f"data folder {self.path}: wanted a folder of our own to write to, found: {error.strerror or error}{where}; {step}, "
            "or choose another with --data-dir",
            folder=str(self.path),
        )

    @property
    def owned(self) -> bool:
        return self._lock is not None

    def acquire(self) -> bool:
        """Become the owner. False when another process, or another `Folder` of this one, already is."""
        lock = self._try_lock(fcntl.LOCK_EX)
        for _ in range(PROBES):  # somebody may only be looking whether there is an owner
            if lock is not None:
                break
            time.sleep(POLL_S)
            lock = self._try_lock(fcntl.LOCK_EX)
        if lock is None:
            return False
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        self._lock = lock
        if not (self.path / LAYOUT).exists():
            self._write(self.path / LAYOUT, {"layout": LAYOUT_VERSION, "worldbus": __version__})
        return True

    def _try_lock(self, kind: int) -> int | None:
        lock = os.open(self.path / LOCK, os.O_RDWR)
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        return lock

    def release(self) -> None:
        """Stop being the owner; others no longer find our servers."""
        if self._lock is None:
            return
        registry.forget(self.path)
        self._servers.unlink(missing_ok=True)
        os.close(self._lock)
        self._lock = None

    def refuse(self) -> FolderInUse:
        """The error for a caller that must own the folder and cannot."""
        pid = self._owner_pid()
        return FolderInUse(
            f"data folder {self.path} is in use by process {pid or 'unknown'}: stop that one first, "
            "or choose another folder with --data-dir",
            folder=str(self.path),
            pid=pid,
        )

    def announce(self, addresses: Addresses) -> None:
        """Let other commands find the servers. Owner only."""
        self._write(self._servers, asdict(addresses))
        registry.note(registry.Running(folder=str(self.path), world=addresses.world, pid=addresses.pid, born=addresses.born))

    def running(self) -> Addresses | None:
        """The running owner's addresses, without waiting for one that starts."""
        addresses = self._announced()
        return addresses if addresses is not None and Identity(addresses.pid, addresses.born).alive else None

    def find(self, within_s: float = 60.0) -> Addresses | None:
        """The running owner's addresses, waiting while it starts; None as soon as there is no owner."""
        deadline = time.monotonic() + within_s
        while True:
            if (addresses := self.running()) is not None:
                return addresses
            if (free := self._try_lock(fcntl.LOCK_SH)) is not None:
                os.close(free)
                return None
            if time.monotonic() > deadline:
                raise self.refuse()
            time.sleep(POLL_S)

    def secret(self, name: str) -> str:
        """A random password that stays the same for the life of the folder. Owner only."""
        known = self._secrets()
        if name not in known:
            known[name] = secrets.token_urlsafe(24)
            self._write(self.path / "secrets.json", known)
        return known[name]

    def owns(self, url: str | None) -> bool:
        """Return whether an address is that of a server of this folder, on whatever port it had then: the password says so."""
        password = urlsplit(url or "").password
        return password is not None and unquote(password) in self._secrets().values()

    def _secrets(self) -> dict[str, str]:
        path = self.path / "secrets.json"
        known: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
        return known

    @property
    def _servers(self) -> Path:
        return self.path / "servers.json"

    def _announced(self) -> Addresses | None:
        try:
            record = json.loads(self._servers.read_text())
            return Addresses(
                **{item.name: record[item.name] for item in fields(Addresses) if item.name in record}
            )  # others: a newer release's
        except PermissionError as error:
            raise Misuse(
                f"data folder {self.path} belongs to another user: run as that user, or choose another folder with --data-dir",
                folder=str(self.path),
            ) from error
        except (OSError, ValueError, TypeError):
            return None

    def _owner_pid(self) -> int | None:
        try:
            return int((self.path / LOCK).read_text())
        except (OSError, ValueError):
            return None

    def _write(self, path: Path, content: object) -> None:
        """Replace a file in one step, readable by us alone."""
        handle, name = tempfile.mkstemp(dir=self.path)  # 0600
        with os.fdopen(handle, "w") as file:
            json.dump(content, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)


def no_world(path: Path, what: str = "no world is there") -> NoWorld:
    """The error of a caller that makes no world; it names those that run."""
    others = [one.folder for one in registry.running() if one.folder != str(path)]
    if others:
        step = "; ".join(f"a world runs in {folder}: add --data-dir {shlex.quote(folder)}" for folder in others)
        step += ", or set WORLDBUS_DATA to it; or start one here with `worldbus up`"
    else:
        step = "no other world of yours runs on this machine: start one here with `worldbus up`, or name its folder with --data-dir"
    return NoWorld(f"wanted a world in data folder {path}, found that {what}; {step}", folder=str(path), running=tuple(others))
