"""The stage of a load: a nats-server of its own, the players, and workers in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from bench.duskmarket import FOLDER, GRAMMARS
from bench.harness import nats
from bench.load.players import Players
from bus.connection import Connection, connect
from bus.log import open_log
from bus.publisher import open_publisher
from inference import ladder
from inference.engines.grammar import GrammarEngine
from inference.settings import WorkerSettings
from inference.worker import Worker, run_worker

LADDERS = ladder.load(FOLDER / "ladder.toml")
# What a token of a rented GPU costs about, so that the column is not empty: 1 US dollar an hour, 600 tokens a second.
PROMPT_NANO_USD, COMPLETION_NANO_USD = 50, 460


@dataclass(slots=True)
class Stage:
    """See the module."""

    connection: Connection
    players: Players
    url: str

    @asynccontextmanager
    async def worker(self, engine: Any, tier: str = "gold", name: str = "w1") -> AsyncIterator[Worker]:
        """A worker on a connection of its own, once its engine is up; without an engine one that answers from the ladder."""
        grammar = GrammarEngine(GRAMMARS, slots=1024)
        settings = WorkerSettings(
            tier=tier,
            name=name,
            keep_warm_s=0,
            reopen_s=0.1,
            prompt_nano_usd=PROMPT_NANO_USD,
            completion_nano_usd=COMPLETION_NANO_USD,
        )
        async with grammar.open(), connect(self.url, name=f"bench-{name}") as connection:
            log = await open_log(connection)
            async with (
                open_publisher(connection, log, "relaxed") as publisher,
                run_worker(connection, log, publisher, LADDERS, settings, engine=engine, grammar=grammar) as worker,
            ):
                while engine is not None and not worker.up:
                    await asyncio.sleep(0.005)
                yield worker
            await log.aclose()


@asynccontextmanager
async def stage(*, strict: bool = False) -> AsyncIterator[Stage]:
    """A stage for the block."""
    async with nats(strict=strict) as server, connect(server.url, name="bench-players") as connection:
        log = await open_log(connection)
        async with open_publisher(connection, log, "strict" if strict else "relaxed", monitors=[server.monitor_url]) as publisher:
            players = Players(publisher)
            await players.listen(connection)
            yield Stage(connection, players, server.url)
            await players.aclose()
        await log.aclose()
