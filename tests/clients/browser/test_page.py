"""The example page of the TypeScript client in a real Chromium, over WebSocket on a real nats-server: what a visitor does is in the log
once, and what the world says is on the page, as text."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest
import pytest_asyncio

from bus.connection import Connection
from bus.event import Draft, Event
from bus.log import Log
from bus.publisher import Publisher, open_publisher
from bus.signals import signal
from schemas.gen.worldbus.game.v1.game_pb2 import PlayerSpoke
from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceStarted
from schemas.gen.worldbus.inference.v1.types_pb2 import TokensDelivered
from schemas.gen.worldbus.npc.v1.npc_pb2 import NpcActed, NpcSpoke
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerJoined, PlayerMoved
from schemas.gen.worldbus.weather.v1.weather_pb2 import WeatherChanged
from tests.clients.browser.conftest import PATIENCE_S
from tests.clients.typescript.conftest import PASSWORD, WebSocketServer
from worldbus.embedded.websocket import USER

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from playwright.async_api import Page

pytestmark = pytest.mark.timeout(600)
VISITOR = "Mira of Öland"
PLAYER = "mira-of-oland"


class World:
    """The other side of the bus: speaks as the world does, and reads what the visitor did."""

    def __init__(self, connection: Connection, publisher: Publisher, log: Log) -> None:
        self._connection, self._publisher, self._log = connection, publisher, log

    async def says(self, subsystem: str, entity: str, data: Message) -> None:
        await self._publisher.publish(Draft(data=data, world="w1", entity=entity, subsystem=subsystem))

    async def speaks(self, text: str, *, npc: str = "widow-hask", request: str = "") -> None:
        await self.says("npc", npc, NpcSpoke(player=PLAYER, text=text, place="quay", request_id=request))

    def chunk(self, request: str, text: str, *, sequence: int, last: bool = False) -> None:
        chunk = TokensDelivered(request_id=request, attempt=1, sequence=sequence, text=text, last=last)
        signal(self._connection, f"sig.w1.tokens.{request}", chunk.SerializeToString())

    async def of_the_game(self) -> list[Event]:
        """The events of the page, heartbeats left out."""
        last = (await self._log.state()).last
        events = [event async for batch in self._log.read(until=last) for event in batch] if last else []
        return [event for event in events if event.subsystem == "game" and event.name != "PlayerHeartbeat"]

    async def wait_for(self, count: int) -> list[Event]:
        """So many of the page's events."""
        async with asyncio.timeout(PATIENCE_S):
            while len(events := await self.of_the_game()) < count:
                await asyncio.sleep(0.1)
        return events


@pytest_asyncio.fixture
async def world(server: WebSocketServer, connection: Connection, log: Log) -> AsyncIterator[World]:
    async with open_publisher(connection, log, "relaxed", monitors=[server.monitor_url]) as publisher:
        yield World(connection, publisher, log)


async def enter(page: Page, site: str, server: WebSocketServer) -> None:
    """Open the page and go in."""
    bus = server.websocket_url.replace("//", f"//{USER}:{PASSWORD}@")
    await page.goto(f"{site}/#{urlencode({'bus': bus, 'world': 'w1'})}")
    await page.get_by_label("Your name").fill(VISITOR)
    await page.get_by_role("button", name="Enter").click()
    await page.locator("main").wait_for()


@pytest_asyncio.fixture
async def visit(page: Page, site: str, server: WebSocketServer, world: World) -> Page:
    """The page, a visitor being in."""
    await enter(page, site, server)
    return page


async def says(page: Page, words: str) -> None:
    await page.get_by_label("Words").fill(words)
    await page.get_by_role("button", name="Say").click()


