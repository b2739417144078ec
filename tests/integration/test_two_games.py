"""Two games on one bus, each in its worlds: different calendars, prices and people, and no word of one in a world of the other."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pytest

from bus.connection import connect
from bus.event import Draft, Event
from bus.log import Log, open_log
from bus.played import EVERYTHING, Played
from bus.presence import Presence
from bus.publisher import Publisher, open_publisher
from bus.rules import producer
from bus.runtime import Runtime, run_handlers
from bus.verify import Report, Verifier
from handlers.content import Content
from schemas.gen.worldbus.game.v1.game_pb2 import PlayerSpoke
from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceRequested
from schemas.gen.worldbus.payment.v1.payment_pb2 import PurchaseCompleted, PurchaseRequested
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerJoined
from schemas.gen.worldbus.time.v1.time_pb2 import ClockStarted, ClockStartRequested
from tests.duskmarket import FOLDER
from worldbus.checks.running import games
from worldbus.consumers import drifted
from worldbus.embedded import NatsServer
from worldbus.game import Game
from worldbus.lag import consumers
from worldbus.roll_call import roll_call
from worldbus.standard import SUBSYSTEMS
from worldbus.ticker.begin import EDGE as TICKER

MAIN, ISLE, NORTH = "main", "isle", "north"  # the first two are one game's
HANDLERS: Final = ("time", "player", "payment", "inventory", "npc")
PRICES: Final = {MAIN: 450, ISLE: 99, NORTH: 77}
PEOPLE: Final = {MAIN: "Widow Hask", ISLE: "Widow Hask", NORTH: "Harbourmaster Ilse"}
WITHOUT_NEWS_S: Final = 120


@dataclass(frozen=True)
class Bus:
    """One server on which both games run."""

    log: Log
    publisher: Publisher
    runtimes: dict[str, Runtime]


@pytest.fixture
def own_nats(data_folder: Path) -> Iterator[NatsServer]:
    """A server of this test's own: a server holds one log."""
    server = NatsServer(data_folder / "nats", password="only-for-tests", strict=False)
    server.start()
    yield server
    server.stop()


def content(folder: Path, **texts: dict[str, str]) -> Content:
    """A folder of content like the sample's, with these texts instead of those, by file."""
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("lore", "*.py", "__pycache__"))
    for file, changes in texts.items():
        path = folder / f"{file}.toml"
        text = path.read_text(encoding="utf-8")
        for old, new in changes.items():
            assert old in text
            text = text.replace(old, new)
        path.write_text(text, encoding="utf-8")
    return Content(folder)


@pytest.fixture
def games_(tmp_path: Path) -> dict[str, Game]:
    """The sample game, with an island that has prices of its own, and another game in the north."""
    handlers = tuple(one for one in SUBSYSTEMS if one.name in HANDLERS)
    isle = content(tmp_path / "isle", prices={"{ crowns = 450 }": f"{{ crowns = {PRICES[ISLE]} }}"})
    north = content(
        tmp_path / "north",
        prices={"{ crowns = 450 }": f"{{ crowns = {PRICES[NORTH]} }}"},
        calendar={"hours_per_day = 24": "hours_per_day = 30", '"spring"': '"thaw"'},
        npcs={"widow-hask": "harbourmaster-ilse", "Widow Hask": PEOPLE[NORTH]},
        factions={"widow-hask": "harbourmaster-ilse"} if "widow-hask" in (FOLDER / "factions.toml").read_text() else {},
    )
    dusk = Game(
        name="duskmarket",
        mark="",
        handlers=handlers,
        projections=(),
        content=Content(FOLDER),
        worlds={ISLE: isle},
        plays=frozenset({MAIN, ISLE}),
    )
    return {"dusk": dusk, "north": Game(name="north", handlers=handlers, projections=(), content=north, plays=frozenset({NORTH}))}


@asynccontextmanager
async def process(server: NatsServer, *games: Game) -> AsyncIterator[Bus]:
    """Both games, each as if it were a process of its own."""
    async with AsyncExitStack() as stack:
        connection = await stack.enter_async_context(connect(server.url, name="test"))
        log = await open_log(connection)
        stack.push_async_callback(log.aclose)
        publisher = await stack.enter_async_context(open_publisher(connection, log, "relaxed"))
        runtimes = {}
        for game in games:
            presence = Presence()
            presence.game, presence.worlds = game.name, sorted(game.plays or ())
            runtimes[game.name] = await stack.enter_async_context(
                run_handlers(connection, log, game.handlers, presence=presence, known=game.by_name)
            )
        yield Bus(log, publisher, runtimes)


async def play(bus: Bus, world: str, npc: str) -> None:
    """The same evening in any world."""
    for message, entity, subsystem in (
        (ClockStartRequested(scale=60_000), "clock", TICKER),
        (PlayerJoined(display_name="Mira", zone="quay"), "mira", "game"),
        (PurchaseRequested(sku="lantern", request_id="first"), "mira", "game"),
        (PlayerSpoke(npc=npc, text="Good evening."), "mira", "game"),
    ):
        await bus.publisher.publish(Draft(data=message, world=world, entity=entity, subsystem=subsystem))


async def events(log: Log) -> list[Event]:
    return [event async for batch in log.read() for event in batch]


