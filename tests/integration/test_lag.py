"""What is behind is what has no answer: by the word of who holds a partition, which the server hears a second later."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from bus import session
from bus.event import Draft, Event
from bus.runtime import run_handlers
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerJoined
from tests.duskmarket import player
from worldbus.lag import consumers, measure, seconds
from worldbus.opening import World, open_world
from worldbus.settings import Settings


@pytest.fixture
async def world(data_folder: Path) -> AsyncIterator[World]:
    """Servers of their own, in which nothing runs."""
    async with open_world(Settings(data=data_folder, durability="relaxed"), own=True) as world:
        yield world


async def join(world: World, entity: str = "mira") -> int:
    """The position of a player who comes in."""
    draft = Draft(data=PlayerJoined(display_name="Mira", zone="quay"), world="main", entity=entity, subsystem="game")
    return await world.publisher.publish(draft)


async def acknowledged(world: World, event: Event) -> bool:
    """Whether the server knows of anything in the event's partition that it has delivered and that is not settled."""
    info = await world.connection.api(f"CONSUMER.INFO.{world.log.name}.{player.name}_{event.partition}")
    return not info["num_ack_pending"]


async def test_an_answered_input_that_is_not_acknowledged_yet_is_not_behind(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "ACK_SOON_S", 3600.0)
    monkeypatch.setattr(session, "ACK_EVERY_S", 3600.0)
    position = await join(world)
    event = await world.log.get(position)
    async with run_handlers(world.connection, world.log, [player]):
        async with asyncio.timeout(60):
            while True:  # everybody who asks how far the handlers are: `lag`, `check`, benchmarks, the demo
                found = next(one for one in await consumers(world.log, [player]) if one.partition == event.partition)
                if found.exists and found.held_by and not found.behind:
                    break
                await asyncio.sleep(0.05)
        measured = next(one for one in (await measure(world.log, "", [player])).handlers if one.partition == event.partition)
        assert not await acknowledged(world, event), "the server has heard of the answers: the test shows nothing"

    assert measured.behind == 0
    assert found.settled >= position
    assert found.held_by.endswith(f":{os.getpid()}")


async def test_a_holder_that_the_server_has_unpinned_is_not_believed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have stood still while another member took over, and have found nothing to say by what it knew before."""
    monkeypatch.setattr(session, "ACK_SOON_S", 3600.0)
    monkeypatch.setattr(session, "ACK_EVERY_S", 3600.0)
    event = await world.log.get(await join(world))
    hold = session.Session.hold
    async with run_handlers(world.connection, world.log, [player]):
        async with asyncio.timeout(60):
            while not all(one.done for one in await consumers(world.log, [player])):
                await asyncio.sleep(0.05)
        monkeypatch.setattr(session.Session, "hold", lambda self: msgspec.structs.replace(hold(self), pin="of a former time"))
        found = next(one for one in await consumers(world.log, [player]) if one.partition == event.partition)
        assert not await acknowledged(world, event), "the server has heard of the answers: the test shows nothing"

    assert found.behind > 0
    assert found.oldest_ms == event.recorded_ns // 1_000_000


async def test_what_nobody_holds_is_behind_for_as_long_as_it_is_in_the_log(world: World) -> None:
    async with run_handlers(world.connection, world.log, [player]):
        await join(world)
        while not all(one.done for one in await consumers(world.log, [player])):
            await asyncio.sleep(0.05)
    first = await join(world, "tam")
    recorded_ms = (await world.log.get(first)).recorded_ns // 1_000_000
    await join(world, "tam")

    lag = await measure(world.log, "", [player])

    (late,) = [one for one in lag.handlers if one.behind]
    assert (late.waiting, late.open, late.oldest_ms) == (2, 0, recorded_ms)
    assert late.age_s(lag.now_ms) == seconds(recorded_ms, lag.now_ms)
    assert lag.tables.problem


async def test_an_idle_place_has_no_age_and_one_that_never_was_none_that_is_known(world: World) -> None:
    never = await consumers(world.log, [player])
    assert {(one.exists, one.ran, one.age_s(10**15), one.done) for one in never} == {(False, False, None, False)}
    async with run_handlers(world.connection, world.log, [player]):
        while not all(one.exists for one in await consumers(world.log, [player])):
            await asyncio.sleep(0.05)

    lag = await measure(world.log, "", [player])

    assert {one.age_s(lag.now_ms) for one in lag.handlers} == {0.0}


async def test_a_deleted_consumer_ran_once(world: World) -> None:
    async with run_handlers(world.connection, world.log, [player]):
        position = await join(world)
        partition = (await world.log.get(position)).partition
        while True:
            found = next(one for one in await consumers(world.log, [player]) if one.partition == partition)
            if found.exists and found.settled >= position:
                break
            await asyncio.sleep(0.05)
    await world.connection.api(f"CONSUMER.DELETE.{world.log.name}.player_{partition}")

    gone = next(one for one in await consumers(world.log, [player]) if one.partition == partition)

    assert (gone.exists, gone.ran) == (False, True)
