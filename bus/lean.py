"""Imports of libraries without what they load for uses that we do not have: each call of a command line verb pays for it again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def without(*packages: str) -> Iterator[None]:
    """Import what stands in the block as if these packages were not installed; those that are loaded already stay."""
    hidden: dict[str, ModuleType | None] = {name: None for name in packages if name not in sys.modules}
    sys.modules.update(hidden)  # type: ignore[arg-type]  # None: `import` says that there is none
    try:
        yield
    finally:
        for name in hidden:
            if sys.modules.get(name) is None:
                del sys.modules[name]
