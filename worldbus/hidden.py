"""Names that belong to worldbus: a game's own package of such a name hides one of ours, or is hidden by it."""

from __future__ import annotations

from importlib.machinery import PathFinder
from pathlib import Path
from typing import Final

from bus.errors import BadSettings

OURS: Final = ("bus", "handlers", "inference", "migrations", "projections", "schemas", "worldbus", "worlds")
ROOT: Final = Path(__file__).resolve().parents[1]


def refuse_hidden(by: str) -> None:
    """Refuse packages on `sys.path` that are named like ours and are not ours; `by` is what led there. Raises `BadSettings`."""
    PathFinder.invalidate_caches()
    for name in OURS:
        spec = PathFinder.find_spec(name)
        found = Path(spec.origin).resolve() if spec is not None and spec.origin else None
        if found is not None and not found.is_relative_to(ROOT):
            raise BadSettings(
                f"{by}: wanted worldbus's own package {name!r} on Python's path, found {found} before it: rename that one, or put it into "
                f"the game's package, as {name!r} belongs to worldbus",
                package=name,
                path=str(found),
            )
