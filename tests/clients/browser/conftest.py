"""A real Chromium, and pages served to it as a web server would."""

from __future__ import annotations

import functools
import os
import shutil
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from bus.connection import Connection, connect
from bus.log import Log, open_log
from tests.clients.typescript.conftest import WebSocketServer

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

ROOT = Path(__file__).parents[3]
BUILT = ROOT / "clients" / "typescript" / "dist" / "page"
PATIENCE_S = 90.0  # for anything to appear: the machine may be busy with everything else that CI does
# Nothing asks the world outside for anything, and no sandbox, which root has none of.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

if not os.environ.get("WORLDBUS_BROWSER"):  # set by `make test-browser`, which sees to Chromium, the page and a game
    collect_ignore_glob = ["test_*.py"]


@pytest_asyncio.fixture
async def browser() -> AsyncIterator[Browser]:
    """A browser that nobody has used yet."""
    from playwright.async_api import async_playwright

    program = shutil.which("chromium")
    assert program is not None, "wanted chromium, found none: tests/clients/browser/deps"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=FLAGS, timeout=PATIENCE_S * 1000)
        yield browser
        await browser.close()


@pytest_asyncio.fixture
async def page(browser: Browser) -> AsyncIterator[Page]:
    """An empty page. What its scripts throw, nobody catching it, fails the test."""
    from playwright.async_api import expect

    page = await browser.new_page()
    page.set_default_timeout(PATIENCE_S * 1000)
    expect.set_options(timeout=PATIENCE_S * 1000)
    thrown: list[str] = []
    page.on("pageerror", lambda error: thrown.append(str(error)))
    yield page

    assert thrown == []


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder, and keeps it to itself."""

    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.fixture(scope="session")
def site() -> Iterator[str]:
    """Where the built page is to be had."""
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(BUILT))) as server:
        thread = threading.Thread(target=server.serve_forever, name="site")
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def server(data_folder: Path) -> Iterator[WebSocketServer]:
    """A nats-server of this test, with a `websocket` block."""
    server = WebSocketServer(data_folder / "nats")
    server.start()
    yield server
    server.stop()


@pytest_asyncio.fixture
async def connection(server: WebSocketServer) -> AsyncIterator[Connection]:
    """Our own connection."""
    async with connect(server.url, name="test") as opened:
        yield opened


@pytest_asyncio.fixture
async def log(connection: Connection) -> AsyncIterator[Log]:
    """An empty log."""
    opened = await open_log(connection)
    yield opened
    await opened.aclose()
