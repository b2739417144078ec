"""One owner per folder; everybody else finds the owner's servers; nobody's death leaves one behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import asyncpg
import nats
import pytest

from bus.errors import FolderInUse, Misuse
from worldbus.embedded import Servers, embedded
from worldbus.embedded.folder import Folder
from worldbus.embedded.process import Identity
from worldbus.settings import Settings

OWNER = """
import asyncio, signal, sys
from pathlib import Path
from worldbus.embedded import embedded
from worldbus.settings import Settings

async def main():
    async with embedded(Settings(data=Path(sys.argv[1]), durability="relaxed"), own=True) as servers:
        print(servers.nats.pid, servers.postgres.pid, flush=True)
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        await stop.wait()

asyncio.run(main())
"""


def _settings(folder: Path) -> Settings:
    return Settings(data=folder, durability="relaxed")


async def _usable(servers: Servers) -> bool:
    client = await nats.connect(servers.nats_url)
    await client.close()
    connection = await asyncpg.connect(servers.postgres_dsn)
    answer = await connection.fetchval("SELECT 1")
    await connection.close()
    return bool(answer == 1)


class _Owner:
    """Another process that owns the folder."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", OWNER, str(folder)], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        identities = [Identity.of(int(pid)) for pid in self.process.stdout.readline().split()]
        self.servers = [identity for identity in identities if identity is not None]

    async def end(self, number: signal.Signals) -> None:
        self.process.send_signal(number)
        await asyncio.to_thread(self.process.wait)
        assert self.process.stdout is not None
        self.process.stdout.close()


async def test_the_first_starts_servers_and_leaves_none(data_folder: Path) -> None:
    async with embedded(_settings(data_folder)) as servers:
        assert servers.nats is not None
        assert servers.postgres is not None
        started = [Identity.of(server.pid or 0) for server in (servers.nats, servers.postgres)]
        assert await _usable(servers)

    assert [None, None] == [Identity.of(identity.pid) for identity in started if identity is not None]
    assert not (data_folder / "servers.json").exists()


async def test_the_second_uses_the_servers_of_the_first(data_folder: Path) -> None:
    owner = _Owner(data_folder)
    try:
        async with embedded(_settings(data_folder)) as servers:
            assert servers.nats is None
            assert servers.postgres is None
            assert await _usable(servers)
        assert all(server.alive for server in owner.servers)
    finally:
        await owner.end(signal.SIGTERM)

    assert [False, False] == [server.alive for server in owner.servers]


async def test_many_at_once_agree_on_one_owner(data_folder: Path) -> None:
    everybody = asyncio.Barrier(4)

    async def command() -> bool:
        async with embedded(_settings(data_folder)) as servers:
            assert await _usable(servers)
            await everybody.wait()  # the owner stays until all have used its servers
            return servers.nats is not None

    owners = await asyncio.gather(*(command() for _ in range(4)))

    assert sum(owners) == 1


async def test_a_second_owner_is_refused_by_name(data_folder: Path) -> None:
    async with embedded(_settings(data_folder), own=True):
        with pytest.raises(FolderInUse, match=rf"{data_folder} is in use by process {os.getpid()}\b"):
            async with embedded(_settings(data_folder), own=True):
                pass


@pytest.mark.parametrize("paused", [False, True], ids=["running", "paused"])
async def test_a_killed_owner_takes_its_servers_along_and_the_folder_is_free(data_folder: Path, paused: bool) -> None:
    """Paused servers cannot end by themselves: the next owner sees to it."""
    owner = _Owner(data_folder)
    for server in owner.servers if paused else ():
        os.kill(server.pid, signal.SIGSTOP)
    await owner.end(signal.SIGKILL)

    async with embedded(_settings(data_folder), own=True) as servers:
        assert await _usable(servers)
        assert [False, False] == [server.alive for server in owner.servers]


async def test_cancelling_the_start_leaves_no_server(data_folder: Path) -> None:
    async def start() -> None:
        async with embedded(_settings(data_folder)):
            raise AssertionError("wanted to be cancelled while starting")

    task = asyncio.create_task(start())
    while not (data_folder / "nats" / "nats-server.pid").exists():
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    async with embedded(_settings(data_folder), own=True) as servers:
        assert await _usable(servers)


async def test_a_server_that_died_is_started_again_with_its_data(data_folder: Path) -> None:
    async with embedded(_settings(data_folder)) as servers:
        assert servers.postgres is not None
        assert servers.nats is not None
        keeper = asyncio.create_task(servers.keep_alive())
        for server in (servers.nats, servers.postgres):
            before = server.pid
            assert before is not None
            os.kill(before, signal.SIGKILL)
            while server.pid in (None, before):
                await asyncio.sleep(0.01)
        # `start` returns when a server can be used; its pid is there a moment sooner.
        while not await _answers(servers):
            await asyncio.sleep(0.01)
        keeper.cancel()


async def _answers(servers: Servers) -> bool:
    try:
        return await _usable(servers)
    except (OSError, asyncpg.PostgresError, nats.errors.Error):
        return False


async def test_only_what_the_settings_leave_open_is_embedded(data_folder: Path) -> None:
    settings = Settings(data=data_folder, durability="relaxed", postgres_dsn="postgresql://elsewhere/db")
    async with embedded(settings) as servers:
        assert servers.postgres is None
        assert servers.postgres_dsn == servers.reader_dsn == "postgresql://elsewhere/db"

        with pytest.raises(Misuse, match=r"runs no embedded Postgres there: give this command the same --nats and --postgres"):
            async with embedded(_settings(data_folder)):
                pass


def test_a_folder_with_somebody_elses_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    mode = tmp_path.stat().st_mode

    with pytest.raises(Misuse, match=r"found 'precious.txt' in it; choose another with --data"):
        Folder(tmp_path)

    assert ["precious.txt"] == os.listdir(tmp_path)
    assert mode == tmp_path.stat().st_mode


def test_a_volume_of_its_own_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()

    assert Folder(tmp_path).acquire()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(Misuse, match=r"file/inner: wanted a folder of our own"):
        Folder(tmp_path / "file" / "inner")


async def test_secrets_are_for_the_owner_of_the_folder_alone(data_folder: Path) -> None:
    async with embedded(_settings(data_folder)) as servers:
        private = [data_folder / name for name in ("secrets.json", "servers.json", "worldbus.lock", "nats/nats.conf", "nats", "postgres")]

        assert [] == [path.name for path in private if path.stat().st_mode & 0o077]
        assert "password" not in repr(servers)
        assert ":" not in repr(servers).replace("http://127.0.0.1:", "")
