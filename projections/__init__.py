"""Projections: the log as tables. See docs/explanation/projections.md."""

from projections.checkpoints import Checkpoints
from projections.projection import Change, Projection, Table, sql_beside
from projections.projector import Projector
from projections.reader import Listed, Reader

__all__ = ["Change", "Checkpoints", "Listed", "Projection", "Projector", "Reader", "Table", "sql_beside"]
