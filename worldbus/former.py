"""Names of the release before this one: each works for one version, with a warning that says the new one (docs/reference/versions.md)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

GONE: Final = "0.3"
"""The release without them; a test fails there for as long as a name is left."""


class Now(NamedTuple):
    """The present of a former name: in words, and the value."""

    name: str
    get: Callable[[], Any]


def former(module: str, names: Mapping[str, Now]) -> Callable[[str], Any]:
    """The `__getattr__` of a module that had these names."""

    def get(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        now = names[name]
        warnings.warn(f"{module}.{name} is {now.name} since 0.2, and gone in {GONE}", DeprecationWarning, stacklevel=2)
        return now.get()

    return get
