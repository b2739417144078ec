"""The workers of inference in this process: those of the named tiers, with their engines, and the ladder's, which need none.

The ladder runs beside the handlers, so that every request is answered in time also when no worker with a model is alive; with it runs the
guardian, which answers what a worker took into its death.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from bus.errors import BadSettings
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
    from handlers.content import Content
    from inference.engine import Engine, Prompt
    from inference.grammar import Grammar
    from inference.ladder import Ladders
    from worldbus.settings import Settings

LADDER: Final = "ladder"
NAMES: Final = (*TIERS, LADDER)

log_ = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Answers:
    """The tables from which answers without a model are made."""

    ladders: Ladders
    grammars: Mapping[str, Grammar]


def answers(content: Content) -> Answers:
    """The ladders and grammars of a world; a game of which nobody asks a model has neither. Raises `BadSettings`."""
    written, path = content.folder / "grammars", content.folder / "ladder.toml"
    found = grammars.load(written) if written.is_dir() else {}
    return Answers(ladder.load(path, found) if path.exists() else ladder.Ladders({}), found)


@asynccontextmanager
async def run_tiers(
    connection: Connection, log: Log, publisher: Publisher, settings: Settings, names: Iterable[str], presence: Presence | None = None
) -> AsyncIterator[None]:
    """Run the named ones for the block; leaving it drains them. `presence` is what operators are told of them. Raises `BadSettings`."""
    presence = presence or Presence()
    wanted = frozenset(names)
    game = current()
    content = game.content_of(settings.world)
    tables, without_model = pools.load(settings.inference), answers(content)
    ladders = without_model.ladders
    workers: list[tuple[WorkerSettings, Engine | None]] = [
        pools.pool_of(tier, tables.get(tier, {}), labels=settings.node_labels, grammars=without_model.grammars)
        for tier in TIERS
        if tier in wanted
    ]
    if LADDER in wanted:
        workers += [(WorkerSettings.of_this_process(tier, role=LADDER), None) for tier in TIERS]
    workers = [(replace(given, played=game.played), engine) for given, engine in workers]
    async with AsyncExitStack() as stack:
        grammar = GrammarEngine(slots=1024, grammars=without_model.grammars)
        await stack.enter_async_context(grammar.open())
        library = KnowledgeClient(connection)
        await library.open()
        stack.push_async_callback(library.close)
        look_up, vitals = Lookup(library), Vitals(connection, game.played)
        await vitals.open()
        stack.push_async_callback(vitals.aclose)
        voices: dict[str, Worker] = {}
        for given, engine in workers:
            warm = _warm(content) if engine is not None else ()
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


def _warm(content: Content) -> tuple[Prompt, ...]:
    """Prompts to warm an engine up with; none where the characters or stories that they are made of cannot be read."""
    try:
        return prompts(content)
    except BadSettings as error:  # their handlers refuse to run; requests of others are answered all the same
        log_.warning("not_warmed_up", reason=str(error))
        return ()


def _stands(worker: Worker, model: bool) -> tuple[str, str]:
    """The worker's state and its reason, for operators."""
    busy = f"{len(worker.running)} running, {len(worker.waiting)} waiting"
    if not model:
        return "answers without a model", busy
    return ("up" if worker.up else "its engine is not up"), f"{busy}, {worker.slots} slots"


def _gauges(worker: Worker) -> dict[str, float]:
    """The worker's figures of the moment."""
    running = len(worker.running)
    free = max(0, worker.slots - running) if worker.up else 0
    return {"up": worker.up, "slots": worker.slots, "running": running, "waiting": len(worker.waiting), "free_slots": free}
