"""Waiting for what must become true; the test's own time limit is the only clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def eventually(condition: Callable[[], object]) -> None:
    """Return once `condition()` holds."""
    while not condition():
        await asyncio.sleep(0.005)
