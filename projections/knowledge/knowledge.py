"""The projection `knowledge`: passages of lore and memory, who may know them, and from when on."""

from __future__ import annotations

from projections.knowledge import lore, memories, truths
from projections.projection import Projection, sql_beside
from schemas.gen.worldbus.knowledge.v1 import knowledge_pb2 as said

knowledge = Projection(
    name="knowledge",
    version=2,
    schema=sql_beside(__file__),
    tables=(lore.PASSAGES, lore.DOCUMENTS, truths.TRUTHS, truths.PROGRESS, memories.STRANGERS),
    on={
        said.LoreChunkAdded: lore.added,
        said.LoreDocumentIngested: lore.ingested,
        said.LoreDocumentRemoved: lore.removed,
        **truths.ON,
        **memories.ON,
    },
    others=truths.of_a_game,
)