async def until_answered(bus: Bus, games: Iterable[Game]) -> list[Event]:
    """Wait until every input of every game has its answer."""
    handlers = [handler for game in games for handler in game.handlers]
    last, quiet = -1, 0
    async with asyncio.timeout(WITHOUT_NEWS_S):
        while quiet < 3:
            behind = sum(one.behind for one in await consumers(bus.log, handlers))
            now = (await bus.log.state()).last
            quiet, last = (quiet + 1 if not behind and now == last else 0), now
    return await events(bus.log)


def judged(log: Log, game: Game, log_events: Iterable[Event], played: Played | None = None) -> Report:
    """The log decided again by one game."""
    handlers = game.handlers if played is None else tuple(replace(one, played=played) for one in game.handlers)
    verifier = Verifier(handlers, partitions=log.partitions, known=game.by_name)
    last = 0
    for event in log_events:
        verifier.take(event)
        last = event.position
    return verifier.finish(lambda handler, partition: last)


def of(log_events: Iterable[Event], kind: type[Any], world: str) -> list[Any]:
    return [event.data for event in log_events if event.name == kind.DESCRIPTOR.name and event.world == world]


async def test_two_games_play_on_one_bus_each_in_its_worlds(own_nats: NatsServer, games_: dict[str, Game]) -> None:
    dusk, north = games_["dusk"], games_["north"]
    async with process(own_nats, dusk, north) as bus:
        await play(bus, MAIN, "widow-hask")
        await play(bus, ISLE, "widow-hask")
        await play(bus, NORTH, "harbourmaster-ilse")
        found = await until_answered(bus, (dusk, north))
        members = await roll_call(bus.log.connection, bus.log.name)
        amiss = {**await drifted(bus.log, dusk.handlers), **await drifted(bus.log, north.handlers)}
        names = {one.name for game in (dusk, north) for one in await consumers(bus.log, game.handlers)}
    decided = {name: {one: runner.tally.decided for one, runner in runtime.runners.items()} for name, runtime in bus.runtimes.items()}

    for world, price in PRICES.items():
        assert [one.price_minor for one in of(found, PurchaseCompleted, world)] == [price]
        (started,) = of(found, ClockStarted, world)
        assert started.calendar.hours_per_day == (30 if world == NORTH else 24)
        assert started.calendar.seasons[0].name == ("thaw" if world == NORTH else "spring")
        (asked,) = of(found, InferenceRequested, world)
        assert PEOPLE[world] in " ".join(part.text for part in asked.prompt)
    for event in found:
        strangers = (
            {b"Harbourmaster Ilse", b"harbourmaster-ilse", b"thaw"} if event.world != NORTH else {b"Widow Hask", b"widow-hask", b"spring"}
        )
        assert not any(word in event.raw for word in strangers), event.subject
        if event.subsystem in HANDLERS:
            game = north if event.world == NORTH else dusk
            assert producer(game.handler(event.subsystem).of(event.world)).encode() in event.raw

    for game, worlds in ((dusk, {MAIN, ISLE}), (north, {NORTH})):
        report = judged(bus.log, game, found)
        inputs = sum(event.world in worlds and event.name == "PurchaseRequested" for event in found)
        assert (report.percent, report.different, report.open) == (100, 0, 0)
        assert report.handlers["payment"].decisions >= inputs > 0
        assert judged(bus.log, game, found, EVERYTHING).different > 0, "by its own rules the other game's worlds look otherwise"
        assert all(decided[game.name].values()), "each of them had something to decide"

    assert amiss == {}
    assert {"payment_0", "payment_operator", "north~payment_0", "north~payment_operator"} <= names
    assert sorted(label for one in members for label in one.handlers) == sorted([*HANDLERS, *(f"north~{name}" for name in HANDLERS)])
    assert sorted((one.game, *one.worlds) for one in members) == [("duskmarket", ISLE, MAIN), ("north", NORTH)]
    assert games(members).ok


async def test_a_game_takes_up_its_own_worlds_after_a_restart(own_nats: NatsServer, games_: dict[str, Game]) -> None:
    """What came while it was away is its own to answer; the other game has passed over it long ago."""
    dusk, north = games_["dusk"], games_["north"]
    async with process(own_nats, dusk) as bus:
        await play(bus, NORTH, "harbourmaster-ilse")
        await play(bus, MAIN, "widow-hask")
        found = await until_answered(bus, (dusk,))
        assert not [event for event in found if event.world == NORTH and event.subsystem in HANDLERS]
    async with process(own_nats, north) as bus:
        found = await until_answered(bus, (north,))

    assert [one.price_minor for one in of(found, PurchaseCompleted, NORTH)] == [PRICES[NORTH]]
    assert [one.price_minor for one in of(found, PurchaseCompleted, MAIN)] == [PRICES[MAIN]]


async def test_two_games_in_the_same_world_are_told(own_nats: NatsServer, games_: dict[str, Game]) -> None:
    """Each would answer what the other answers: nothing stops that, and `check` is red."""
    everywhere = replace(games_["north"], plays=None)
    async with process(own_nats, games_["dusk"], everywhere) as bus:
        members = await roll_call(bus.log.connection, bus.log.name)

    finding, alike = games(members), games([members[0], replace(members[0], worlds=[ISLE])])
    assert not alike.ok
    assert "differ about its worlds" in alike.found
    assert not finding.ok
    assert "duskmarket and north both play the world isle, main" in finding.found
