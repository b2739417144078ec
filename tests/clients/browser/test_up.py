"""What the how-to page tells a newcomer: `worldbus up --websocket`, the page, the address that `up` prints; and people answer."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest
import pytest_asyncio

from tests.clients.browser.conftest import PATIENCE_S
from worldbus.embedded.nats import HOST, free_ports

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = pytest.mark.timeout(600)
SLOW = "1"  # world seconds per second: it stays morning, and those who are up stay up


def worldbus(*arguments: str) -> tuple[str, ...]:
    return (str(Path(sys.executable).parent / "worldbus"), *arguments)


@pytest_asyncio.fixture
async def up(data_folder: Path) -> AsyncIterator[str]:
    """A world that is up; the address that it prints for browsers."""
    port, _ = free_ports()
    command = worldbus("up", "--speed", SLOW, "--durability", "relaxed", "--data", str(data_folder), "--websocket", f"{HOST}:{port}")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("WORLDBUS_")}
    process = await asyncio.create_subprocess_exec(*command, env=environ, stderr=asyncio.subprocess.PIPE)
    assert process.stderr is not None
    said: list[str] = []
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def read(stream: asyncio.StreamReader) -> None:
        async for line in stream:
            said.append(line.decode())
            found = re.search(r"ws://browser:\S+", said[-1])
            if found and not address.done():
                address.set_result(found[0])

    reading = asyncio.create_task(read(process.stderr))
    try:
        await asyncio.wait({reading, address}, timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
        assert address.done(), "".join(said)
        yield address.result()
    finally:
        process.terminate()
        ended = await process.wait()
        await reading
        address.cancel()

    assert ended == 0


async def test_a_newcomer_walks_speaks_and_is_answered(page: Page, site: str, up: str, data_folder: Path) -> None:
    from playwright.async_api import expect

    publish = ("publish", "ZoneDeclared", "--entity", "quay", "--data", '{"climate": "harbour"}', "--durability", "relaxed", "--data-dir")
    declared = await asyncio.create_subprocess_exec(*worldbus(*publish, str(data_folder)))
    assert await declared.wait() == 0
    await page.goto(f"{site}/#{urlencode({'bus': up})}")  # `main` is the page's world as it is that of `up`
    await page.get_by_label("Your name").fill("Mira")
    await page.get_by_role("button", name="Enter").click()
    await expect(page.locator("#sky")).not_to_be_empty()
    await page.get_by_label("To whom").select_option("Widow Hask")
    await page.get_by_label("Words").fill("Have you seen the ferryman?")
    await page.get_by_role("button", name="Say").click()
    await expect(page.locator("#said .mine[data-state=recorded]")).to_have_count(1)
    await expect(page.locator("#said .heard:not([data-state])").first).to_contain_text("Widow Hask: ")
    await page.get_by_role("button", name="The fish market").click()
    await expect(page.get_by_role("heading", name="The fish market")).to_be_visible()
