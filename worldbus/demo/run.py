"""One run of the demo: open the world, let players live in it, wait until all is quiet, count."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from projections.store import connected
from worldbus.compose import World, open_world, serve
from worldbus.demo.account import Account
from worldbus.demo.ledger import Ledger
from worldbus.demo.lore import ingest
from worldbus.demo.players import Player, play, zones
from worldbus.demo.report import Report, percentile, report
from worldbus.demo.seen import Seen
from worldbus.demo.studio import LATER, LINE, RELEASES, Studio, feed
from worldbus.demo.witness import Witness
from worldbus.edges.release_feed import watch
from worldbus.games import current
from worldbus.quiet import quiet
from worldbus.ticker import start_clock, tick
from worldbus.tiers import LADDER

if TYPE_CHECKING:
    from bus.runtime import Runtime
    from worldbus.demo.ledger import Promise
    from worldbus.settings import Settings

SCALE = 360_000  # world milliseconds per real second: six hours in a minute
PROGRESS_S = 0.5
TURN_S = 1.0
_KNOWN = """
    SELECT (SELECT count(*) FROM world.documents WHERE world = $1),
           (SELECT count(*) FROM world.passages WHERE world = $1 AND kind = 'lore' AND added IS NOT NULL AND ended IS NULL)
"""
_ARCHIVED = "SELECT position, event_id FROM worldbus.events WHERE position > $1 AND position <= $2"

VIEWS: Final[Mapping[str, str]] = {  # where the facts of each subsystem can be asked for first
    "time": "clock",
    "weather": "weather",
    "player": "players",
    "state": "entity_state",
    "capability": "capabilities",
    "uemonitor": "engine_releases",
    "router": "routes",
    "models": "model_choices",
    "quest": "quest_journal",
    "payment": "wallets",
    "coupon": "coupons",
    "inventory": "items",
    "broker": "goods",
    "market": "regards",
    "narrative": "scenes",
    "storyteller": "story_so_far",
    "npc": "npcs",
    "language": "comprehension",
}

Tell = Callable[[str, float], None]  # what is going on, and the share that is done


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The options of the demo."""

    players: int = 20
    seconds: float = 60.0
    seed: int = 1


async def run(settings: Settings, wanted: Wanted, tell: Tell) -> Report:
    """Run the demo on the servers of `settings` and report. The data stays where it is."""
    tell("starting the servers", 0.0)
    async with open_world(settings, own=settings.embedded_nats or settings.embedded_postgres, name="worldbus-demo") as world:
        async with serve(world, handlers=current().handlers, projections=current().projections, tiers=[LADDER]) as runtime:
            start = (await world.log.state()).last
            async with Witness.open(world.servers.postgres_dsn) as witness:
                ledger = Ledger(world.publisher)
                await _live(world, ledger, wanted, start, tell)
                tell("waiting until all is handled and projected", 1.0)
                last = await quiet(world)
                await witness.wait_for(last)
            measured = decide_us(runtime)
        tell("counting", 1.0)
        return await count_up(
            world,
            ledger.promises,
            witness,
            start=start,
            last=last,
            players=wanted.players,
            seconds=wanted.seconds,
            seed=wanted.seed,
            decide_us=measured,
        )


async def _live(world: World, ledger: Ledger, wanted: Wanted, start: int, tell: Tell) -> None:
    name, seen = world.settings.world, Seen()
    studio = Studio(name, wanted.seed, wanted.players, run=start)
    await ingest(world.log, ledger, name)
    await start_clock(world.log, ledger, name, SCALE)
    for draft in (*zones(name, wanted.seed), *studio.opening()):
        await ledger.insist(draft)
    clock = asyncio.get_running_loop().time
    begin = clock()
    until = begin + wanted.seconds
    with tempfile.TemporaryDirectory(prefix="wb-demo-") as folder:
        releases = Path(folder) / "releases.json"
        releases.write_bytes(feed(RELEASES))
        async with asyncio.TaskGroup() as edges:
            background = [
                edges.create_task(tick(world.log, ledger, name), name="ticker"),
                edges.create_task(seen.follow(world.log, name, start), name="seen"),
                edges.create_task(_turns(studio, ledger), name="studio"),
                edges.create_task(_publish_release(releases, wanted.seconds / 3), name="release"),
                edges.create_task(
                    watch(world.log, ledger, world=name, line=LINE, source=str(releases), every_s=min(5.0, wanted.seconds / 4)),
                    name="release-feed",
                ),
                edges.create_task(_tell(ledger, tell, begin, wanted), name="progress"),
            ]
            async with asyncio.TaskGroup() as group:
                for number in range(1, wanted.players + 1):
                    group.create_task(play(Player.of(name, wanted.seed, number, run=start), ledger, seen, until), name=f"player-{number}")
                group.create_task(asyncio.sleep(wanted.seconds), name="time")
            for task in background:
                task.cancel()
    await ledger.settle()


async def _turns(studio: Studio, ledger: Ledger) -> None:
    """The studio's turns, one a second, until cancelled."""
    for number in count(1):
        for draft in studio.turn(number):
            await ledger.insist(draft)
        await asyncio.sleep(TURN_S)


async def _publish_release(releases: Path, after_s: float) -> None:
    """A new version of the engine comes out."""
    await asyncio.sleep(after_s)
    await asyncio.to_thread(releases.write_bytes, feed((*RELEASES, LATER)))


async def _tell(ledger: Ledger, tell: Tell, begin: float, wanted: Wanted) -> None:
    clock = asyncio.get_running_loop().time
    while True:
        passed = min(clock() - begin, wanted.seconds)
        said = f"{len(ledger.promises)} events published by {wanted.players} players and the clock"
        tell(f"{passed:3.0f} s of {wanted.seconds:.0f} s, {said}", passed / wanted.seconds)
        await asyncio.sleep(PROGRESS_S)


def decide_us(runtime: Runtime | None) -> dict[str, float]:
    """The microseconds of decisions, 95th percentile of a sample, by handler."""
    if runtime is None:
        return {}
    return {
        name: round((percentile(sorted(runner.tally.decide_ns), 0.95) or 0.0) * 1000, 1)
        for name, runner in runtime.runners.items()
        if runner.tally.decide_ns
    }


async def count_up(
    world: World,
    promises: Sequence[Promise],
    witness: Witness,
    *,
    start: int = 0,
    last: int,
    players: int,
    seconds: float,
    seed: int,
    decide_us: Mapping[str, float],
) -> Report:
    """The report of what stands behind `start` in the log, up to `last`, and what the tables have of it."""
    account = Account(current().handlers)
    async for events in world.log.read(after=start, until=last):
        account.take(events)
    async with connected(world.servers.postgres_dsn) as connection:
        rows: list[Any] = await connection.fetch(_ARCHIVED, start, last)
        documents, passages = await connection.fetchrow(_KNOWN, world.settings.world)
        views = {
            name: await connection.fetchval(f"SELECT count(*) FROM world.{view}")  # noqa: S608  names of our own
            for name, view in VIEWS.items()
        }
    account.settle(promises, {row["position"]: row["event_id"] for row in rows})
    return report(
        account,
        witness,
        decide_us=decide_us,
        views={name: (VIEWS[name], rows) for name, rows in views.items()},
        projected=len(rows),
        world=world.settings.world,
        players=players,
        seconds=seconds,
        seed=seed,
        durability=world.settings.durability,
        first=start + 1,
        last=last,
        published=len(promises),
        documents=documents,
        passages=passages,
    )
