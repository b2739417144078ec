"""The embedded servers of one data folder: started by whoever comes first, found by everybody else."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bus.errors import BadSettings, Misuse
from worldbus.embedded.blocking import in_thread
from worldbus.embedded.folder import Addresses, Folder, no_world
from worldbus.embedded.process import Identity
from worldbus.settings import Settings

if TYPE_CHECKING:
    from worldbus.embedded.nats import NatsServer
    from worldbus.embedded.postgres import PostgresServer


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """The addresses of the log and the tables. `nats` and `postgres` are set when this process started them.

    `gateway_dsn` is the embedded Postgres as the gateway's role; of a given one, what `reader_dsn` names.
    """

    nats_url: str = field(repr=False)
    nats_monitor_url: str | None
    postgres_dsn: str = field(repr=False)
    reader_dsn: str = field(repr=False)
    gateway_dsn: str = field(repr=False)
    nats: NatsServer | None = field(default=None, repr=False)
    postgres: PostgresServer | None = field(default=None, repr=False)
    made: Path | None = None
    """The data folder, if there was no world in it before."""

    async def keep_alive(self) -> None:
        """Start a server again that ended by itself; raises `ServerFailed` when nats-server keeps ending. Runs until cancelled.

        Not for use beside code that stops servers on purpose.
        """
        from worldbus.embedded.keeping import keep_nats, keep_postgres

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
        except OSError as error:  # a disk that is full or read-only, a folder of another user
            self._closing.close()
            raise self._folder.unusable(error) from error
        except BaseException:
            self._closing.close()
            raise
        return servers

    def close(self) -> None:
        """Stop the servers, then give the folder free."""
        self._closing.close()

    def _start(self) -> Servers:
        from worldbus.embedded.nats import NatsServer
        from worldbus.embedded.postgres import ADMIN, GATEWAY, OWNER, READER, PostgresServer
        from worldbus.embedded.websocket import Browsers

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
            made=folder.path if folder.made else None,
        )

    def _require_room(self) -> None:
        """Before anything is half started."""
        from worldbus.embedded import room

        wanted = [name for name, ours in (("nats", self._settings.embedded_nats), ("postgres", self._settings.embedded_postgres)) if ours]
        room.require(self._folder.path, fresh=any(not (self._folder.path / name).exists() for name in wanted))

    def _addresses(self, servers: Servers) -> Addresses:
        me = Identity.of(os.getpid())
        return Addresses(
            pid=os.getpid(),
            born=me.born if me else "",
            durability=self._settings.durability,
            world=self._settings.world,
            nats_url=servers.nats_url if servers.nats else None,
            nats_monitor_url=servers.nats_monitor_url if servers.nats else None,
            websocket_url=servers.nats.browsers.url if servers.nats and servers.nats.browsers else None,
            postgres_dsn=servers.postgres_dsn if servers.postgres else None,
            reader_dsn=servers.reader_dsn if servers.postgres else None,
            gateway_dsn=servers.gateway_dsn if servers.postgres else None,
        )


def followed(settings: Settings) -> Settings:
    """The settings, where nothing else was given, of the `up` that runs on the data folder: its world and its durability.

    An address of the folder's own server, as `worldbus env` prints it, means that server: on whatever port it runs now, or to be started.
    """
    try:
        folder = Folder(settings.data, create=False)
    except Misuse:
        return settings  # whoever opens the servers says what is wrong with it
    nats_url = None if folder.owns(settings.nats_url) else settings.nats_url
    settings = replace(settings, nats_url=nats_url, nats_monitor_url=settings.nats_monitor_url if nats_url else None)
    if settings.embedded_postgres and settings.reader_dsn is not None:
        if not folder.owns(settings.reader_dsn):
            raise BadSettings(f"reader_dsn names another Postgres than that of {folder.path}: give --postgres with it, or leave it out")
        settings = replace(settings, reader_dsn=None)
    running = folder.running() if settings.embedded_nats else None
    if running is None:
        return settings
    return replace(
        settings,
        durability=settings.durability if "durability" in settings.given or running.durability != "relaxed" else "relaxed",
        world=settings.world if "world" in settings.given else running.world,
    )


@asynccontextmanager
async def embedded(settings: Settings, *, own: bool = False, create: bool = True) -> AsyncIterator[Servers]:
    """The servers that the settings name; those they do not name are run from packages in the data folder.

    Whoever comes first owns the folder: starts the servers, and stops them on leaving. Everybody else finds and uses the owner's servers,
    which end with the owner. With `own`, being second is an error: `FolderInUse` names the owner and the folder. Without `create` nothing
    is made that is not there: `NoWorld` names worlds that run. Also `ServerFailed`.
    """
    if not settings.embedded_nats and not settings.embedded_postgres:
        yield _outside(settings)
        return
    opened = await in_thread(lambda: _open(settings, own, create), undo=lambda pair: pair[1].close() if pair[1] else None)
    servers, owned = opened
    try:
        yield servers
    finally:
        if owned is not None:
            await in_thread(owned.close)


def _open(settings: Settings, own: bool, create: bool) -> tuple[Servers, Owned | None]:
    folder = Folder(settings.data, create=create)
    while not folder.acquire():
        if own:
            raise folder.refuse()
        addresses = folder.find()
        if addresses is not None:
            return _found(folder.path, settings, addresses), None
    owned = Owned(folder, settings)
    if not create and (lacking := _lacking(folder.path, settings)):
        folder.release()
        raise no_world(folder.path, lacking)
    return owned.open(), owned


def _lacking(folder: Path, settings: Settings) -> str:
    """The part of a world that ran that this folder lacks, in words; empty if all is there."""
    if settings.embedded_nats and not (folder / "nats" / "store").exists():
        return "there is no log in it yet"
    if settings.embedded_postgres and not (folder / "postgres" / "data").exists():
        return "there are no tables in it yet: nobody has run `worldbus up` on it"
    return ""


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
