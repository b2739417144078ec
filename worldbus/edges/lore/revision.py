"""Revisions of a document whose file changed: each adds some passages, retires some and leaves the others alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from google.protobuf.message import Message

from bus.event import Event
from schemas.gen.worldbus.knowledge.v1.knowledge_pb2 import (
    LoreChunkAdded,
    LoreChunkRetired,
    LoreDocumentIngested,
    LoreDocumentRemoved,
)
from schemas.gen.worldbus.knowledge.v1.types_pb2 import LoreGone, LorePlace
from worldbus.edges.lore.document import Chunk, Document

EDGE: Final = "lore"
ENDS: Final = (LoreDocumentIngested.DESCRIPTOR.name, LoreDocumentRemoved.DESCRIPTOR.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A document as the log has it: its last revision. `there` is false once it was removed; a document never heard of has revision 0."""

    slug: str
    title: str = ""
    path: str = ""
    collection: str = ""
    content_hash: str = ""
    revision: int = 0
    position: int = 0
    there: bool = False
    places: tuple[LorePlace, ...] = ()

    @classmethod
    def of(cls, event: Event) -> Known:
        """From the event that ended its last revision."""
        it = event.data
        if isinstance(it, LoreDocumentRemoved):
            return cls(slug=event.entity, title=it.title, collection=it.collection, revision=it.revision, position=event.position)
        assert isinstance(it, LoreDocumentIngested)
        return cls(
            slug=event.entity,
            title=it.title,
            path=it.path,
            collection=it.collection,
            content_hash=it.content_hash,
            revision=it.revision,
            position=event.position,
            there=True,
            places=tuple(it.places),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """The messages about one document, in this order; the last one makes it true."""

    slug: str
    number: int
    added: tuple[Chunk, ...]
    retired: tuple[LoreGone, ...]
    messages: tuple[Message, ...]
    notes: tuple[str, ...] = ()


def revised(known: Known, document: Document, collection: str) -> Revision | None:
    """The revision that gives the log the document as it is; None if it has it. Lines alone cost one event, whatever their number."""
    number = known.revision + 1
    before = {place.chunk_id: place for place in known.places}
    places = [_place(chunk, before, number) for chunk in document.chunks]
    as_it_was = (known.there, known.title, known.path, known.collection, known.content_hash, list(known.places))
    if as_it_was == (True, document.title, document.path, collection, document.content_hash, places):
        return None
    added = tuple(chunk for chunk in document.chunks if chunk.id not in before)
    now = {chunk.id for chunk in document.chunks}
    retired = tuple(_gone(place) for place in known.places if place.chunk_id not in now)
    end = LoreDocumentIngested(
        document=document.slug,
        title=document.title,
        content_hash=document.content_hash,
        revision=number,
        chunks=len(document.chunks),
        added=len(added),
        retired=len(retired),
        places=places,
        gone=retired,
        path=document.path,
        collection=collection,
    )
    moved = known.there and known.collection != collection
    notes = (f"was of the collection {known.collection}, is now of {collection}",) if moved else ()
    messages = (*(_added(document, chunk, number) for chunk in added), *_retired(known.slug, retired, number), end)
    return Revision(slug=document.slug, number=number, added=added, retired=retired, messages=messages, notes=notes)


def removed(known: Known) -> Revision:
    """The revision of a document whose file is gone."""
    number = known.revision + 1
    retired = tuple(_gone(place) for place in known.places)
    end = LoreDocumentRemoved(document=known.slug, title=known.title, revision=number, gone=retired, collection=known.collection)
    messages = (*_retired(known.slug, retired, number), end)
    return Revision(slug=known.slug, number=number, added=(), retired=retired, messages=messages)


def _place(chunk: Chunk, before: dict[str, LorePlace], number: int) -> LorePlace:
    known = before.get(chunk.id)
    return LorePlace(
        chunk_id=chunk.id,
        added_revision=known.added_revision if known else number,
        number=chunk.number,
        line_from=chunk.line_from,
        line_to=chunk.line_to,
    )


def _gone(place: LorePlace) -> LoreGone:
    return LoreGone(chunk_id=place.chunk_id, added_revision=place.added_revision)


def _added(document: Document, chunk: Chunk, number: int) -> LoreChunkAdded:
    return LoreChunkAdded(
        document=document.slug,
        title=document.title,
        revision=number,
        chunk_id=chunk.id,
        number=chunk.number,
        heading=chunk.heading,
        line_from=chunk.line_from,
        line_to=chunk.line_to,
        text=chunk.text,
        content_hash=chunk.content_hash,
        tags=chunk.marks.tags,
        audience=chunk.marks.audience,
        since=chunk.marks.since,
    )


def _retired(slug: str, gone: tuple[LoreGone, ...], number: int) -> tuple[LoreChunkRetired, ...]:
    return tuple(LoreChunkRetired(document=slug, chunk_id=one.chunk_id, revision=number, added_revision=one.added_revision) for one in gone)
