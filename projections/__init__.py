"""Projections: the log as tables. See docs/explanation/projections.md."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from projections.checkpoints import Checkpoints
    from projections.projection import Change, Projection, Table, sql_beside
    from projections.projector import Projector
    from projections.reader import Listed, Reader

__all__ = ["Change", "Checkpoints", "Listed", "Projection", "Projector", "Reader", "Table", "sql_beside"]
_WHERE = {
    **dict.fromkeys(("Change", "Projection", "Table", "sql_beside"), "projection"),
    **dict.fromkeys(("Listed", "Reader"), "reader"),
    "Checkpoints": "checkpoints",
    "Projector": "projector",
}


def __getattr__(name: str) -> Any:
    """A name of this package, imported when it is asked for: a query loads no projector."""
    if name in _WHERE:
        return getattr(import_module(f"projections.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
