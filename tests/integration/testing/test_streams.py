"""A server without streams between two tests, whatever the one before left."""

from __future__ import annotations

from pathlib import Path

import pytest

from bus.connection import connect
from bus.log import open_log
from worldbus.embedded import NatsServer
from worldbus.testing.servers import delete_streams


def folders(server: NatsServer) -> list[Path]:
    return list(server.store.glob("jetstream/*/streams/*"))


async def test_every_stream_and_its_folder_are_gone(nats_server: NatsServer) -> None:
    async with connect(nats_server.url, name="test") as connection:
        await (await open_log(connection)).aclose()
        assert folders(nats_server)

        await delete_streams(connection, nats_server)

        assert not (await connection.api("STREAM.NAMES"))["streams"]
        assert folders(nats_server) == []


async def test_a_folder_of_which_the_server_knows_no_stream_is_removed(nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worldbus.testing.servers.LEFT_BEHIND_S", 0.2)
    async with connect(nats_server.url, name="test") as connection:
        await (await open_log(connection)).aclose()
        beside = folders(nats_server)[0].with_name("FORGOTTEN")
        (beside / "msgs").mkdir(parents=True)

        await delete_streams(connection, nats_server)

        assert folders(nats_server) == []
        log = await open_log(connection)
        assert (await log.state()).count == 0
        await log.aclose()
