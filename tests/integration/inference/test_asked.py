"""An id that was another request's changes nothing, however long ago that was; the same request is never taken for another one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest_asyncio

from bus.connection import Connection
from bus.event import Draft
from bus.log import Log
from bus.publisher import Publisher
from inference import asked
from inference.asked import Asked
from inference.delivery import hear
from inference.engines.timed import Pace
from inference.settings import WorkerSettings
from inference.worker import run_worker
from tests.engines import GrammarEngine, TimedEngine
from tests.integration.inference.conftest import LADDERS, WORLD, Game, Until


async def before(memory: Asked, world: str, request_id: str, position: int) -> bool:
    found: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    memory.look(world, request_id, position, found.set_result)
    return await found


@pytest_asyncio.fixture
async def memory(connection: Connection) -> AsyncIterator[Asked]:
    opened = Asked(connection)
    await opened.open()
    yield opened
    await opened.aclose()


async def test_an_id_is_known_from_its_end_on_to_others_and_never_to_itself(memory: Asked, connection: Connection) -> None:
    assert not await before(memory, "w", "r1", 7)
    await memory.mark("w", "r1", 7)
    await memory.mark("w", "r1", 9)  # the first one counts

    later = Asked(connection)
    await later.open()
    assert [await before(later, "w", "r1", position) for position in (7, 9)] == [False, True]
    assert not await before(later, "v", "r1", 9)
    assert not await before(later, "w", "r2", 9)
    await later.aclose()


async def test_writers_of_one_bucket_do_not_lose_each_others_ids(connection: Connection, monkeypatch: Any) -> None:
    monkeypatch.setattr(asked, "BITS", 1)
    writers = [Asked(connection) for _ in range(3)]
    for writer in writers:
        await writer.open()
    for start in range(0, 30, 3):
        await asyncio.gather(*(writer.mark("w", f"r{start + number}", start + number + 1) for number, writer in enumerate(writers)))

    assert all(await asyncio.gather(*(before(writers[0], "w", f"r{number}", 99) for number in range(30))))
    assert not any(await asyncio.gather(*(before(writers[0], "w", f"x{number}", 99) for number in range(30))))
    for writer in writers:
        await writer.aclose()


async def test_asking_again_by_another_event_long_afterwards_changes_nothing(
    game: Game, connection: Connection, log: Log, publisher: Publisher, until: Until
) -> None:
    """The worker is another one, and the log's memory of ids, of two minutes, is got around by asking about another entity's lane."""
    grammar, first = GrammarEngine(), TimedEngine(Pace(first=0.001, per_token=0.001))
    parts = connection, log, publisher, LADDERS
    async with grammar.open():
        async with run_worker(*parts, WorkerSettings(tier="gold", name="w1"), engine=first, grammar=grammar) as worker:
            await until(lambda: worker.up)
            request = await game.ask(request_id="again", max_tokens=10)
            first_end = cast(Any, (await game.ends(1))["again"].data)
            await until(lambda: not worker.held)
        await connection.api("STREAM.PURGE.SPEECH")  # minutes have passed

        second = TimedEngine(Pace(first=0.02, per_token=0.001))
        async with run_worker(*parts, WorkerSettings(tier="gold", name="w2"), engine=second, grammar=grammar) as worker:
            await until(lambda: worker.up)
            for entity in ("mira", "somebody-else"):
                await publisher.publish(Draft(data=request, world=WORLD, entity=entity, subsystem="npc"))
            await until(lambda: worker.metrics.counts["asked_before"] == 2)
            other = await game.ask(request_id="new", max_tokens=10)
            chunks = [chunk.text async for chunk in hear(connection, WORLD, other.request_id)]
            ends = await game.ends(2)
            await until(lambda: not worker.held)

    repeated = await game.said("InferenceRequestRepeated")
    assert [cast(Any, event.data).request_id for event in repeated] == ["again", "again"]
    assert {event.entity for event in repeated} == {"mira", "somebody-else"}
    assert "".join(chunks) == cast(Any, ends["new"].data).text
    assert set(ends) == {"again", "new"}
    assert cast(Any, ends["again"].data).text == first_end.text
    assert [cast(Any, event.data).request_id for event in await game.said("InferenceStarted")] == ["again", "new"]
