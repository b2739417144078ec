"""The packages of a game that is loaded only when an event of them turns up: most commands read a log without it.

Apart from `schemas.registry`, which loads every generated module: naming what to load must cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable

_waiting: list[Callable[[], object]] = []


def otherwise(load: Callable[[], object]) -> None:
    """Call `load` before the first name that the registry does not know is refused. It adds the packages; the last one named counts."""
    _waiting[:] = [load]


def load() -> bool:
    """Load what is waiting, once. Returns whether anything was; raises what loading raises."""
    if not _waiting:
        return False
    _waiting.pop()()
    return True
