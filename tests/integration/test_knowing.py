"""A living world: what a character was told in one session is shown to the model in a later one, cited, and found by `why`."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time as clock
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from bus.event import Draft, Event
from handlers.time_manager.calendar import load as load_calendar
from inference import ladder
from inference.retrieval import KnowledgeClient, Lookup
from inference.settings import WorkerSettings
from inference.worker import run_worker
from projections.store import connected
from schemas.gen.worldbus.game.v1.game_pb2 import PlayerSpoke
from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceCompleted
from schemas.gen.worldbus.npc.v1.npc_pb2 import NpcSpoke
from tests.duskmarket import FOLDER, PROJECTIONS, npc, time
from tests.engines import GrammarEngine
from tests.integration.inference.test_retrieval import Showing
from worldbus.cli.why import lines
from worldbus.compose import World, open_world, serve
from worldbus.edges.lore import Ingest, documents
from worldbus.settings import Settings
from worldbus.why import why

FACT = "My sister Ysa hid the black ledger under the third board of the bell loft"
SMALL_TALK = (
    "The herring is poor today",
    "A cold wind again",
    "My boots are wet",
    "They raised the price of salt",
    "The tide is late",
    "Candles are dear",
)


class Town:
    """Two characters, a model that keeps what it was shown, and the knowledge base between them."""

    def __init__(self, world: World, engine: Showing) -> None:
        self.world = world
        self.engine = engine

    async def talk(self, who: str, text: str) -> tuple[Event, Event]:
        """Say something; the model's answer and the line."""
        said, patient = PlayerSpoke(npc=who, text=text), clock.time_ns() + 30_000_000_000  # however busy this machine is
        draft = Draft(data=said, world="duskmarket", entity="mira", subsystem="game", deadline_ns=patient)
        position = await self.world.publisher.publish(draft)
        answer: Event | None = None
        while True:
            async for events in self.world.log.read(after=position):
                for event in events:
                    if isinstance(event.data, InferenceCompleted):
                        answer = event
                    if isinstance(event.data, NpcSpoke) and answer is not None:
                        return answer, event
            await asyncio.sleep(0.01)

    async def projected(self) -> None:
        """Until the tables have the whole log, and every memory its vector."""
        last = (await self.world.log.state()).last
        vector = "SELECT FROM worldbus.embeddings e WHERE e.content_hash = p.content_hash"
        missing = f"SELECT count(*) FROM world.passages p WHERE NOT EXISTS ({vector})"
        async with connected(self.world.servers.postgres_dsn) as connection:
            while await connection.fetchval("SELECT position FROM worldbus.checkpoint") < last or await connection.fetchval(missing):
                await asyncio.sleep(0.02)

    def shown(self) -> str:
        """The passages of the last prompt."""
        return next((part.text for part in self.engine.prompts[-1].parts if "<passage" in part.text), "")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A data folder with a short path, passable for the user that Postgres runs as."""
    path = Path(tempfile.mkdtemp(prefix="wb-know-"))
    path.chmod(0o711 if os.geteuid() == 0 else 0o700)
    yield path
    shutil.rmtree(path)


@pytest.fixture
async def town(folder: Path) -> AsyncIterator[Town]:
    """Duskmarket with its lore, two handlers, and a worker of Gold."""
    async with AsyncExitStack() as stack:
        settings = Settings(data=folder / "data", durability="relaxed", world="duskmarket", embedder="hashing")
        world = await stack.enter_async_context(open_world(settings, own=True))
        engine, client, grammar = Showing(), KnowledgeClient(world.connection), GrammarEngine()
        await stack.enter_async_context(serve(world, handlers=(time, npc), projections=PROJECTIONS))
        calendar = load_calendar(FOLDER / "calendar.toml")
        lore = documents(FOLDER / "lore", calendar, lambda *_: None)
        await Ingest(world.log, world.publisher, "duskmarket").run(lore, collection="lore", whole=True, tell=lambda *_: None)
        await client.open()
        stack.push_async_callback(client.close)
        await stack.enter_async_context(grammar.open())
        ladders, gold = ladder.load(FOLDER / "ladder.toml"), WorkerSettings(tier="gold", name="w1")
        look_up = Lookup(client, share=1.0, most_s=5.0)
        worker = await stack.enter_async_context(
            run_worker(world.connection, world.log, world.publisher, ladders, gold, engine=engine, grammar=grammar, prepare=look_up)
        )
        while not worker.up:
            await asyncio.sleep(0.01)
        opened = Town(world, engine)
        await opened.projected()
        yield opened


async def test_told_in_one_session_used_in_the_next_and_unknown_to_others(town: Town) -> None:
    await town.talk("widow-hask", FACT)
    for words in SMALL_TALK:
        await town.talk("widow-hask", words)
    await town.projected()
    answer, spoke = await town.talk("widow-hask", "Where did my sister hide the ledger?")

    assert "hid the black ledger under the third board" in town.shown()
    end: Any = answer.data
    assert end.measured.knowledge == "given"
    cited = [citation for citation in end.citations if citation.kind == "memory"]
    assert [citation.document for citation in cited] == ["widow-hask"] * len(cited) != []
    await town.projected()
    async with connected(town.world.servers.reader_dsn) as connection:
        text = "\n".join(lines(await why(connection, str(spoke.position))))
    assert f"shown {list(end.citations).index(cited[0]) + 1}: widow-hask's memory of position {cited[0].position}" in text
    assert "third board" in text

    await town.talk("doctor-vane", "Where did my sister hide the ledger?")
    assert "third board" not in town.shown()


async def test_everybody_knows_what_is_public_and_nobody_the_storytellers_secrets(town: Town) -> None:
    for who in ("widow-hask", "doctor-vane", "pockets"):
        answer, _ = await town.talk(who, "Who pays for silence at the harbour?")
        end: Any = answer.data

        assert next(citation.document for citation in end.citations) == "06-economy"
        assert '<passage n="1" kind="lore"' in town.shown()
        await town.talk(who, "Who cut the rope of the skiff, and who sold the ferryman?")
        assert "razor" not in town.shown(), "only the storyteller knows"
