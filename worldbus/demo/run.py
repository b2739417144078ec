"""One run of the demo: open the world, let the game's bots live in it, wait until all is quiet, count."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Final

from handlers.time_manager import time
from worldbus.compose import World, open_world, serve
from worldbus.demo.bots import asked, bots_of, check_bots
from worldbus.demo.count import count_up, decide_us
from worldbus.demo.ledger import Ledger
from worldbus.demo.lore import ingest
from worldbus.demo.releases import publish_releases
from worldbus.demo.witness import Witness
from worldbus.former import Now, former
from worldbus.games import current
from worldbus.quiet import QUIET_S as _QUIET_S
from worldbus.quiet import NotQuiet as _NotQuiet
from worldbus.quiet import until_quiet
from worldbus.ticker import start_clock, tick
from worldbus.tiers import LADDER

if TYPE_CHECKING:
    from bus.log import Log
    from worldbus.demo.bots import Bot, Bots
    from worldbus.demo.report import Report
    from worldbus.game import Game
    from worldbus.settings import Settings

SCALE = 360_000  # world milliseconds per real second: six hours in a minute
PROGRESS_S = 0.5
TURN_S = 1.0

Tell = Callable[[str, float], None]  # what is going on, and the share that is done


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The options of the demo."""

    players: int = 20
    seconds: float = 60.0
    seed: int = 1


async def run(settings: Settings, wanted: Wanted, tell: Tell) -> Report:
    """Run the demo on the servers of `settings` and report. The data stays where it is. Raises `BadSettings` if the game has no bots."""
    game = current()
    check_bots(game)
    tell("starting the servers", 0.0)
    async with open_world(settings, own=settings.embedded_nats or settings.embedded_postgres, name="worldbus-demo") as world:
        start = (await world.log.state()).last
        bots = bots_of(game, settings.world, players=wanted.players, seed=wanted.seed, run=start)
        async with serve(world, handlers=game.handlers, projections=game.projections, tiers=[LADDER]) as runtime:
            async with Witness.open(world.servers.postgres_dsn) as witness:
                ledger = Ledger(world.publisher)
                await _live(game, world, bots, ledger, wanted, tell)
                tell("waiting until all is handled and projected", 1.0)
                last = await until_quiet(world)
                await witness.wait_for(last)
            measured = decide_us(runtime)
        tell("counting", 1.0)
        return await count_up(
            game,
            world,
            bots,
            ledger.promises,
            witness,
            last=last,
            seconds=wanted.seconds,
            decide_us=measured,
        )


async def _live(game: Game, world: World, bots: Bots, ledger: Ledger, wanted: Wanted, tell: Tell) -> None:
    name, clocked = world.settings.world, time.name in game.by_name
    await ingest(world.log, ledger, bots.stage.content, name)
    if clocked:
        await start_clock(world.log, ledger, name, SCALE)
    for draft in asked(lambda: [*bots.opening()]):
        await ledger.insist(draft)
    clock = asyncio.get_running_loop().time
    begin = clock()
    until = begin + wanted.seconds
    async with asyncio.TaskGroup() as edges:
        background = [
            edges.create_task(_hear(bots, world.log), name="bots hear"),
            edges.create_task(_turns(bots, ledger), name="turns"),
            edges.create_task(_tell(bots, ledger, tell, begin, wanted), name="progress"),
        ]
        if clocked:
            background.append(edges.create_task(tick(world.log, ledger, name), name="ticker"))
        if bots.releases:
            background.append(
                edges.create_task(publish_releases(world.log, ledger, bots, game.engine_line, wanted.seconds), name="releases")
            )
        async with asyncio.TaskGroup() as group:
            for bot in bots.players:
                group.create_task(_play(bot, ledger, until), name=bot.name)
            group.create_task(asyncio.sleep(wanted.seconds), name="time")
        for task in background:
            task.cancel()
    await ledger.settle()


async def _play(bot: Bot, ledger: Ledger, until: float) -> None:
    """Let a bot act until the loop's clock says `until`, then leave."""
    clock = asyncio.get_running_loop().time
    while (pause := bot.dice.expovariate(bot.per_s)) < until - clock():
        await asyncio.sleep(pause)
        await ledger.insist(asked(bot.say))
    if (goodbye := asked(bot.leave)) is not None:
        await ledger.insist(goodbye)


async def _hear(bots: Bots, log: Log) -> None:
    """Let the bots hear what is said about their world from now on, until cancelled."""
    async for events in log.read(after=bots.stage.run, follow=True):
        for event in events:
            if event.world == bots.stage.world:
                asked(partial(bots.hear, event))


async def _turns(bots: Bots, ledger: Ledger) -> None:
    """The bots' turns, one a second, until cancelled."""
    for number in count(1):
        for draft in asked(lambda: [*bots.turn(number)]):  # noqa: B023  it is called at once
            await ledger.insist(draft)
        await asyncio.sleep(TURN_S)


async def _tell(bots: Bots, ledger: Ledger, tell: Tell, begin: float, wanted: Wanted) -> None:
    clock = asyncio.get_running_loop().time
    while True:
        passed = min(clock() - begin, wanted.seconds)
        said = f"{len(ledger.promises)} events published by {len(bots.players)} players and the clock"
        tell(f"{passed:3.0f} s of {wanted.seconds:.0f} s, {said}", passed / wanted.seconds)
        await asyncio.sleep(PROGRESS_S)


_FORMER: Final = {
    "NotQuiet": Now("worldbus.quiet.NotQuiet", lambda: _NotQuiet),
    "quiet": Now("worldbus.until_quiet", lambda: until_quiet),
    "QUIET_S": Now("worldbus.quiet.QUIET_S", lambda: _QUIET_S),
}
if not TYPE_CHECKING:  # with it, type checkers would take any name
    __getattr__ = former(__name__, _FORMER)
