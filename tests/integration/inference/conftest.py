"""A log of its own per test, and workers with the timed engine on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, cast

import pytest
import pytest_asyncio

from bus.connection import Connection, connect
from bus.event import Draft, Event
from bus.log import Log, open_log
from bus.publisher import Publisher, open_publisher
from inference import ladder
from inference.engine import Engine
from inference.outcome import ENDS
from inference.settings import WorkerSettings
from inference.worker import Worker, run_worker
from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceRequested
from schemas.gen.worldbus.inference.v1.types_pb2 import Fallback, PromptPart
from tests.duskmarket import FOLDER
from tests.engines import GrammarEngine
from worldbus.embedded import NatsServer
from worldbus.testing.servers import delete_streams

LADDERS = ladder.load(FOLDER / "ladder.toml")
PATIENT = ladder.Ladders({kind: replace(one, reserve_ms=800) for kind, one in LADDERS.by_kind.items()})
"""As `LADDERS`, with so much time left for the last word that a busy machine says it before the deadline as well."""
WORLD = "w"


@pytest_asyncio.fixture
async def connection(nats_server: NatsServer) -> AsyncIterator[Connection]:
    """A connection to a server without streams."""
    async with connect(nats_server.url, name="test") as opened:
        await delete_streams(opened, nats_server)
        yield opened


@pytest_asyncio.fixture
async def log(connection: Connection) -> AsyncIterator[Log]:
    """An empty log."""
    opened = await open_log(connection)
    yield opened
    await opened.aclose()


@pytest_asyncio.fixture
async def publisher(connection: Connection, log: Log) -> AsyncIterator[Publisher]:
    """A relaxed publisher."""
    async with open_publisher(connection, log, "relaxed") as opened:
        yield opened


class Game:
    """Asks models, and reads what came of it."""

    def __init__(self, log: Log, publisher: Publisher) -> None:
        self.log = log
        self.publisher = publisher
        self._number = 0
        self._read: list[Event] = []

    def request(self, **changes: Any) -> InferenceRequested:
        """A request that keeps the rules."""
        self._number += 1
        fields: dict[str, Any] = {
            "request_id": f"r{self._number}",
            "tier": "gold",
            "kind": "npc_line",
            "prompt": [
                PromptPart(role="system", name="persona", text="You are Mira."),
                PromptPart(role="user", name="words", text="Hello?"),
            ],
            "max_tokens": 12,
            "budget_ms": 20_000,
            "player": "p1",
            "npc": "mira",
            "salience": 0.5,
            "seed": self._number,
            "fallback": Fallback(lines=["Later, maybe.", "Not in front of the others."]),
        }
        return InferenceRequested(**(fields | changes))

    async def ask(self, *, entity: str = "mira", **changes: Any) -> InferenceRequested:
        """Publish a request."""
        request = self.request(**changes)
        await self.publisher.publish(Draft(data=request, world=WORLD, entity=entity, subsystem="npc"))
        return request

    async def said(self, *names: str) -> list[Event]:
        """What the workers said so far; of all kinds, or of the named ones."""
        async for events in self.log.read(after=self._read[-1].position if self._read else 0):
            self._read += events
        return [event for event in self._read if event.subsystem == "inference" and (not names or event.name in names)]

    async def ends(self, count: int) -> dict[str, Event]:
        """The ends of requests by id, once there are `count` of them (the test's own time limit is the only clock); fails if a request
        ended twice."""
        while True:
            ends = await self.said(*ENDS)
            ids = [cast(Any, event.data).request_id for event in ends]
            assert len(set(ids)) == len(ids), f"ended twice: {[one for one in ids if ids.count(one) > 1]}"
            if len(ends) >= count:
                return dict(zip(ids, ends, strict=True))
            await asyncio.sleep(0.02)


@pytest.fixture
def game(log: Log, publisher: Publisher) -> Game:
    """Whoever asks."""
    return Game(log, publisher)


Until = Callable[[Callable[[], bool]], Any]


@pytest.fixture
def until() -> Until:
    """Wait until something is so; the test's own time limit ends it."""

    async def wait(condition: Callable[[], bool]) -> None:
        while not condition():
            await asyncio.sleep(0.002)

    return wait


Run = Callable[..., Any]


@pytest.fixture
def run(connection: Connection, log: Log, publisher: Publisher) -> Run:
    """Run a worker for a block, its engine up."""

    @asynccontextmanager
    async def start(
        engine: Engine | None, *, wait: bool = True, ladders: ladder.Ladders | None = None, **settings: Any
    ) -> AsyncIterator[Worker]:
        defaults: dict[str, Any] = {"tier": "gold", "name": "w1", "reopen_s": 0.02}
        given = WorkerSettings(**(defaults | settings))
        ladders = ladders or (PATIENT if engine is None else LADDERS)
        grammar = GrammarEngine()
        async with grammar.open(), run_worker(connection, log, publisher, ladders, given, engine=engine, grammar=grammar) as worker:
            while wait and engine is not None and not worker.up:
                await asyncio.sleep(0.005)
            yield worker

    return start
