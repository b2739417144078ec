"""Documents and their passages, as the edge `lore` says them.

A revision of a document comes as many events and counts from the last of them on, `LoreDocumentIngested`: it gives the passages that it
names their `added` and `ended`. So readers see a document before a revision or after it, however the log was cut into batches, and so does
who asks "as of" a position between. A passage that goes keeps its row: it answers questions about the time before.
"""

from __future__ import annotations

from typing import Final

from bus.event import Event
from projections.projection import Change, Table
from schemas.gen.worldbus.knowledge.v1 import knowledge_pb2 as said

SAYER: Final = "lore"
MAX_BODY: Final = 16_384  # characters; longer ones would not fit the index of words

PASSAGES = Table("passages", key=("world", "id", "revision"))
DOCUMENTS = Table("documents", key=("world", "document"))


def added(event: Event, it: said.LoreChunkAdded) -> Change | None:
    """A passage, which is not yet true."""
    if event.subject.subsystem != SAYER:
        return None
    return PASSAGES.put(
        *(event.world, it.chunk_id, it.revision),
        kind="lore",
        document=event.entity,
        title=it.title,
        heading=list(it.heading),
        number=it.number,
        line_from=it.line_from,
        line_to=it.line_to,
        content_hash=it.content_hash,
        body=it.text[:MAX_BODY],
        tags=list(it.tags),
        audience=list(it.audience),
        since=it.since,
        added=None,
        ended=None,
    )


def ingested(event: Event, it: said.LoreDocumentIngested) -> list[Change] | None:
    """The document is this from here on."""
    if event.subject.subsystem != SAYER:
        return None
    document = DOCUMENTS.put(
        *(event.world, event.entity),
        title=it.title,
        collection=it.collection,
        path=it.path,
        content_hash=it.content_hash,
        revision=it.revision,
        chunks=it.chunks,
        ingested_at=event.time_ns,
    )
    places = [
        PASSAGES.put(
            *(event.world, place.chunk_id, place.added_revision),
            title=it.title,
            number=place.number,
            line_from=place.line_from,
            line_to=place.line_to,
            **({"added": event.position} if place.added_revision == it.revision else {}),
        )
        for place in it.places
    ]
    gone = [PASSAGES.put(event.world, one.chunk_id, one.added_revision, ended=event.position) for one in it.gone]
    return [document, *places, *gone]


def removed(event: Event, it: said.LoreDocumentRemoved) -> list[Change] | None:
    """The document is not there from here on."""
    if event.subject.subsystem != SAYER:
        return None
    gone = [PASSAGES.put(event.world, one.chunk_id, one.added_revision, ended=event.position) for one in it.gone]
    return [DOCUMENTS.drop(event.world, event.entity), *gone]
