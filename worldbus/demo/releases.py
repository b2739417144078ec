"""A release feed of the demo's own: versions of the engine, as the edge `release-feed` reads them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from worldbus.edges.release_feed import watch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bus.log import Log
    from worldbus.demo.bots import Bots
    from worldbus.demo.ledger import Ledger

MOST_EVERY_S = 5.0


def feed(versions: Sequence[str]) -> bytes:
    """A release feed that lists these versions."""
    return json.dumps({"releases": [{"version": version, "title": f"Engine {version}"} for version in versions]}).encode()


async def publish_releases(log: Log, ledger: Ledger, bots: Bots, line: str, seconds: float) -> None:
    """List the bots' releases, after a third of `seconds` the later one too, and read them as the edge does, until cancelled."""
    with TemporaryDirectory(prefix="wb-demo-") as folder:
        file = Path(folder) / "releases.json"
        file.write_bytes(feed(bots.releases))
        reading = watch(log, ledger, world=bots.stage.world, line=line, source=str(file), every_s=min(MOST_EVERY_S, seconds / 4))
        async with asyncio.TaskGroup() as both:
            both.create_task(_come_out(file, feed((*bots.releases, bots.later)), seconds / 3), name="release")
            both.create_task(reading, name="release-feed")


async def _come_out(file: Path, body: bytes, after_s: float) -> None:
    await asyncio.sleep(after_s)
    await asyncio.to_thread(file.write_bytes, body)
