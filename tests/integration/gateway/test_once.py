"""Ids of one's own without a gateway: recorded once, with an archive that has them, one that lags, and none at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bus.connection import Connection
from bus.errors import IdReused
from bus.event import Draft
from bus.log import Log
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerJoined
from tests.integration.gateway.conftest import archived, recorded
from tests.streams import forget_ids
from worldbus.embedded import NatsServer
from worldbus.once import Once, Placed, open_once
from worldbus.opening import open_world
from worldbus.settings import Settings


@asynccontextmanager
async def once(nats: NatsServer, dsn: str, folder: Path) -> AsyncIterator[Once]:
    """As another process would open it."""
    settings = Settings(nats_url=nats.url, postgres_dsn=dsn or None, durability="relaxed", data=folder, world="main")
    async with open_world(settings, name="once", postgres=bool(dsn)) as world, open_once(world) as opened:
        yield opened


def joined(id: str, *, entity: str = "mira", zone: str = "quay") -> Draft:
    """With the time of our clock: another one each time."""
    return Draft(data=PlayerJoined(zone=zone), world="main", entity=entity, id=id)


async def place(door: Once, *drafts: Draft) -> list[Placed | BaseException]:
    own = {draft.id for draft in drafts}
    return await asyncio.gather(*await door.submit(drafts, own=own), return_exceptions=True)


@pytest.mark.parametrize("archive", ["all of it", "some of it", "none"])
async def test_an_id_is_recorded_once_whatever_the_archive_has(
    nats_server: NatsServer, fresh_database: str, connection: Connection, log: Log, tmp_path: Path, archive: str
) -> None:
    dsn = "" if archive == "none" else fresh_database
    async with once(nats_server, dsn, tmp_path) as door:
        first = await place(door, joined("e1"), joined("e2", entity="oto"))
    if archive != "none":
        async with archived(dsn, log) as caught_up:
            await caught_up()
    async with once(nats_server, dsn, tmp_path) as door:
        first += await place(door, joined("e3"))
        if archive == "all of it":
            async with archived(dsn, log) as caught_up:
                await caught_up()
    await forget_ids(connection)

    async with once(nats_server, dsn, tmp_path) as door:
        again = await place(door, joined("e1"), joined("e2", entity="oto"), joined("e3"), joined("e4"), joined("e4"))
        await forget_ids(connection)
        other = await place(door, joined("e1", zone="moor"), joined("e3", entity="oto"), joined("e4", zone="moor"), joined("e4"))

    assert first == [Placed(1, False), Placed(2, False), Placed(3, False)]
    assert again[:4] == [Placed(1, True), Placed(2, True), Placed(3, True), Placed(4, False)]
    assert [one.position for one in again[3:] if isinstance(one, Placed)] == [4, 4]
    assert [type(one) for one in other] == [IdReused, IdReused, IdReused, Placed]
    assert [str(one).partition(" is taken by the event at position ")[2][:1] for one in other[:3]] == ["1", "3", "4"]
    assert len(await recorded(log)) == 4


async def test_more_ids_than_are_remembered_are_found_in_their_lanes(
    nats_server: NatsServer, connection: Connection, log: Log, tmp_path: Path
) -> None:
    async with once(nats_server, "", tmp_path) as door:
        first = await place(door, *(joined(f"e{number}", entity=f"p{number % 3}") for number in range(30)))
    await forget_ids(connection)

    async with once(nats_server, "", tmp_path) as door:
        door._feed.forget(20)
        again = await place(door, *(joined(f"e{number}", entity=f"p{number % 3}") for number in range(31)))

    assert [one.position for one in again[:30] if isinstance(one, Placed)] == [one.position for one in first if isinstance(one, Placed)]
    assert len(await recorded(log)) == 31
