"""A page of another origin and the HTTP gateway, in a real Chromium: the code that docs/how-to/use-the-gateway.md gives."""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bus.event import Event
from bus.log import Log
from tests.clients.browser.conftest import ROOT, Quiet
from tests.clients.typescript.conftest import WebSocketServer
from worldbus.gateway.cors import Cors
from worldbus.gateway.grants import Tokens, digest
from worldbus.gateway.limits import Limits
from worldbus.gateway.service import Gateway, Place, open_gateway
from worldbus.opening import open_world
from worldbus.settings import Settings

if TYPE_CHECKING:
    from playwright.async_api import Page

TOKEN = "wbt_page"
JOINED = {"specversion": "1.0", "type": "PlayerJoined", "subject": "mira", "data": {"display_name": "Mira", "zone": "quay"}}


def code() -> str:
    """The documented code."""
    page = (ROOT / "docs" / "how-to" / "use-the-gateway.md").read_text(encoding="utf-8")
    (found,) = re.findall(r"^```js\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return str(found)


@pytest.fixture
def game(tmp_path: Path) -> Iterator[str]:
    """The origin of a page that has the documented code and nothing else."""
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "index.html").write_text(f"<!doctype html><title>game</title><script>{code()}</script>")
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path / "web"))) as server:
        thread = threading.Thread(target=server.serve_forever, name="game")
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@asynccontextmanager
async def gateway(server: WebSocketServer, folder: Path, *origins: str, port: int = 0) -> AsyncIterator[Gateway]:
    """A gateway whose answers pages of these origins may read."""
    path = folder / "tokens.toml"
    path.write_text(f'[page]\nsha256 = "{digest(TOKEN)}"\nworlds = ["main"]\n')
    settings = Settings(nats_url=server.url, durability="relaxed", data=folder / "data", world="main")
    async with open_world(settings, name="gateway", postgres=False) as world:
        tokens, limits = Tokens(path, frozenset({"player"})), Limits(heartbeat_s=0.2)
        async with open_gateway(world, tokens, Place(port=port), limits=limits, cors=Cors(origins)) as opened:
            yield opened


async def recorded(log: Log) -> list[Event]:
    return [event async for events in log.read() for event in events]


PUBLISH = """([gateway, token, event]) =>
  publish(gateway, token, event).catch((found) => ({code: found.code, status: found.status, name: found.name}))
"""
FOLLOW = """([gateway, token]) => {
  window.got = []
  window.stop = follow(gateway, token, {event: "PlayerJoined"}, (event) => got.push(event.id), (problem) => got.push(problem.code))
}"""


async def publish(page: Page, base: str, event: dict[str, Any], token: str = TOKEN) -> Any:
    """The answer, or the problem that the script caught; a gateway that has not seen its log yet is asked again, under the same id."""
    while (found := await page.evaluate(PUBLISH, [base, token, event])).get("status") == 503:
        await page.wait_for_timeout(100)
    return found


async def test_a_page_of_a_named_origin_publishes_and_follows_over_a_restart(
    page: Page, game: str, server: WebSocketServer, log: Log, tmp_path: Path
) -> None:
    await page.goto(game)
    async with gateway(server, tmp_path, game) as one:
        port, base = one.port, f"http://127.0.0.1:{one.port}"
        await page.evaluate(FOLLOW, [base, TOKEN])
        while one.metrics.subscribers == 0:
            await page.wait_for_timeout(20)
        answers = [await publish(page, base, {"id": "e1", **JOINED}) for _ in range(2)]
        assert [found["replayed"] for found in answers] == [False, True]
        await page.wait_for_function("got.length == 1")
    async with gateway(server, tmp_path, game, port=port):
        await publish(page, base, {"id": "e2", **JOINED})  # while nobody listens: the old stream ended with its gateway
        await page.wait_for_function("got.length == 2")
    assert await page.evaluate("(stop(), got)") == ["e1", "e2"]
    assert [event.id for event in await recorded(log)] == ["e1", "e2"]


async def test_a_page_can_read_why_it_was_refused(page: Page, game: str, server: WebSocketServer, log: Log, tmp_path: Path) -> None:
    await page.goto(game)
    async with gateway(server, tmp_path, game) as one:
        base = f"http://127.0.0.1:{one.port}"
        assert (await publish(page, base, {"id": "e1", **JOINED}, "wbt_wrong"))["code"] == "BAD_TOKEN"
        assert (await publish(page, base, {"id": "e1", **JOINED, "type": "NoSuchThing"}))["code"] == "UNKNOWN_TYPE"
        assert (await publish(page, base, {"id": "e1", **JOINED, "world": "elsewhere"}))["code"] == "WORLD_NOT_ALLOWED"
        await page.evaluate(FOLLOW, [base, "wbt_wrong"])
        await page.wait_for_function("got.length == 1")
        assert await page.evaluate("got") == ["BAD_TOKEN"]
        assert await page.evaluate("(base) => fetch(base + '/nowhere', {method: 'DELETE'}).then((it) => it.status)", base) == 404
    assert await recorded(log) == []


async def test_a_page_of_another_origin_neither_publishes_nor_reads(
    page: Page, game: str, server: WebSocketServer, log: Log, tmp_path: Path
) -> None:
    await page.goto(game)
    async with gateway(server, tmp_path, "https://play.example.com") as one:
        base = f"http://127.0.0.1:{one.port}"
        assert await publish(page, base, {"id": "e1", **JOINED}) == {"code": None, "status": None, "name": "TypeError"}
        assert await page.evaluate("(base) => fetch(base + '/healthz').then(() => 'read', () => 'refused')", base) == "refused"
        assert one.metrics.requests["/v1/events", 403] == 1
    assert await recorded(log) == []
