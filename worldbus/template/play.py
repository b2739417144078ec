"""A short life of the world: `make demo`, or `python play.py --seconds 10 --seed 7`.

Starts NATS and Postgres in `.worldbus/`, runs the game's handlers, its projections and its clock, lets a few players act by dice, and
prints what the tables and the log have of it. The data stays: afterwards `worldbus sql`, `worldbus tail` and the other verbs work on it.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from random import Random

import asyncpg
import structlog
from google.protobuf.message import Message
from schemas.gen.worldbus.game.v1.game_pb2 import PlayerSpoke
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerJoined
from schemas.gen.worldbus.weather.v1.weather_pb2 import ZoneDeclared
from worldbus import Draft, Settings, World, choose, open_world, serve, until_quiet
from worldbus.standard.edges import read_lore, start_clock

from newgame import game
from newgame.gen.newgame.beacon.v1.beacon_pb2 import BeaconLightRequested

PLACES = ("headland", "jetty", "inn")
BEACONS = ("north", "reef", "harbour")
PEOPLE = ("ansa", "brun", "cato")
WORDS = ("Is she lit?", "What is out there tonight?", "Seven ships, I counted.")
SPEED = 360  # world seconds per real second: an hour of the world in ten seconds
TABLES = (
    "SELECT beacon, burning, keeper, times_lit FROM beacons ORDER BY beacon",
    "SELECT npc, action, place FROM npcs ORDER BY npc",
    "SELECT zone, sky, temperature_c FROM weather ORDER BY zone",
)


def opening() -> Iterator[tuple[str, Message]]:
    """The events before the first deed: (entity, event)."""
    for place in PLACES:
        yield place, ZoneDeclared(climate="coast")
    for player in ("mira", "tom"):
        yield player, PlayerJoined(display_name=player.title(), zone="jetty")


def turn(dice: Random) -> tuple[str, Message]:
    """The next deed of one of the players: (entity, event)."""
    player = dice.choice(("mira", "tom"))
    if dice.random() < 0.5:
        return dice.choice(BEACONS), BeaconLightRequested(oil_minutes=dice.choice((0, 20, 40)), keeper=player)
    return player, PlayerSpoke(npc=dice.choice(PEOPLE), text=dice.choice(WORDS))


async def play(settings: Settings, seconds: float, dice: Random) -> None:
    """Let the world live for that long, then print what happened."""
    async with open_world(settings, name="newgame-play") as world:
        began = (await world.log.state()).last
        await read_lore(world, game.content)
        await start_clock(world, speed=SPEED)
        async with serve(world, handlers=game.handlers, projections=game.projections, ticks=True, tiers=["ladder"]):
            for entity, event in opening():
                await publish(world, entity, event)
            until = asyncio.get_running_loop().time() + seconds
            while asyncio.get_running_loop().time() < until:
                await publish(world, *turn(dice))
                await asyncio.sleep(0.25)
            await report(world, began, await until_quiet(world))


async def publish(world: World, entity: str, event: Message) -> None:
    """One event from the game server, `game`."""
    await world.publisher.publish(Draft(data=event, world=world.settings.world, entity=entity, subsystem="game"))


async def report(world: World, began: int, ended: int) -> None:
    """Print the log and the tables."""
    print(f"Newgame lived: {ended - began} events, positions {began + 1} to {ended} of the log. Of beacons, and what people said:")
    async for events in world.log.read(after=began, until=ended):
        for event in events:
            if event.kind.startswith("Beacon") or event.kind == "NpcSpoke":
                print(f"  {event.position:>5}  {event.subsystem}:{event.entity}  {event.kind} {event.data!s}".replace("\n", " ").rstrip())
    reader = await asyncpg.connect(world.servers.reader_dsn)
    for query in TABLES:
        print(query)
        for row in await reader.fetch(query):
            print("  " + "  ".join(f"{name}={value}" for name, value in row.items()))
    await reader.close()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="A short life of Newgame.")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    choose(game)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    os.chdir(Path(__file__).parent)  # where the data is
    asyncio.run(play(Settings.read(os.environ), wanted.seconds, Random(wanted.seed)))


if __name__ == "__main__":
    main()
