"""A game of Evennia's on a bus of its own, with people who answer, and what its web client loads from elsewhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from clients.evennia.demo.game import Game
from tests.duskmarket import ALL, PROJECTIONS
from worldbus.compose import World, open_world, serve
from worldbus.settings import Settings
from worldbus.ticker import start_clock
from worldbus.tiers import LADDER

if TYPE_CHECKING:
    from playwright.async_api import Page, Route

ROOT = Path(__file__).parents[3]
LIBRARIES = Path(__file__).parent / "libraries" / "node_modules"
SCALE = 1000  # world milliseconds per real second: it stays morning, and those who are up stay up
# Evennia's page names them with hashes, which the browser holds these files against.
ELSEWHERE = {
    "https://code.jquery.com/jquery-3.2.1.min.js": "jquery/dist/jquery.min.js",
    "https://golden-layout.com/files/latest/js/goldenlayout.min.js": "golden-layout/dist/goldenlayout.min.js",
    "https://golden-layout.com/files/latest/css/goldenlayout-base.css": "golden-layout/src/css/goldenlayout-base.css",
    "https://golden-layout.com/files/latest/css/goldenlayout-dark-theme.css": "golden-layout/src/css/goldenlayout-dark-theme.css",
    "https://cdn.rawgit.com/ejci/favico.js/master/favico-0.3.10.min.js": "favico.js/favico-0.3.10.min.js",
    "https://cdnjs.cloudflare.com/ajax/libs/popper.js/1.11.0/umd/popper.min.js": "popper.js/dist/umd/popper.min.js",
    "https://maxcdn.bootstrapcdn.com/bootstrap/4.0.0-beta/js/bootstrap.min.js": "bootstrap/dist/js/bootstrap.min.js",
    "https://maxcdn.bootstrapcdn.com/bootstrap/4.0.0-beta/css/bootstrap.min.css": "bootstrap/dist/css/bootstrap.min.css",
}


@asynccontextmanager
async def a_game_on_the_bus(folder: Path) -> AsyncIterator[tuple[World, Game]]:
    """The tutorial world, up, with the people of Duskmarket in it; the ladder answers for them."""
    settings = Settings.read({}, data=str(folder), world="duskmarket", partitions="2", durability="relaxed")
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(open_world(settings, own=True, name="test-evennia-web"))
        await start_clock(world.log, world.publisher, settings.world, SCALE)
        await stack.enter_async_context(serve(world, handlers=ALL, projections=PROJECTIONS, ticks=True, tiers=[LADDER]))
        game = Game(settings.data, ROOT / ".venv-evennia", url=world.servers.nats_url, world=settings.world)
        stack.push_async_callback(game.stop)
        await game.start()
        yield world, game


async def without_the_internet(page: Page) -> None:
    """The page finds the libraries that it loads from content networks, and nothing else of the world outside."""

    async def answer(route: Route) -> None:
        library = ELSEWHERE.get(route.request.url)
        if library is not None:
            await route.fulfill(path=LIBRARIES / library, headers={"Access-Control-Allow-Origin": "*"})
        elif route.request.url.startswith("http://127.0.0.1:"):
            await route.continue_()
        else:
            await route.abort()

    await page.route("**/*", answer)