async def test_what_a_visitor_does_is_in_the_log_once(visit: Page, world: World) -> None:
    await visit.get_by_label("To whom").select_option("Pockets")
    await says(visit, "Have you seen the ferryman?")
    await visit.get_by_role("button", name="The fish market").click()
    await visit.get_by_role("heading", name="The fish market").wait_for()
    await visit.locator("#said .mine[data-state=recorded]").wait_for()

    events = await world.wait_for(3)
    assert [(event.entity, event.world, event.data) for event in events] == [
        (PLAYER, "w1", PlayerJoined(display_name=VISITOR, platform="browser", game_server="page", zone="quay")),
        (PLAYER, "w1", PlayerSpoke(npc="pockets", place="quay", text="Have you seen the ferryman?")),
        (PLAYER, "w1", PlayerMoved(zone="fishmarket")),
    ]


async def test_lines_are_seen_chunk_by_chunk_and_then_as_the_log_has_them(visit: Page, world: World) -> None:
    from playwright.async_api import expect

    lines = visit.locator("#said .heard")
    await world.says(
        "inference", "r1", InferenceStarted(request_id="r1", requester_subsystem="npc", requester_entity="widow-hask", attempt=1)
    )
    world.chunk("r1", "He left", sequence=0)
    await expect(lines).to_have_text(["Widow Hask: He left"])
    await expect(lines).to_have_attribute("data-state", "speaking")
    world.chunk("r1", "in autumn.", sequence=1, last=True)
    await expect(lines).to_have_text(["Widow Hask: He left in autumn."])
    await world.speaks("He left in autumn, they say.", request="r1")
    await expect(lines).to_have_text(["Widow Hask: He left in autumn, they say."])
    await world.speaks("A line without a model.", npc="pockets")
    await expect(lines).to_have_text(["Widow Hask: He left in autumn, they say.", "Pockets: A line without a model."])


async def test_chunks_of_somebody_elsewhere_are_not_heard(visit: Page, world: World) -> None:
    from playwright.async_api import expect

    await world.says(
        "inference", "r1", InferenceStarted(request_id="r1", requester_subsystem="npc", requester_entity="warden-pell", attempt=1)
    )
    world.chunk("r1", "The pass is closed.", sequence=0)
    await world.says(
        "npc", "warden-pell", NpcSpoke(player="somebody-else", text="The pass is closed.", place="north-pass", request_id="r1")
    )
    await world.speaks("Here one hears me.")

    await expect(visit.locator("#said .heard")).to_have_text(["Widow Hask: Here one hears me."])


async def test_the_weather_and_who_is_here_are_known_at_once_and_follow_the_log(
    page: Page, site: str, server: WebSocketServer, world: World
) -> None:
    from playwright.async_api import expect

    for sky in ("fog", "storm"):
        await world.says("weather", "quay", WeatherChanged(sky=sky))
    await world.says("npc", "old-marrow", NpcActed(action="chat", place="quay", previous_place="fishmarket", cause="pulse"))
    await enter(page, site, server)

    await expect(page.locator("#sky")).to_have_text("storm")
    await expect(page.get_by_label("To whom").locator("option")).to_have_text(["Widow Hask", "Pockets", "Old Marrow"])
    await world.says("weather", "quay", WeatherChanged(sky="clear"))
    await world.says("npc", "pockets", NpcActed(action="walk", place="fishmarket", previous_place="quay", cause="pulse"))
    await expect(page.locator("#sky")).to_have_text("clear")
    await expect(page.get_by_label("To whom").locator("option")).to_have_text(["Widow Hask", "Old Marrow"])
    await expect(page.get_by_text("Pockets leaves for The fish market.")).to_be_visible()


async def test_a_server_killed_while_a_visitor_speaks_loses_and_doubles_nothing(visit: Page, server: WebSocketServer, world: World) -> None:
    from playwright.async_api import expect

    state = visit.get_by_role("status")
    for number in range(3):
        await says(visit, f"before {number}")
        server.kill()
        await expect(state).to_have_attribute("data-state", "away")
        await says(visit, f"during {number}")
        await expect(visit.locator("#said .mine").last).to_have_attribute("data-state", "waiting")
        server.start()
        await expect(state).to_have_attribute("data-state", "here")
    await expect(visit.locator("#said .mine[data-state=recorded]")).to_have_count(6)

    spoken = [event.data.text for event in await world.of_the_game() if isinstance(event.data, PlayerSpoke)]
    assert spoken == [f"{when} {number}" for number in range(3) for when in ("before", "during")]


