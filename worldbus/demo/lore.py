"""Lore of the demo's world: the documents that lie beside its tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bus.event import Draft
from handlers.time_manager.calendar import load
from worldbus.edges.lore import Ingest, documents
from worldbus.edges.lore.revision import EDGE, Known, revised
from worlds.duskmarket import game

if TYPE_CHECKING:
    from bus.log import Log
    from worldbus.demo.ledger import Ledger
    from worldbus.edges.lore import Document

COLLECTION: Final = "lore"


def library() -> list[Document]:
    """The documents, read anew."""
    folder = game.content.folder
    return documents(folder / COLLECTION, load(folder / "calendar.toml"))


def first_editions(world: str) -> list[list[Draft]]:
    """Every document as it is said to a world that has none: one group each."""
    said = []
    for one in library():
        revision = revised(Known(slug=one.slug), one, COLLECTION)
        assert revision is not None
        said.append([Draft(data=message, world=world, entity=one.slug, subsystem=EDGE) for message in revision.messages])
    return said


async def ingest(log: Log, ledger: Ledger, world: str) -> None:
    """Bring the world's knowledge in step with the documents; what it has already is not said again."""
    await Ingest(log, ledger, world).run(library(), collection=COLLECTION, whole=True)
