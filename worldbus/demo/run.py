"""One run of the demo: open the world, let players live in it, wait until all is quiet, count."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bus.errors import WorldbusError
from handlers import ALL
from projections.catalogue import PROJECTIONS
from projections.store import connected
from worldbus.compose import World, open_world, serve
from worldbus.demo.account import Account
from worldbus.demo.ledger import Ledger
from worldbus.demo.players import Player, Versions, play, zones
from worldbus.demo.report import Report, report
from worldbus.demo.witness import Witness
from worldbus.lag import consumers
from worldbus.ticker import start_clock, tick

if TYPE_CHECKING:
    from worldbus.settings import Settings

SCALE = 1_440_000  # world milliseconds per real second: a day in a minute
QUIET_S = 60.0  # how long handlers and projector may take to finish when the players are gone
PROGRESS_S = 0.5
_ARCHIVED = "SELECT position, event_id FROM worldbus.events WHERE position > $1 AND position <= $2"

Tell = Callable[[str, float], None]  # what is going on, and the share that is done


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the demo is asked for."""

    players: int = 20
    seconds: float = 60.0
    seed: int = 1


class NotQuiet(WorldbusError):
    """Handlers or projector did not come to the end of the log."""

    code = "NOT_QUIET"


async def run(settings: Settings, wanted: Wanted, tell: Tell) -> Report:
    """Run the demo on the servers of `settings` and report. The data stays where it is."""
    tell("starting the servers", 0.0)
    async with open_world(settings, own=settings.embedded_nats or settings.embedded_postgres, name="worldbus-demo") as world:
        async with serve(world, handlers=ALL, projections=PROJECTIONS):
            start = (await world.log.state()).last
            async with Witness.open(world.servers.postgres_dsn) as witness:
                ledger = Ledger(world.publisher)
                await _live(world, ledger, wanted, start, tell)
                tell("waiting until all is handled and projected", 1.0)
                last = await _quiet(world)
                await witness.wait_for(last)
        tell("counting", 1.0)
        return await _count(world, ledger, witness, wanted, start, last)


async def _live(world: World, ledger: Ledger, wanted: Wanted, start: int, tell: Tell) -> None:
    name, versions = world.settings.world, Versions()
    await start_clock(world.log, ledger, name, SCALE)
    for draft in zones(name, wanted.seed):
        await ledger.insist(draft)
    clock = asyncio.get_running_loop().time
    begin = clock()
    until = begin + wanted.seconds
    async with asyncio.TaskGroup() as edges:
        background = [
            edges.create_task(tick(world.log, ledger, name), name="ticker"),
            edges.create_task(versions.follow(world.log, name, start), name="versions"),
            edges.create_task(_tell(ledger, tell, begin, wanted), name="progress"),
        ]
        async with asyncio.TaskGroup() as group:
            for number in range(1, wanted.players + 1):
                group.create_task(play(Player.of(name, wanted.seed, number), ledger, versions, until), name=f"player-{number}")
            group.create_task(asyncio.sleep(wanted.seconds), name="time")
        for task in background:
            task.cancel()
    await ledger.settle()


async def _tell(ledger: Ledger, tell: Tell, begin: float, wanted: Wanted) -> None:
    clock = asyncio.get_running_loop().time
    while True:
        passed = min(clock() - begin, wanted.seconds)
        said = f"{len(ledger.promises)} events published by {wanted.players} players and the clock"
        tell(f"{passed:3.0f} s of {wanted.seconds:.0f} s, {said}", passed / wanted.seconds)
        await asyncio.sleep(PROGRESS_S)


async def _quiet(world: World) -> int:
    """Return the log's last position once every handler has settled everything up to it and the tables hold it."""
    async with AsyncExitStack() as stack, asyncio.timeout(QUIET_S):
        try:
            connection = await stack.enter_async_context(connected(world.servers.postgres_dsn))
            while True:
                before = (await world.log.state()).last
                behind = [one for one in await consumers(world.log, ALL) if one.behind]
                projected = await connection.fetchval("SELECT position FROM worldbus.checkpoint")
                if not behind and projected == before and (await world.log.state()).last == before:
                    return before
                await asyncio.sleep(0.05)
        except TimeoutError as error:
            late = ", ".join(f"{one.name} by {one.behind}" for one in behind)
            raise NotQuiet(
                f"wanted all {before} events handled and projected within {QUIET_S:.0f} s, found the tables at {projected} "
                f"and behind: {late or 'nobody'}; look with `worldbus lag`"
            ) from error


async def _count(world: World, ledger: Ledger, witness: Witness, wanted: Wanted, start: int, last: int) -> Report:
    account = Account(ALL)
    async for events in world.log.read(after=start, until=last):
        account.take(events)
    async with connected(world.servers.postgres_dsn) as connection:
        rows: list[Any] = await connection.fetch(_ARCHIVED, start, last)
    account.settle(ledger.promises, {row["position"]: row["event_id"] for row in rows})
    return report(
        account,
        witness,
        projected=len(rows),
        world=world.settings.world,
        players=wanted.players,
        seconds=wanted.seconds,
        seed=wanted.seed,
        durability=world.settings.durability,
        first=start + 1,
        last=last,
        published=len(ledger.promises),
    )
