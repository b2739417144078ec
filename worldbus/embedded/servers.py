"""The embedded servers of one data folder: started by whoever comes first, found by everybody else."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bus.errors import Misuse
from worldbus.embedded import room
from worldbus.embedded.blocking import in_thread
from worldbus.embedded.folder import Addresses, Folder
from worldbus.embedded.keeping import keep_nats, keep_postgres
from worldbus.embedded.nats import NatsServer
from worldbus.embedded.postgres import ADMIN, GATEWAY, OWNER, READER, PostgresServer
from worldbus.embedded.process import Identity
from worldbus.embedded.websocket import Browsers
from worldbus.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """Where the log and the tables are. `nats` and `postgres` are set when this process started them.

    `gateway_dsn` is the embedded Postgres as the gateway's role; of a given one, what `reader_dsn` names.
    """

    nats_url: str = field(repr=False)
    nats_monitor_url: str | None
    postgres_dsn: str = field(repr=False)
    reader_dsn: str = field(repr=False)
    gateway_dsn: str = field(repr=False)
    nats: NatsServer | None = field(default=None, repr=False)
    postgres: PostgresServer | None = field(default=None, repr=False)

    async def keep_alive(self) -> None:
        """Start a server again that ended by itself; raises `ServerFailed` when nats-server keeps ending. Runs until cancelled.

        Not for use beside code that stops servers on purpose.
        """
        async with asyncio.TaskGroup() as group:
            if self.nats is not None:
                group.create_task(keep_nats(self.nats), name="keep-nats")
            if self.postgres is not None:
                group.create_task(keep_postgres(self.postgres), name="keep-postgres")


class Owned:
    """The servers of a folder that this process owns. Open and close from one thread at a time."""

    def __init__(self, folder: Folder, settings: Settings) -> None:
        self._folder = folder
        self._settings = settings
        self._closing = ExitStack()

    def open(self) -> Servers:
        """Start what the settings want embedded, both servers at once, and let others find them. Leaves nothing running when it raises."""
        try:
            self._closing.callback(self._folder.release)
            servers = self._start()
            self._folder.announce(self._addresses(servers))
        except BaseException:
            self._closing.close()
            raise
        return servers

    def close(self) -> None:
        """Stop the servers, then give the folder free."""
        self._closing.close()

    def _start(self) -> Servers:
        settings, folder = self._settings, self._folder
        self._require_room()
        strict = settings.durability == "strict"
        nats = postgres = None
        if settings.embedded_nats:
            browsers = Browsers.at(settings.websocket, folder.secret("browsers")) if settings.websocket else None
            password = folder.secret("nats")
            nats = NatsServer(folder.path / "nats", password=password, strict=strict, program=settings.nats_server, browsers=browsers)
        if settings.embedded_postgres:
            secrets = {role: folder.secret(role) for role in (ADMIN, OWNER, READER, GATEWAY)}
            postgres = PostgresServer(folder.path / "postgres", secret=secrets.__getitem__, strict=strict)
        wanted = [server for server in (nats, postgres) if server is not None]
        for server in wanted:
            self._closing.callback(server.stop)
        with ThreadPoolExecutor(len(wanted) or 1) as pool:
            started: list[Future[None]] = [pool.submit(server.start) for server in wanted]
        for future in started:
            future.result()
        return Servers(
            nats_url=nats.url if nats else _given(settings.nats_url),
            nats_monitor_url=nats.monitor_url if nats else settings.nats_monitor_url,
            postgres_dsn=postgres.dsn if postgres else _given(settings.postgres_dsn),
            reader_dsn=postgres.reader_dsn if postgres else _given(settings.reader_dsn or settings.postgres_dsn),
            gateway_dsn=postgres.gateway_dsn if postgres else _given(settings.reader_dsn or settings.postgres_dsn),
            nats=nats,
            postgres=postgres,
        )

    def _require_room(self) -> None:
        """Before anything is half started."""
        wanted = [name for name, ours in (("nats", self._settings.embedded_nats), ("postgres", self._settings.embedded_postgres)) if ours]
        room.require(self._folder.path, fresh=any(not (self._folder.path / name).exists() for name in wanted))

    def _addresses(self, servers: Servers) -> Addresses:
        me = Identity.of(os.getpid())
        return Addresses(
            pid=os.getpid(),
            born=me.born if me else "",
            durability=self._settings.durability,
            nats_url=servers.nats_url if servers.nats else None,
            nats_monitor_url=servers.nats_monitor_url if servers.nats else None,
            postgres_dsn=servers.postgres_dsn if servers.postgres else None,
            reader_dsn=servers.reader_dsn if servers.postgres else None,
            gateway_dsn=servers.gateway_dsn if servers.postgres else None,
        )


@asynccontextmanager
async def embedded(settings: Settings, *, own: bool = False) -> AsyncIterator[Servers]:
    """The servers that the settings name; those they do not name are run from packages in the data folder.

    Whoever comes first owns the folder: starts the servers, and stops them on leaving. Everybody else finds and uses the owner's servers,
    which end with the owner. With `own`, being second is an error: `FolderInUse` names the owner and the folder. Also `ServerFailed`.
    """
    if not settings.embedded_nats and not settings.embedded_postgres:
        yield _outside(settings)
        return
    opened = await in_thread(lambda: _open(settings, own), undo=lambda pair: pair[1].close() if pair[1] else None)
    servers, owned = opened
    try:
        yield servers
    finally:
        if owned is not None:
            await in_thread(owned.close)


def _open(settings: Settings, own: bool) -> tuple[Servers, Owned | None]:
    folder = Folder(settings.data)
    while not folder.acquire():
        if own:
            raise folder.refuse()
        addresses = folder.find()
        if addresses is not None:
            return _found(folder.path, settings, addresses), None
    owned = Owned(folder, settings)
    return owned.open(), owned


def _outside(settings: Settings) -> Servers:
    return Servers(
        nats_url=_given(settings.nats_url),
        nats_monitor_url=settings.nats_monitor_url,
        postgres_dsn=_given(settings.postgres_dsn),
        reader_dsn=_given(settings.reader_dsn or settings.postgres_dsn),
        gateway_dsn=_given(settings.reader_dsn or settings.postgres_dsn),
    )


def _found(folder: Path, settings: Settings, addresses: Addresses) -> Servers:
    lacking = [
        name
        for name, wanted, there in (
            ("NATS", settings.embedded_nats, addresses.nats_url),
            ("Postgres", settings.embedded_postgres, addresses.postgres_dsn),
        )
        if wanted and there is None
    ]
    if lacking:
        raise Misuse(
            f"process {addresses.pid} owns the data folder {folder} and runs no embedded {' or '.join(lacking)} there: "
            "give this command the same --nats and --postgres",
            folder=str(folder),
            pid=addresses.pid,
        )
    return Servers(
        nats_url=settings.nats_url or _given(addresses.nats_url),
        nats_monitor_url=settings.nats_monitor_url if settings.nats_url else addresses.nats_monitor_url,
        postgres_dsn=settings.postgres_dsn or _given(addresses.postgres_dsn),
        reader_dsn=settings.reader_dsn or settings.postgres_dsn or _given(addresses.reader_dsn),
        gateway_dsn=settings.reader_dsn or settings.postgres_dsn or _given(addresses.gateway_dsn or addresses.reader_dsn),
    )


def _given(value: str | None) -> str:
    assert value is not None, "the caller has looked"
    return value
