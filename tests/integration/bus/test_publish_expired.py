"""Answers about a publish stay true afterwards.

Found by `bench chaos` (seed 9): writes that waited for their turn while the server stood still were reported as never sent, and sent all
the same once it went on.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from bus.connection import connect
from bus.errors import Disconnected, Unknown
from bus.event import Draft
from bus.group_commit import SINGLES
from bus.log import open_log
from bus.publisher import Publisher
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerMoved
from tests.pausing import pause
from worldbus.embedded import NatsServer


@pytest.fixture
def strict_nats(data_folder: Path) -> Iterator[NatsServer]:
    """A server of this test's own: it is paused."""
    server = NatsServer(data_folder / "nats", password="only-for-tests", strict=True)
    server.start()
    yield server
    server.stop()


async def _published(publisher: Publisher, draft: Draft) -> int:
    """Behind all that this publisher sent before, however long a busy disk takes."""
    while True:
        with suppress(Unknown, Disconnected):
            return await publisher.publish(draft)


@pytest.mark.parametrize("number", [12, 60])  # of what waits, few go on one by one, and many together
async def test_what_was_reported_as_not_sent_is_not_sent_later(strict_nats: NatsServer, number: int) -> None:
    async with connect(strict_nats.url, name="test") as connection:
        log = await open_log(connection)
        publisher = Publisher(connection, log, "strict", deadline=0.6)
        await publisher.open()
        drafts = [Draft(data=PlayerMoved(zone="z"), world="w", entity=f"e{n}", id=f"id-{n}") for n in range(number)]
        pause(strict_nats.pid)
        first = [publisher.submit(draft) for draft in drafts[:SINGLES]]
        await asyncio.sleep(0.05)  # these are under way; the others wait for their turn
        told = await asyncio.gather(*first, *(publisher.publish(draft) for draft in drafts[SINGLES:]), return_exceptions=True)
        strict_nats.signal(signal.SIGCONT)
        last = await _published(publisher, Draft(data=PlayerMoved(zone="z"), world="w", entity="after", id="after"))
        there = {event.id async for batch in log.read(until=last) for event in batch}
        await publisher.aclose()
        await log.aclose()

    assert {type(error) for error in told} == {Unknown, Disconnected}
    assert [draft.id for draft, error in zip(drafts, told, strict=True) if isinstance(error, Disconnected) and draft.id in there] == []
