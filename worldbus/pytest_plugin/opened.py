"""The fixture `worldbus_world`, apart from the others because it needs pytest-asyncio. Loaded by `worldbus.pytest_plugin` where that is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest_asyncio

if TYPE_CHECKING:
    from worldbus.opening import World
    from worldbus.settings import Settings


@pytest_asyncio.fixture
async def worldbus_world(worldbus_settings: Settings) -> AsyncIterator[World]:
    """An opened world of this test's own. `serve` belongs into the test itself."""
    from worldbus.opening import open_world

    async with open_world(worldbus_settings, name="tests") as world:
        yield world
