"""Workers and guardians of two games on one bus: each answers in its own worlds, in its own words."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, cast

from bus.connection import Connection
from bus.event import Draft
from bus.log import Log
from bus.played import Played
from bus.publisher import Publisher
from inference import ladder
from inference.guardian import run_guardian
from inference.queue import queue_name, routed_name
from inference.settings import WorkerSettings
from inference.vitals import Vitals
from inference.worker import run_worker
from schemas.gen.worldbus.inference.v1.types_pb2 import Fallback
from tests.engines import GrammarEngine
from tests.integration.inference.conftest import PATIENT, Game
from worldbus.lag import queues

PLAYED = {"south": Played("", frozenset({"south"})), "north": Played("north", frozenset({"north"}))}
EACH = 12


def _ladders(world: str) -> ladder.Ladders:
    """The last rung alone, in the words of that world."""
    authored = ladder.Rung(name="authored", needs_ms=1)
    return ladder.Ladders(
        {kind: replace(one, rungs=(authored,), lines=(f"This is the {world}.",)) for kind, one in PATIENT.by_kind.items()}
    )


async def _waiting(log: Log) -> int:
    """Requests that some worker has not settled yet, those of other games' worlds included."""
    return sum(one.behind for one in [*await queues(log, PLAYED["south"]), *await queues(log, PLAYED["north"])] if one.exists)


async def test_each_game_answers_in_its_worlds(connection: Connection, log: Log, publisher: Publisher) -> None:
    game = Game(log, publisher)
    async with AsyncExitStack() as stack:
        grammar = GrammarEngine()
        await stack.enter_async_context(grammar.open())
        for world, played in PLAYED.items():
            vitals = Vitals(connection, played)
            await vitals.open()
            stack.push_async_callback(vitals.aclose)
            settings = WorkerSettings(tier="gold", name=f"of-the-{world}", played=played)
            given = connection, log, publisher, _ladders(world), settings
            worker = await stack.enter_async_context(run_worker(*given, grammar=grammar, vitals=vitals))
            await stack.enter_async_context(run_guardian(connection, log, _ladders(world), {"gold": worker}, vitals))
        for _ in range(EACH):
            for world in PLAYED:
                request = game.request(fallback=Fallback())
                await publisher.publish(Draft(data=request, world=world, entity="mira", subsystem="npc"))
        ends = await game.ends(2 * EACH)
        while await _waiting(log):
            await asyncio.sleep(0.05)

    told = {world: [cast(Any, event.data).text for event in ends.values() if event.world == world] for world in PLAYED}
    assert told == {world: [f"This is the {world}."] * EACH for world in PLAYED}


def test_a_games_queues_have_its_mark() -> None:
    assert (queue_name("gold"), routed_name("gold")) == ("inference_gold", "inference_gold_routed")
    assert queue_name("gold", PLAYED["north"]) == "north~inference_gold"
    assert routed_name("gold", PLAYED["north"]) == "north~inference_gold_routed"
