"""Names that belong to worldbus: a game's own package of such a name hides one of ours, or is hidden by it.

Imports none of our packages: any of them may be the hidden one.
"""

from __future__ import annotations

from importlib.machinery import PathFinder
from pathlib import Path
from typing import Final

OURS: Final = ("bus", "handlers", "inference", "migrations", "projections", "schemas", "worldbus", "worlds")
ROOT: Final = Path(__file__).resolve().parents[1]


def hidden() -> str:
    """The module that hides a package of ours on `sys.path`, in words; empty for none. A folder without an `__init__.py` hides nothing."""
    for name in OURS:
        spec = PathFinder.find_spec(name)
        found = Path(spec.origin).resolve() if spec is not None and spec.origin else None
        if found is not None and not found.is_relative_to(ROOT):
            return (
                f"wanted worldbus's own package {name!r} on Python's path, found {found} before it: rename that one, or put it into the "
                f"game's package, as {name!r} belongs to worldbus"
            )
    return ""


def refuse_hidden(by: str) -> None:
    """Raise `BadSettings` where something hides a package of ours; `by` is what led there."""
    from bus.errors import BadSettings

    if problem := hidden():
        raise BadSettings(f"{by}: {problem}")
