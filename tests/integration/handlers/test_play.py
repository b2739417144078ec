"""Quests, scenes and stories on a real server: one process after the other, each taking over where the last one stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from google.protobuf.message import Message

from bus.connection import connect
from bus.event import Draft, Event
from bus.log import Log, open_log
from bus.publisher import Publisher, open_publisher
from bus.runtime import run_handlers
from schemas.gen.worldbus.game.v1.game_pb2 import CreatureSlain, ObjectExamined, PartyFormed, PlayerSpoke
from schemas.gen.worldbus.narrative.v1.narrative_pb2 import SceneDiscovered, SceneRewarded
from schemas.gen.worldbus.quest.v1.quest_pb2 import (
    QuestAcceptRequested,
    QuestPartyGathered,
    QuestProgressed,
    QuestRewarded,
    SharedQuestFollowed,
)
from schemas.gen.worldbus.storyteller.v1.storyteller_pb2 import StoryArcBegan
from tests.duskmarket import narrative, quest, storyteller
from worldbus.embedded import NatsServer

WORLD = "play-test"
HANDLERS = (quest, narrative, storyteller)


@pytest.fixture
def own_nats(data_folder: Path) -> Iterator[NatsServer]:
    """A server of this test's own: a server holds one log."""
    server = NatsServer(data_folder / "nats", password="only-for-tests", strict=False)
    server.start()
    yield server
    server.stop()


@asynccontextmanager
async def process(server: NatsServer) -> AsyncIterator[tuple[Log, Publisher]]:
    """What one process holds: a connection, the log, the running handlers, and somebody to speak for the game."""
    async with connect(server.url, name="test") as connection:
        log = await open_log(connection)
        try:
            async with open_publisher(connection, log, "relaxed") as publisher, run_handlers(connection, log, HANDLERS):
                yield log, publisher
        finally:
            await log.aclose()


async def say(publisher: Publisher, who: str, *messages: Message) -> None:
    for message in messages:
        await publisher.publish(Draft(data=message, world=WORLD, entity=who))


async def said(log: Log, kind: type[Message]) -> list[Event]:
    return [event async for batch in log.read() for event in batch if event.name == kind.DESCRIPTOR.name]


async def until(log: Log, kind: type[Message], count: int) -> list[Event]:
    """Wait until that many of `kind` are in the log; the test's own time limit is the only clock."""
    while len(found := await said(log, kind)) < count:
        await asyncio.sleep(0.01)
    return found


async def test_a_party_and_a_scene_pay_once_across_three_processes(own_nats: NatsServer) -> None:
    hounds = CreatureSlain(creature="moor-hound", place="old-moor", quantity=6)
    async with process(own_nats) as (log, publisher):
        await say(publisher, "mira", PartyFormed(party="pack", members=["mira", "ben"]))
        await until(log, QuestPartyGathered, 2)
        await say(publisher, "mira", ObjectExamined(object="hull", scene="drowned-skiff", place="reed-path"))
    async with process(own_nats) as (log, publisher):
        await say(publisher, "ben", QuestAcceptRequested(quest="hounds-of-the-moor", party="pack"))
        await until(log, SharedQuestFollowed, 2)
        await say(publisher, "mira", hounds, ObjectExamined(object="purse", scene="drowned-skiff", place="reed-path"))
        await say(publisher, "ben", hounds)
        await until(log, QuestProgressed, 2)
    async with process(own_nats) as (log, publisher):
        await say(publisher, "mira", PlayerSpoke(npc="warden-pell"))
        rewards = await until(log, QuestRewarded, 2)
        discoveries = await until(log, SceneRewarded, 1)
        await until(log, StoryArcBegan, 1)

    assert sorted(event.entity for event in rewards) == ["ben", "mira"]
    assert [event.entity for event in discoveries] == ["mira"]


async def test_a_log_read_from_its_start_again_pays_nothing_twice(own_nats: NatsServer) -> None:
    async with process(own_nats) as (log, publisher):
        for player in ("mira", "ben", "cara"):
            for thing in ("hull", "cut-rope", "purse"):
                await say(publisher, player, ObjectExamined(object=thing, scene="drowned-skiff", place="reed-path"))
        await until(log, SceneRewarded, 3)
    async with connect(own_nats.url, name="wipe") as connection:
        for partition in range(8):
            for handler in HANDLERS:
                await connection.api(f"CONSUMER.DELETE.LOG.{handler.name}_{partition}")
    async with process(own_nats) as (log, publisher):
        await say(publisher, "dora", *(ObjectExamined(object=thing, scene="drowned-skiff") for thing in ("hull", "purse")))
        rewards = await until(log, SceneRewarded, 4)
        found = await said(log, SceneDiscovered)

    assert sorted(event.entity for event in rewards) == ["ben", "cara", "dora", "mira"]
    assert len(found) == 4
