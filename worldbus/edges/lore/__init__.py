"""The edge that turns documents into lore: `lore`. See docs/explanation/knowledge.md.

documents ──▶ sections ──▶ pieces ──▶ passages ──▶ what the log lacks ──▶ events
"""

from worldbus.edges.lore.document import Chunk, Document, document
from worldbus.edges.lore.errors import BadDocuments, BadLore
from worldbus.edges.lore.files import documents
from worldbus.edges.lore.ingest import Done, Ingest, Plan

__all__ = ["BadDocuments", "BadLore", "Chunk", "Document", "Done", "Ingest", "Plan", "document", "documents"]
