"""Real servers for tests, from packages, in folders of their own; `relaxed`, because most tests are not about power cuts.

Each is a context manager. `worldbus.pytest_plugin` makes fixtures of them; other frameworks can use them as they are.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import asyncpg

from bus.connection import ApiError, connect
from migrations import migrate
from worldbus.embedded import NatsServer, PostgresServer
from worldbus.embedded.postgres import ADMIN, GATEWAY, OWNER, READER
from worldbus.settings import Settings

if TYPE_CHECKING:
    from bus.connection import Connection

PASSWORDS: Final = {role: f"only-for-tests-{role}" for role in (ADMIN, OWNER, READER, GATEWAY)}
LEFT_BEHIND_S: Final = 10.0
"""Time after which the folder of a stream that is deleted counts as forgotten by the server."""
EMPTY: Final = "template1"  # pgvector and the roles, no tables


@contextmanager
def servers_folder(prefix: str = "wb-test-") -> Iterator[Path]:
    """A folder with a short path (sockets have a limit), passable for the user that Postgres runs as; removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    folder.chmod(0o711 if os.geteuid() == 0 else 0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def running_nats(folder: Path) -> Iterator[NatsServer]:
    """A nats-server whose log lives in `folder`. Whoever stops it starts it again."""
    server = NatsServer(folder, password="only-for-tests", strict=False)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def running_postgres(folder: Path) -> Iterator[PostgresServer]:
    """A Postgres with the `worldbus` database and its roles. Whoever stops it starts it again."""
    server = PostgresServer(folder, secret=PASSWORDS.__getitem__, strict=False)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def fresh_database(server: PostgresServer, *, template: str = EMPTY) -> Iterator[str]:
    """The owner's address of a new database, dropped at the end. `as_reader` makes the reader's of it.

    Not for use inside a running event loop.
    """
    name = f"t_{uuid.uuid4().hex[:16]}"
    as_admin(server, f"CREATE DATABASE {name} TEMPLATE {template} OWNER {OWNER} STRATEGY file_copy")
    try:
        as_admin(server, f"GRANT CONNECT ON DATABASE {name} TO {READER}, {GATEWAY}")
        yield server.address(OWNER, name)
    finally:
        as_admin(server, f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def migrated_template(server: PostgresServer) -> Iterator[str]:
    """The name of a database with every migration applied, to be copied by `fresh_database`: quicker than migrating each."""
    with fresh_database(server) as dsn:
        migrate(dsn)
        yield dsn.partition("?")[0].rpartition("/")[2]


def as_admin(server: PostgresServer, statement: str) -> None:
    """Run one statement as the superuser, outside of any database of a test. Not for use inside a running event loop."""

    async def execute() -> None:
        connection = await asyncpg.connect(server.address(database="postgres"))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(execute())


def as_reader(dsn: str) -> str:
    """The read-only role's address of a database, given the owner's."""
    owner = f"{OWNER}:{PASSWORDS[OWNER]}@"
    assert owner in dsn
    return dsn.replace(owner, f"{READER}:{PASSWORDS[READER]}@")


def settings_of(nats: NatsServer, dsn: str, folder: Path) -> Settings:
    """The settings of a world on these servers, durability relaxed. `folder` is where embedded servers would be, if any were asked for."""
    return Settings.read(
        {},
        nats_url=nats.url,
        nats_monitor_url=nats.monitor_url,
        postgres_dsn=dsn,
        reader_dsn=as_reader(dsn),
        data=folder,
        durability="relaxed",
    )


def without_streams(server: NatsServer) -> None:
    """Delete every stream, the log included. Not for use inside a running event loop."""

    async def delete() -> None:
        async with connect(server.url, name="tests") as connection:
            await delete_streams(connection, server)

    asyncio.run(delete())


async def delete_streams(connection: Connection, server: NatsServer) -> None:
    """All of them.

    nats-server 2.15.1 moves a deleted stream's folder aside and removes it afterwards. Where that of an earlier stream of the name is still
    there, it deletes nothing, says that it did, and the messages are in the next stream of that name; and one that is made while the folder
    is being moved is refused. So this waits until no folder is there. A stream that somebody makes meanwhile is deleted too, and a folder
    that stays behind although the server knows of no stream is removed here.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + LEFT_BEHIND_S
    while True:
        known = (await connection.api("STREAM.NAMES"))["streams"] or ()
        for stream in known:
            with suppress(ApiError):
                await connection.api(f"STREAM.DELETE.{stream}")
        folders = list(server.store.glob("jetstream/*/streams/*"))
        if not folders and not known:
            return
        if not known and loop.time() > until:
            for folder in folders:
                shutil.rmtree(folder, ignore_errors=True)  # the server may be about to do so after all
        await asyncio.sleep(0.005)
