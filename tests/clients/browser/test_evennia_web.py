"""Evennia's own web client in a real Chromium: a newcomer finds it from the address that the demo prints, logs in, and is answered."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bus.event import Draft, Event
from clients.evennia.demo.game import Game
from schemas.gen.worldbus.game.v1.game_pb2 import PlayerSpoke
from schemas.gen.worldbus.npc.v1.npc_pb2 import NpcSpoke
from tests.clients.browser.conftest import PATIENCE_S
from tests.clients.browser.evennia import a_game_on_the_bus, without_the_internet
from worldbus.opening import World

if TYPE_CHECKING:
    from playwright.async_api import Page

PASSWORD = "only-for-tests-3"
ROOM = "The Evennia Inn"  # where Doctor Vane works in the morning
QUESTION = "Doctor Vane, have you seen the ferryman?"
HOSTILE = "<img src=x onerror=\"document.title='taken'\"> |r{caller} $pron(you)"


async def types(page: Page, line: str) -> None:
    await page.locator(".inputfield").first.fill(line)
    await page.locator(".inputfield").first.press("Enter")


async def shows(page: Page, words: str) -> None:
    """Wait until the page shows it."""
    await page.locator(".content").get_by_text(words).first.wait_for()


async def log_in(page: Page, game: Game, name: str) -> None:
    """As somebody would who has never been here: from the address that the demo prints."""
    await page.goto(f"http://127.0.0.1:{game.ports['web']}")
    await page.locator("a[href='/webclient/']").first.click()
    await shows(page, "If you have an existing account")
    await types(page, f"create {name} {PASSWORD}")
    await shows(page, "Is this what you intended?")
    await types(page, "yes")
    await shows(page, "was created")
    await types(page, f"connect {name} {PASSWORD}")
    await shows(page, f"You become {name}")


async def recorded(world: World, of: type, count: int) -> list[Event]:
    """So many events of one kind."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            last = (await world.log.state()).last
            events = [event async for batch in world.log.read(until=last) for event in batch if isinstance(event.data, of)]
            if len(events) >= count:
                return events
            await asyncio.sleep(0.2)


@pytest.mark.timeout(600)
async def test_a_newcomer_logs_in_by_browser_speaks_and_is_answered_in_the_room(page: Page, data_folder: Path) -> None:
    from playwright.async_api import expect

    await without_the_internet(page)
    async with a_game_on_the_bus(data_folder) as (world, game):
        other = await game.enter("Other", PASSWORD, create=True)  # by telnet
        other.type(f"teleport {ROOM}")
        await other.until(ROOM)
        await log_in(page, game, "Mira")
        await types(page, f"teleport {ROOM}")
        await shows(page, "Doctor Vane")
        await types(page, f"say {QUESTION}")
        await shows(page, f'You say, "{QUESTION}"')
        await shows(page, 'Doctor Vane says to Mira, "')
        await other.until("Doctor Vane says to Mira", within=PATIENCE_S)

        (asked,) = await recorded(world, PlayerSpoke, 1)
        (answered,) = await recorded(world, NpcSpoke, 1)
        assert isinstance(asked.data, PlayerSpoke)
        assert isinstance(answered.data, NpcSpoke)
        assert (asked.data.npc, asked.data.place, asked.data.text) == ("doctor-vane", "fishmarket", QUESTION)
        assert answered.data.player == asked.entity
        await shows(page, f'"{answered.data.text}"')

        # What a model says is text here too.
        spoke = NpcSpoke(player=asked.entity, text=HOSTILE, place="fishmarket", request_id="none")
        await world.publisher.publish(Draft(data=spoke, world=world.settings.world, entity="doctor-vane", subsystem="npc"))
        await shows(page, HOSTILE)
        await expect(page.locator(".content img")).to_have_count(0)
        assert await page.title() != "taken"
        assert game.problems() == []
        await other.close()
