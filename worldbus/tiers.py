"""The workers of inference in this process: those of the named tiers, with their engines, and the ladder's, which need none.

The ladder runs beside the handlers, so that every request is answered in time also when no worker with a model is alive; with it runs the
guardian, which answers what a worker took into its death.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bus.presence import Presence
from inference import grammars, ladder, pools
from inference.engines.grammar import GrammarEngine
from inference.guardian import run_guardian
from inference.retrieval import KnowledgeClient, Lookup
from inference.settings import WorkerSettings
from inference.tiers import TIERS
from inference.vitals import Vitals
from inference.worker import Worker, run_worker
from worldbus.exporter import WORKERS
from worldbus.games import current
from worldbus.warm import prompts

if TYPE_CHECKING:
    from bus.connection import Connection
    from bus.log import Log
    from bus.publisher import Publisher
    from inference.engine import Engine
    from worldbus.settings import Settings

LADDER: Final = "ladder"
NAMES: Final = (*TIERS, LADDER)


@asynccontextmanager
async def run_tiers(
    connection: Connection, log: Log, publisher: Publisher, settings: Settings, names: Iterable[str], presence: Presence | None = None
) -> AsyncIterator[None]:
    """Run the named ones for the block; leaving it drains them. `presence` is what operators are told of them. Raises `BadSettings`."""
    presence = presence or Presence()
    wanted = frozenset(names)
    content = current().content_of(settings.world)
    tables, ladders = pools.load(settings.inference), _ladders(content.folder / "ladder.toml")
    workers: list[tuple[WorkerSettings, Engine | None]] = [
        pools.pool_of(tier, tables.get(tier, {}), labels=settings.node_labels) for tier in TIERS if tier in wanted
    ]
    if LADDER in wanted:
        workers += [(WorkerSettings.of_this_process(tier, role=LADDER), None) for tier in TIERS]
    async with AsyncExitStack() as stack:
        written = content.folder / "grammars"  # a game need not have any
        grammar = GrammarEngine(slots=1024, grammars=grammars.load(written) if written.is_dir() else {})
        await stack.enter_async_context(grammar.open())
        library = KnowledgeClient(connection)
        await library.open()
        stack.push_async_callback(library.close)
        look_up, vitals = Lookup(library), Vitals(connection)
        await vitals.open()
        stack.push_async_callback(vitals.aclose)
        voices: dict[str, Worker] = {}
        for given, engine in workers:
            warm = prompts(content) if engine is not None else ()
            worker = await stack.enter_async_context(
                run_worker(
                    *(connection, log, publisher, ladders, given),
                    engine=engine,
                    grammar=grammar,
                    warm=warm,
                    prepare=look_up,
                    vitals=vitals,
                )
            )
            voices[given.tier] = worker
            kind = given.tier if engine is not None else f"{LADDER} {given.tier}"
            stack.enter_context(presence.part(f"worker {kind}", partial(_stands, worker, engine is not None)))
            WORKERS.add(worker.metrics, partial(_gauges, worker))
            stack.callback(WORKERS.remove, worker.metrics)
        if LADDER in wanted:
            await stack.enter_async_context(run_guardian(connection, log, ladders, voices, vitals))
        yield


def _ladders(path: Path) -> ladder.Ladders:
    """The ladders of a world; none where nobody asks a model. Raises `BadSettings`."""
    return ladder.load(path) if path.exists() else ladder.Ladders({})


def _stands(worker: Worker, model: bool) -> tuple[str, str]:
    """As operators are told."""
    busy = f"{len(worker.running)} running, {len(worker.waiting)} waiting"
    if not model:
        return "answers without a model", busy
    return ("up" if worker.up else "its engine is not up"), f"{busy}, {worker.slots} slots"


def _gauges(worker: Worker) -> dict[str, float]:
    """The worker's figures of the moment."""
    running = len(worker.running)
    free = max(0, worker.slots - running) if worker.up else 0
    return {"up": worker.up, "slots": worker.slots, "running": running, "waiting": len(worker.waiting), "free_slots": free}
