"""A member that runs trades and inventories, to be killed: `python -m bench.chaos.trades_worker NATS_URL`.

Says `ready` when it serves.
"""

from __future__ import annotations

import asyncio
import sys

from bench.duskmarket import inventory, trade
from bus.connection import connect
from bus.log import open_log
from bus.runtime import run_handlers


async def main(url: str) -> None:
    """Serve until killed."""
    async with connect(url, name="chaos-trades") as connection:
        log = await open_log(connection)
        async with run_handlers(connection, log, (inventory, trade)):
            print("ready", flush=True)
            await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