async def test_an_answer_that_was_lost_on_its_way_doubles_nothing(page: Page, site: str, server: WebSocketServer, world: World) -> None:
    """The log has the words, the page does not hear so: it says them again, which is recorded once."""
    from playwright.async_api import WebSocketRoute, expect

    lines: list[WebSocketRoute] = []
    deaf = False

    def between(line: WebSocketRoute) -> None:
        lines.append(line)
        upstream = line.connect_to_server()
        upstream.on_message(lambda words: None if deaf else line.send(words))

    await page.route_web_socket("**/*", between)
    await enter(page, site, server)
    await world.wait_for(1)
    deaf = True
    await says(page, "Did you hear?")
    await world.wait_for(2)
    await expect(page.locator("#said .mine")).to_have_attribute("data-state", "waiting")
    deaf = False
    await lines[0].close()
    await expect(page.locator("#said .mine")).to_have_attribute("data-state", "recorded")

    assert len(lines) == 2
    assert [event.name for event in await world.of_the_game()] == ["PlayerJoined", "PlayerSpoke"]


async def test_what_is_said_while_the_page_is_cut_off_is_heard_once_in_order_and_nothing_from_before(
    page: Page, site: str, server: WebSocketServer, world: World
) -> None:
    """Also by a page that had heard nothing when it was cut off: what is new begins when it came in, not when it came back."""
    from playwright.async_api import expect

    await world.speaks("Before you came.")
    await enter(page, site, server)
    heard = page.locator("#said .heard")
    server.kill()
    await expect(page.get_by_role("status")).to_have_attribute("data-state", "away")
    server.start()
    for number in range(20):
        await world.speaks(f"line {number}")
    await expect(heard).to_have_text([f"Widow Hask: line {number}" for number in range(20)])
    server.kill()
    server.start()
    await world.speaks("And again.")
    await expect(heard.last).to_have_text("Widow Hask: And again.")
    await expect(heard).to_have_count(21)


HOSTILE = (
    "<img src=x onerror=\"document.title='taken'\">",
    "<script>document.title='taken'</script>",
    "</li></ol><h1 onclick=x>&lt;b&gt;",
    "javascript:document.title='taken'",
)


async def test_words_are_text_whatever_they_hold(visit: Page, world: World) -> None:
    from playwright.async_api import expect

    elements = "document.querySelectorAll('#said *, #sky *, #hour *, #speak *').length"
    lines = visit.locator("#said .heard")
    for number, text in enumerate(HOSTILE):
        await world.says(
            "inference",
            f"r{number}",
            InferenceStarted(request_id=f"r{number}", requester_subsystem="npc", requester_entity="pockets", attempt=1),
        )
        world.chunk(f"r{number}", text, sequence=0)
        await expect(lines.nth(number)).to_have_text(f"Pockets: {text}")
        await world.speaks(text, npc="pockets", request=f"r{number}")
    for text in HOSTILE:
        await world.says("npc", "some-npc", NpcSpoke(player=PLAYER, text=text, place="quay"))
    await world.says("weather", "quay", WeatherChanged(sky=HOSTILE[0]))
    await expect(visit.locator("#sky")).to_have_text(HOSTILE[0])
    await expect(lines).to_have_text([*(f"Pockets: {text}" for text in HOSTILE), *(f"some-npc: {text}" for text in HOSTILE)])

    people = 2
    assert await visit.evaluate(elements) == 2 * len(HOSTILE) * 2 + 3 + people
    assert await visit.title() == "Duskmarket"


async def test_a_bus_that_does_not_answer_is_said(page: Page, site: str) -> None:
    from playwright.async_api import expect

    await page.goto(f"{site}/#{urlencode({'bus': 'ws://127.0.0.1:1', 'world': 'w1', 'name': 'Mira'})}")
    await page.get_by_role("button", name="Enter").click()

    await expect(page.get_by_role("alert")).to_contain_text("The town does not answer")
    await expect(page.get_by_label("Your name")).to_be_visible()
