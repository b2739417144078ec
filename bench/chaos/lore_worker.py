"""A process that ingests a folder of lore, to be killed: `python -m bench.chaos.lore_worker NATS_URL FOLDER WORLD`.

Says `ready` when all that is left to do is to say what is new, and `done` when it was said.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from bench.duskmarket import FOLDER
from bus.connection import connect
from bus.log import open_log
from bus.publisher import open_publisher
from handlers.time_manager.calendar import load
from worldbus.edges.lore import Ingest, documents


async def main(url: str, folder: Path, world: str) -> None:
    found = documents(folder, load(FOLDER / "calendar.toml"))
    async with connect(url, name="chaos-lore") as connection:
        log = await open_log(connection)
        async with open_publisher(connection, log, "relaxed") as publisher:
            print("ready", flush=True)
            await Ingest(log, publisher, world).run(found, collection="lore", whole=True)
            print("done", flush=True)
        await log.aclose()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
