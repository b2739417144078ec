"""Embedders, which turn text into vectors: the default model in NumPy, endpoints, and a plain one that needs no weights."""

from projections.knowledge.embedders.embedder import Embedder, EmbedderFailed, Kind, Vectors
from projections.knowledge.embedders.named import DEFAULT, open_embedder

__all__ = ["DEFAULT", "Embedder", "EmbedderFailed", "Kind", "Vectors", "open_embedder"]
