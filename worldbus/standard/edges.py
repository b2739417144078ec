"""The edges of a world beside its handlers: the start of its clock, and its library.

async with open_world(settings) as world, serve(world, handlers=game.handlers, projections=game.projections, ticks=True):
    await start_clock(world, speed=360)
    await read_lore(world, game.content)
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from worldbus.ticker import start_clock as _start

if TYPE_CHECKING:
    from handlers.content import Content
    from worldbus.edges.lore import Done
    from worldbus.opening import World

LORE: Final = "lore"  # the folder of a world's documents in its content, and the collection that they are

__all__ = ["LORE", "read_lore", "start_clock"]


async def start_clock(world: World, *, speed: float = 60.0) -> None:
    """Ask for the start of the world's clock, at so many world seconds per real second; a clock that runs is left as it is.

    The handler `time` answers, and `serve(ticks=True)` makes the clock go.
    """
    await _start(world.log, world.publisher, world.settings.world, round(speed * 1000))


async def read_lore(world: World, content: Content) -> Done:
    """Bring the knowledge base in step with the documents in `lore/` of the content; what the log has already is not said again.

    Vectors are computed beside the projector; until they are there, passages are found by their words. Raises `BadDocuments` with all that
    is wrong, before anything is said, and `BadSettings` where no document is there or the calendar cannot be read.
    """
    from worldbus.edges.lore import Ingest, documents  # late: who only starts a clock needs nothing that reads documents

    found = await asyncio.to_thread(documents, content.folder / LORE, content.calendar)
    return await Ingest(world.log, world.publisher, world.settings.world).run(found, collection=LORE, whole=True)
