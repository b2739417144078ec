"""One process under test: `python -m bench.chaos.worker ROLE ORDERS`, where ORDERS is a JSON file.

    handlers   a member that runs every handler            projector  the projector
    writer     a share of the load (bench.chaos.load)      ticker     the world's clock

SIGTERM ends it in good order; a writer then knows the outcome of everything it said.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec

from bench.chaos.journal import Journal, read
from bench.chaos.load import WORLD, Mix, Writer
from bench.duskmarket import ALL, PROJECTIONS
from bus.connection import Connection, connect
from bus.durability import Durability, prove
from bus.log import Log, open_log
from bus.publisher import DEADLINE, Publisher
from bus.runtime import run_handlers
from projections.projector import Projector
from worldbus.logging import configure
from worldbus.standby import project
from worldbus.ticker import start_clock, tick
from worlds.duskmarket.bots.players import zones

SCALE = 1_440_000  # world milliseconds per real second: a day in a minute


class Orders(msgspec.Struct, kw_only=True):
    """The orders for a worker."""

    name: str
    seed: int
    nats_url: str
    monitor_url: str
    postgres_dsn: str
    journal: str
    ready: str  # a file to make once SIGTERM is heard
    durability: Durability
    mix: Mix
    skew_s: float = 0.0  # how wrong this process' wall clock is
    patience_s: float = DEADLINE  # of a writer; then the outcome is unknown


async def run(role: str, orders: Orders) -> None:
    """Work until SIGTERM."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    await asyncio.to_thread(Path(orders.ready).touch)
    async with AsyncExitStack() as stack:
        connection = await stack.enter_async_context(connect(orders.nats_url, name=orders.name, connect_timeout=2.0))
        log = await open_log(connection)
        stack.push_async_callback(log.aclose)
        match role:
            case "handlers":
                await stack.enter_async_context(run_handlers(connection, log, ALL))
                await stopping.wait()
            case "projector":
                await _until(stopping, asyncio.create_task(_project(orders, log), name="projector"))
            case "ticker":
                publisher = await _publisher(stack, connection, log, orders)
                await start_clock(log, publisher, WORLD, SCALE)
                for zone in zones(WORLD, orders.seed):
                    await publisher.publish(msgspec.structs.replace(zone, id=f"declare-{zone.entity}", time_ns=1), once=True)
                await _until(stopping, asyncio.create_task(tick(log, publisher, WORLD), name="ticker"))
            case "writer":
                publisher = await _publisher(stack, connection, log, orders)
                path = Path(orders.journal)
                before = read(path)
                writer = Writer(orders.name, orders.seed, orders.mix, log, publisher, Journal(path), before, stopping)
                await writer.run()
            case _:
                raise SystemExit(f"no role {role!r}: wanted handlers, projector, writer or ticker")


async def _project(orders: Orders, log: Log) -> None:
    """Every other projector goes without the lock by which projectors stand by, so that two of them really meet."""
    if orders.name.endswith(("0", "2", "4", "6", "8")):
        await project(orders.postgres_dsn, PROJECTIONS, log)
    else:
        await Projector(orders.postgres_dsn, PROJECTIONS).run(log)


async def _publisher(stack: AsyncExitStack, connection: Connection, log: Log, orders: Orders) -> Publisher:
    await prove(log, orders.durability, [orders.monitor_url])
    publisher = Publisher(connection, log, orders.durability, deadline=orders.patience_s)
    await publisher.open()
    stack.push_async_callback(publisher.aclose)
    return publisher


async def _until(stopping: asyncio.Event, work: asyncio.Task[object]) -> None:
    """Run `work` until it ends by itself, which is an error, or is told to stop."""
    waiting = asyncio.create_task(stopping.wait(), name="stopping")
    await asyncio.wait({work, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if work.done():
        work.result()
    for task in (work, waiting):
        task.cancel()
    await asyncio.gather(work, waiting, return_exceptions=True)


def skew(seconds: float) -> None:
    """Make this process' wall clock wrong; the monotonic clock, which waiting uses, stays right."""
    true: Callable[[], int] = time.time_ns
    time.time_ns = lambda: true() + int(seconds * 1e9)
    time.time = lambda: time.time_ns() / 1e9


def main(arguments: list[str]) -> None:
    """Entry point."""
    role, path = arguments
    orders = msgspec.json.decode(Path(path).read_bytes(), type=Orders)
    if orders.skew_s:
        skew(orders.skew_s)
    configure("json", "warning")
    asyncio.run(run(role, orders))


if __name__ == "__main__":
    main(sys.argv[1:])
