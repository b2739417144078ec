"""Trap 15 of the peers: whoever comes first waits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from bus.connection import Connection
from bus.log import Log
from bus.publisher import Publisher
from handlers.npc_behavior.prompt import schema
from handlers.npc_behavior.read import load
from handlers.npc_behavior.state import Tie
from inference.engine import Chunk, Prompt
from inference.engines.timed import Pace
from inference.settings import WorkerSettings
from inference.worker import run_worker
from tests.conformance.openai_server import serving
from tests.duskmarket import FOLDER
from tests.engines import TimedEngine
from tests.integration.inference.conftest import LADDERS, Game, Until
from worldbus.settings import Settings
from worldbus.tiers import run_tiers
from worldbus.warm import MOST, prompts
from worlds.duskmarket import game

TABLES = load(FOLDER / "npcs.toml")
PROMPTS = prompts(game.content)
SHAPES = {prompt.json_schema for prompt in PROMPTS} - {""}


class Compiling(TimedEngine):
    """Compiles each schema when it first comes, as real engines do. `late` are those that somebody waited for after the warm-up."""

    def __init__(self) -> None:
        super().__init__(Pace(first=0.001, per_token=0.001), slots=4)
        self.compiled: set[str] = set()
        self.warm = True
        self.late: list[str] = []

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Chunk, None]:
        if prompt.json_schema and prompt.json_schema not in self.compiled:
            if not self.warm:
                self.late.append(prompt.json_schema)
            await asyncio.sleep(0.02)
            self.compiled.add(prompt.json_schema)
        async with aclosing(super().generate(prompt)) as chunks:
            async for chunk in chunks:
                yield chunk


async def test_trap_15_first_schema_and_first_lora_stalls(
    game: Game, connection: Connection, log: Log, publisher: Publisher, until: Until
) -> None:
    """The first request with a schema pays for compiling it. Here the worker takes nothing before every shape of the world is compiled.

    Nothing here loads adapters (LoRA) while it serves, so no first one can stall: a pool has one model, loaded before it is ready."""
    engine = Compiling()
    early = [await game.ask(json_schema=shape, max_tokens=64, budget_ms=20_000) for shape in sorted(SHAPES)[:5]]
    async with run_worker(connection, log, publisher, LADDERS, WorkerSettings(tier="gold"), engine=engine, warm=PROMPTS) as worker:
        await until(lambda: worker.up)
        engine.warm = False
        assert engine.compiled == SHAPES
        later = [await game.ask(json_schema=shape, max_tokens=64, budget_ms=20_000) for shape in sorted(SHAPES)]
        ends = await game.ends(len(early) + len(later))

    assert engine.late == []
    assert {event.name for event in ends.values()} == {"InferenceCompleted"}


async def test_trap_15_a_tier_is_warmed_up_before_its_first_request(
    connection: Connection, log: Log, publisher: Publisher, tmp_path: Path
) -> None:
    """What `worldbus run --only gold` starts: the endpoint has seen every shape before anybody asked."""
    async with serving(TimedEngine(Pace(first=0.001, per_token=0.001), slots=4)) as server:
        pools = tmp_path / "tiers.toml"
        pools.write_text(f'[gold]\nengine = "openai"\nurl = "{server.url}"\nmodel = "timed"\nslots = 4\ndialect = "vllm"\nwarm_up = 128\n')
        async with run_tiers(connection, log, publisher, Settings(inference=pools), ["gold"]):
            while len(server.bodies) < len(PROMPTS):
                await asyncio.sleep(0.01)

    shown = {json.dumps(shape) for body in server.bodies if (shape := _shape(body))}
    assert shown == {json.dumps(json.loads(shape)) for shape in SHAPES}


def _shape(body: dict[str, Any]) -> Any:
    return cast(Any, body.get("response_format", {})).get("json_schema", {}).get("schema")


async def test_trap_15_a_refused_prompt_does_not_keep_an_engine_down(
    game: Game, connection: Connection, log: Log, publisher: Publisher
) -> None:
    """A persona that is longer than this engine's context: its requests will be refused, all others are served."""
    engine = TimedEngine(Pace(first=0.001, per_token=0.001))
    bad = Prompt(json_schema="{")
    async with run_worker(connection, log, publisher, LADDERS, WorkerSettings(tier="gold"), engine=engine, warm=[bad, *PROMPTS]):
        request = await game.ask(budget_ms=20_000)
        ends = await game.ends(1)

    assert ends[request.request_id].name == "InferenceCompleted"


@given(st.sampled_from(sorted(TABLES.npcs)), st.integers(-1000, 1000), st.integers(-1000, 1000), st.integers(0, 1000))
def test_trap_15_no_feeling_leads_to_a_shape_that_was_not_compiled(name: str, trust: int, affection: int, fear: int) -> None:
    """Every answer that a character can be asked for, whatever it feels for whoever speaks to it."""
    assert schema(TABLES, TABLES.npcs[name], Tie(trust=trust, affection=affection, fear=fear)) in SHAPES
    assert len(PROMPTS) < MOST, "none was left out"
