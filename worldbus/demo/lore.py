"""Lore of the demo's world: the documents that lie beside its tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bus.event import Draft
from worldbus.edges.lore import Ingest, documents
from worldbus.edges.lore.revision import EDGE, Known, revised

if TYPE_CHECKING:
    from bus.log import Log
    from handlers.content import Content
    from worldbus.demo.ledger import Ledger
    from worldbus.edges.lore import Document

COLLECTION: Final = "lore"


def library(content: Content) -> list[Document]:
    """The documents, read anew; none where the world has no such folder."""
    folder = content.folder / COLLECTION
    return documents(folder, content.calendar) if folder.is_dir() else []


def first_editions(content: Content, world: str) -> list[list[Draft]]:
    """Every document as it is said to a world that has none: one group each."""
    said = []
    for one in library(content):
        revision = revised(Known(slug=one.slug), one, COLLECTION)
        assert revision is not None
        said.append([Draft(data=message, world=world, entity=one.slug, subsystem=EDGE) for message in revision.messages])
    return said


async def ingest(log: Log, ledger: Ledger, content: Content, world: str) -> None:
    """Bring the world's knowledge in step with the documents; what it has already is not said again."""
    if found := library(content):
        await Ingest(log, ledger, world).run(found, collection=COLLECTION, whole=True)
