"""Documents as the log would hold them, put into tables by the real projector."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg
from google.protobuf.message import Message

from bus.event import Event
from projections import Listed, Projector
from projections.knowledge.knowledge import knowledge
from projections.knowledge.text import content_hash
from schemas.gen.worldbus.knowledge.v1.knowledge_pb2 import LoreChunkAdded, LoreDocumentIngested, LoreDocumentRemoved
from schemas.gen.worldbus.knowledge.v1.types_pb2 import LoreGone, LorePlace
from tests.projected import event

WORLD = "duskmarket"


@dataclass(frozen=True)
class Told:
    """A passage, and who may know it."""

    text: str
    audience: tuple[str, ...] = ("public",)
    heading: tuple[str, ...] = ()
    since: str = ""
    tags: tuple[str, ...] = ()

    def id(self, document: str) -> str:
        """Its id in a document."""
        return content_hash((document, *self.heading), "|".join((self.text, *self.audience, self.since, *self.tags)))


class Library:
    """A log of lore. `events` is what was said so far; positions count from 1."""

    def __init__(self, world: str = WORLD) -> None:
        self.world = world
        self.events: list[Event] = []
        self._revision: dict[str, int] = {}

    @property
    def head(self) -> int:
        return len(self.events)

    def say(self, message: Message, entity: str, subsystem: str = "lore") -> int:
        self.events.append(event(self.head + 1, message, entity=entity, subsystem=subsystem, world=self.world))
        return self.head

    def tell(self, document: str, *passages: Told) -> int:
        """A document of these passages; returns the position from which on it counts."""
        revision = self._revision[document] = self._revision.get(document, 0) + 1
        places = []
        for number, told in enumerate(passages, start=1):
            where = {"chunk_id": told.id(document), "number": number, "line_from": number, "line_to": number}
            hash_ = content_hash(told.heading, told.text)
            what = {"text": told.text, "heading": told.heading, "audience": told.audience, "since": told.since, "tags": told.tags}
            self.say(LoreChunkAdded(document=document, title=document, revision=revision, content_hash=hash_, **where, **what), document)
            places.append(LorePlace(added_revision=revision, **where))
        return self.say(
            LoreDocumentIngested(document=document, title=document, revision=revision, chunks=len(places), places=places), document
        )

    def burn(self, document: str, *passages: Told) -> int:
        """The document is gone; returns the position from which on it is."""
        gone = [LoreGone(chunk_id=told.id(document), added_revision=self._revision[document]) for told in passages]
        return self.say(LoreDocumentRemoved(document=document, revision=self._revision[document] + 1, gone=gone), document)

    async def shelve(self, dsn: str) -> None:
        """Into the tables."""
        await Projector(dsn, [knowledge]).run(Listed(self.events, batch=500), follow=False)


async def found(connection: asyncpg.Connection, text: str, tokens: Sequence[str] = ("public",), **options: object) -> list[str]:
    """Texts that a search by words finds."""
    named = "".join(f", {name} => ${number}" for number, name in enumerate(options, start=4))
    sql = f"SELECT body FROM world.kb_search($1, $2, $3{named})"
    return [row["body"] for row in await connection.fetch(sql, WORLD, text, list(tokens), *options.values())]


async def until(connection: asyncpg.Connection, sql: str, wanted: object, *arguments: object) -> None:
    """Wait until `sql` answers `wanted`; the test's own time limit is the only clock."""
    while await connection.fetchval(sql, *arguments) != wanted:
        await asyncio.sleep(0.02)
