"""`WORLDBUS_RELEASE_FEED`: the feed that is set is read by the process that serves, and what it lists is known."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.duskmarket import uemonitor
from worldbus.compose import open_world, serve
from worldbus.demo.releases import feed
from worldbus.settings import Settings


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short, because sockets have a limit."""
    path = Path(tempfile.mkdtemp(prefix="wb-feed-"))
    path.chmod(0o711 if os.geteuid() == 0 else 0o700)
    yield path
    shutil.rmtree(path)


async def test_the_feed_of_the_settings_is_read(folder: Path) -> None:
    source = folder / "releases.json"
    source.write_bytes(feed(("5.5", "5.6")))
    settings = Settings.read({"WORLDBUS_RELEASE_FEED": str(source)}, data=folder / "data", durability="relaxed")

    async with (
        open_world(settings, own=True, postgres=False) as world,
        serve(world, handlers=[uemonitor], release_feed=True),
    ):
        async for events in world.log.read(follow=True):
            listed = [event for event in events if event.name == "EngineVersionsListed"]
            if listed:
                break

    assert list(listed[0].data.versions) == ["5.5.0"]  # type: ignore[attr-defined]  # 5.6 is announced
