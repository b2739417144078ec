"""The data folder: one owner at a time, its secrets, and where its servers can be found."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import tempfile
import time
import unicodedata
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from bus.errors import FolderInUse, Misuse
from worldbus.embedded.process import Identity

POLL_S = 0.02
PROBES = 5
LOCK = "worldbus.lock"
MAY_BE_THERE = {"lost+found"}  # on a volume of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """What the owner of a folder wrote down for everybody else. None: the owner uses a server from elsewhere."""

    pid: int
    born: str
    durability: str
    nats_url: str | None
    nats_monitor_url: str | None
    postgres_dsn: str | None
    reader_dsn: str | None
    gateway_dsn: str | None = None  # an owner of an earlier release has none


_NAMES = frozenset(item.name for item in fields(Addresses))


class Folder:
    """A data folder. The lock is the kernel's, so a crashed owner holds nothing."""

    def __init__(self, path: Path) -> None:
        """Creates the folder if needed; raises `Misuse` when that is not allowed."""
        self.path = Path(os.path.abspath(path))  # noqa: PTH100  # resolve() would follow links that an operator placed on purpose
        self._lock: int | None = None
        if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in str(self.path)):
            raise Misuse(
                f"data folder {str(self.path)!a}: wanted a path in UTF-8 without control characters, which files of the servers hold "
                "line by line; choose another with --data"
            )
        try:
            if not self.path.exists():
                # Postgres runs as another user when we are root, and must pass through; what is inside is closed to others by itself.
                self.path.mkdir(parents=True, exist_ok=True, mode=0o711 if os.geteuid() == 0 else 0o700)
            names = set(os.listdir(self.path))
            if LOCK not in names and names - MAY_BE_THERE:
                raise Misuse(
                    f"data folder {self.path}: wanted a new or empty folder, or one that worldbus made, found {min(names)!r} in it; "
                    "choose another with --data",
                    folder=str(self.path),
                )
            os.close(os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise Misuse(
                f"data folder {self.path}: wanted a folder of our own to write to, found: {error.strerror}; choose another with --data",
                folder=str(self.path),
            ) from error

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
        self._servers.unlink(missing_ok=True)
        os.close(self._lock)
        self._lock = None

    def refuse(self) -> FolderInUse:
        """The error for a caller that must own the folder and cannot."""
        pid = self._owner_pid()
        return FolderInUse(
            f"data folder {self.path} is in use by process {pid or 'unknown'}: stop that one first, or choose another folder with --data",
            folder=str(self.path),
            pid=pid,
        )

    def announce(self, addresses: Addresses) -> None:
        """Let other commands find the servers. Owner only."""
        self._write(self._servers, asdict(addresses))

    def find(self, within_s: float = 60.0) -> Addresses | None:
        """The running owner's addresses, waiting while it starts; None as soon as there is no owner."""
        deadline = time.monotonic() + within_s
        while True:
            addresses = self._announced()
            if addresses is not None and Identity(addresses.pid, addresses.born).alive:
                return addresses
            if (free := self._try_lock(fcntl.LOCK_SH)) is not None:
                os.close(free)
                return None
            if time.monotonic() > deadline:
                raise self.refuse()
            time.sleep(POLL_S)

    def secret(self, name: str) -> str:
        """A random password that stays the same for the life of the folder. Owner only."""
        path = self.path / "secrets.json"
        known: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
        if name not in known:
            known[name] = secrets.token_urlsafe(24)
            self._write(path, known)
        return known[name]

    @property
    def _servers(self) -> Path:
        return self.path / "servers.json"

    def _announced(self) -> Addresses | None:
        try:
            found = json.loads(self._servers.read_text())
            return Addresses(**{name: found[name] for name in _NAMES & found.keys()})  # an owner of a later release may say more
        except PermissionError as error:
            raise Misuse(
                f"data folder {self.path} belongs to another user: run as that user, or choose another folder with --data",
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
