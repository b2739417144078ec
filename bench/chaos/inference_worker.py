"""One worker as a process of its own, for those who kill it: `python -m bench.chaos.inference_worker URL NAME`."""

from __future__ import annotations

import asyncio
import signal
import sys

import structlog
import uvloop

from bench.duskmarket import FOLDER, GRAMMARS
from bus.connection import connect
from bus.log import open_log
from bus.publisher import open_publisher
from inference import ladder
from inference.engines.grammar import GrammarEngine
from inference.engines.timed import Pace, TimedEngine
from inference.settings import WorkerSettings
from inference.worker import run_worker


async def main(url: str, name: str) -> None:
    """Serve Gold until SIGTERM."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    ladders = ladder.load(FOLDER / "ladder.toml")
    engine, grammar = TimedEngine(Pace(first=0.01, per_token=0.008), grammars=GRAMMARS), GrammarEngine(GRAMMARS)
    async with connect(url, name=name) as connection:
        log = await open_log(connection)
        async with (
            grammar.open(),
            open_publisher(connection, log, "relaxed") as publisher,
            run_worker(
                connection, log, publisher, ladders, WorkerSettings(tier="gold", name=name), engine=engine, grammar=grammar
            ) as worker,
        ):
            while not worker.up:
                await asyncio.sleep(0.005)
            print("up", flush=True)
            await stopped.wait()
        await log.aclose()


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    uvloop.run(main(sys.argv[1], sys.argv[2]))
