"""One run: the bus, the game, players, and the count of what came of it."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bus.event import Event
from clients.evennia.demo.comparison import Switch, Took, by_window, compared, shares
from clients.evennia.demo.game import Game
from clients.evennia.demo.measure import ROOMS, measuring
from clients.evennia.demo.priority import stepped_back
from clients.evennia.demo.report import Report, hops, lines, of_game
from clients.evennia.demo.telnet import Telnet
from projections.store import connected
from worldbus.compose import World, open_world, serve
from worldbus.quiet import until_quiet
from worldbus.settings import Settings
from worldbus.ticker import start_clock
from worldbus.tiers import LADDER
from worlds import duskmarket
from worlds.duskmarket.bots.players import zones

SCALE = 120_000  # world milliseconds per real second: two hours in a minute
WINDOW_S = 2.0  # of the adapter on, then off, and so on: short, so that what else the machine does falls on both
SETTLE_S = 0.3  # after a switch, not counted: the bus still answers what was said before
JOIN_S = 60.0  # for all players to be there, before anything is measured
STATE = re.compile(r"worldbus (on|off): (\d+) published, (\d+) recorded, (\d+) failed, (\d+) dropped, (\d+) own lines")
PEOPLE = ("Doctor Vane", "Widow Hask", "Old Marrow", "Pockets", "Warden Pell", "Mother Sedge")
ARRIVED = "Teleported|Could not|already|not be found|not find"
DARK = "Until you find some light"
ASKER = "Asker"
ANSWER_S = 3.0  # less than the adapter's patience: what it says itself is no answer
WATCHING = 3  # that, the one who measures, and the administrator
ASKED = "{}, have you seen the ferryman? I have asked {} times."
ERRORS = re.compile(r"Traceback|An untrapped error|\(Traceback was logged", re.IGNORECASE)

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The options of the demo.

    `worker` is the command of a process that serves the gold tier; without it the ladder alone answers. `nice` is the niceness of the
    bus's programs while the game is played.
    """

    players: int = 20
    seconds: float = 60.0
    engine: str = "ladder"
    worker: tuple[str, ...] = ()
    kills: int = 0
    nice: int = 0


class Watch:
    """The measurements of one watching player."""

    def __init__(self) -> None:
        self.windows: list[tuple[bool, Took]] = []
        self.unanswered: list[str] = []
        self.shown: list[float] = []
        self.asked = 0
        self.on = True
        self.switches: list[Switch] = []
        """Of the adapter, since all players are in."""
        self.processor: list[tuple[float, bool, float]] = []
        """Of Evennia's server, at both ends of each window: when, whether the adapter was on, and seconds so far."""
        self.errors = 0


async def run(settings: Settings, environment: Path, wanted: Wanted, tell: Tell, *, stay: bool = False) -> Report:
    """Run the demo on the servers of `settings`."""
    tell("starting the bus")
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(open_world(settings, own=True, name="worldbus-evennia"))
        await start_clock(world.log, world.publisher, settings.world, SCALE)
        sample = duskmarket.game
        await stack.enter_async_context(serve(world, handlers=sample.handlers, projections=sample.projections, ticks=True, tiers=[LADDER]))
        for draft in zones(settings.world, 1):
            await world.publisher.publish(draft)
        start = (await world.log.state()).last
        if wanted.worker:
            await stack.enter_async_context(_worker(wanted.worker))
        tell("making an Evennia game with its tutorial world")
        game = Game(settings.data, environment, url=world.servers.nats_url, world=settings.world)
        stack.push_async_callback(game.stop)
        await game.start()
        tell(
            f"{wanted.players} players of Evennia's load tester join for {wanted.seconds:.0f} s; telnet 127.0.0.1 {game.ports['telnet']}, "
            f"browser http://127.0.0.1:{game.ports['web']}: you may join them"
        )
        watch, state = await _play(world, game, wanted, stay=stay)
        if stay:
            tell("staying up until Ctrl-C")
            await asyncio.Event().wait()
        tell("waiting until all is handled and projected")
        last = await until_quiet(world)
        events = [event async for batch in world.log.read(after=start, until=last) for event in batch]
        return await _report(world, game, wanted, events, watch, state)


async def _play(world: World, game: Game, wanted: Wanted, *, stay: bool) -> tuple[Watch, tuple[int, ...]]:
    watch = Watch()
    admin = await game.admin()
    asking = await game.enter(ASKER, "only-for-the-demo-2", create=True)
    asking.type("teleport Intro")
    async with measuring(game.ports["telnet"]) as commands:
        await game.load(wanted.players)
        await _joined(world, wanted.players + WATCHING)
        servers = [server.pid for server in (world.servers.nats, world.servers.postgres) if server is not None and server.pid is not None]
        with ExitStack() as stack:
            await asyncio.to_thread(stack.enter_context, stepped_back(servers, wanted.nice))
            await _live(world, game, wanted, admin, asking, watch)
    watch.windows, watch.unanswered = by_window(commands.timed, watch.switches), commands.unanswered
    await game.end_load()
    state = await _settled(admin, stay=stay)
    seen = [line for player in (admin, asking) for _, line in player.seen]
    watch.errors = sum(1 for line in seen if ERRORS.search(line))
    for player in (asking, admin):
        await player.close()
    return watch, state


async def _live(world: World, game: Game, wanted: Wanted, admin: Telnet, asking: Telnet, watch: Watch) -> None:
    """Run the tasks that go on while the players play."""
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_windows(game, admin, watch), name="windows"),
            group.create_task(_ask(asking, admin, watch), name="ask"),
        ]
        if wanted.kills:
            tasks.append(group.create_task(_kill(world, wanted), name="kill"))
        await asyncio.sleep(wanted.seconds)
        for task in tasks:
            task.cancel()


async def _joined(world: World, players: int) -> None:
    """Wait until so many have come in, as far as the world knows, or for as long as that may take."""
    deadline = time.monotonic() + JOIN_S
    async with connected(world.servers.postgres_dsn) as database:
        while time.monotonic() < deadline:
            if await database.fetchval("SELECT count(*) FROM world.players WHERE world = $1", world.settings.world) >= players:
                return
            await asyncio.sleep(0.5)


async def _windows(game: Game, admin: Telnet, watch: Watch) -> None:
    """The adapter on and off by turns, so that both are measured under the same load."""

    def sample() -> None:
        if (spent := game.processor_s()) is not None:
            watch.processor.append((time.monotonic(), watch.on, spent))

    await asyncio.sleep(2 * WINDOW_S)  # the last who came in look around
    watch.switches.append((time.monotonic(), True))
    sample()
    while True:
        await asyncio.sleep(WINDOW_S)
        sample()
        on = not watch.on
        since = len(admin.seen)
        watch.switches.append((time.monotonic(), None))
        admin.type(f"worldbus {'on' if on else 'off'}")
        try:
            await admin.until(f"worldbus {'on' if on else 'off'}:", since=since)
            watch.on = on
            await asyncio.sleep(SETTLE_S)
            watch.switches.append((time.monotonic(), on))
            sample()
        except asyncio.CancelledError:
            admin.type("worldbus on")
            raise


async def _ask(player: Telnet, admin: Telnet, watch: Watch) -> None:
    """Words to one of the people after the other, and how long until the first of theirs is shown in the room. While the adapter is off it
    asks as often, so that the game has as much to do."""
    while True:
        who = PEOPLE[watch.asked % len(PEOPLE)]
        await _go_to(player, admin, who)
        on, since = watch.on, len(player.seen)
        watch.asked += 1
        typed = player.type(f"say {ASKED.format(who, watch.asked)}")
        if on:
            with suppress(TimeoutError):  # they were silent: asleep, say
                moment, _ = await player.until(rf"{who} says to {ASKER}", since=since, within=ANSWER_S)
                watch.shown.append(moment - typed)
        await asyncio.sleep(1.0)


async def _go_to(player: Telnet, admin: Telnet, who: str) -> None:
    """Stand where they stand. Whom the tutorial world's apparition beats wakes in a dark cell, where no such command is heard."""
    for _ in range(2):
        since = len(player.seen)
        player.type(f"teleport/loc {who}")
        _, answer = await player.until(f"{ARRIVED}|{DARK}", since=since)
        if not re.search(DARK, answer):
            return
        since = len(player.seen)
        admin.type(f"teleport {ASKER} = {ROOMS[0]}")
        await player.until(ROOMS[0], since=since)


async def _kill(world: World, wanted: Wanted) -> None:
    """Kill the bus's server under everybody, so many times."""
    for _ in range(wanted.kills):
        await asyncio.sleep(wanted.seconds / (wanted.kills + 1))
        world.servers.nats.kill()  # kept alive by whoever runs the world
    await asyncio.Event().wait()


async def _settled(admin: Telnet, *, stay: bool) -> tuple[int, ...]:
    """The adapter's own count, when nothing is under way any more. It is switched off for that, unless people go on playing: who is still
    there says so every few seconds, and what is said behind the count would be in the log beyond it.
    """
    admin.type(f"worldbus {'on' if stay else 'off'}")
    deadline = time.monotonic() + 60
    while True:
        since = len(admin.seen)
        admin.type("worldbus")
        _, line = await admin.until(STATE.pattern, since=since)
        found = STATE.search(line)
        assert found is not None
        state = tuple(int(number) for number in found.groups()[1:])
        if state[0] == state[1] + state[2] or time.monotonic() > deadline:
            return state
        await asyncio.sleep(0.3)


async def _report(world: World, game: Game, wanted: Wanted, events: list[Event], watch: Watch, state: tuple[int, ...]) -> Report:
    published, recorded, failed, dropped, own_lines = state
    ids = of_game(events)
    latency, processor = compared(watch.windows), shares(watch.processor)
    async with connected(world.servers.postgres_dsn) as database:
        rows = {
            view: await database.fetchval(f"SELECT count(*) FROM world.{view} WHERE world = $1", world.settings.world)  # noqa: S608
            for view in ("players", "npcs", "goods")
        }
    return Report(
        players=wanted.players,
        joined=len({event.entity for event in events if event.id in ids and event.name == "PlayerJoined"}),
        seconds=wanted.seconds,
        engine=wanted.engine,
        published=published,
        recorded=recorded,
        failed=failed,
        dropped=dropped,
        in_log=len(ids),
        lost=max(0, recorded - len(ids)),
        duplicated=sum(ids.values()) - len(ids),
        events=len(events),
        by_event=dict(Counter(event.name for event in events if event.id in ids)),
        spoken_to=sum(1 for event in events if event.subsystem == "game" and event.name == "PlayerSpoke"),
        lines=lines(events),
        shown=len(watch.shown),
        own_lines=own_lines,
        commands=sum(len(took) for _, took in watch.windows),
        latency_on_ms=latency.on_ms,
        latency_off_ms=latency.off_ms,
        latency_ratio=latency.ratio,
        latency_ratio_between=latency.between,
        processor_on=processor.get(True),
        processor_off=processor.get(False),
        bus_nice=wanted.nice,
        nats_kills=wanted.kills,
        errors_shown=watch.errors,
        rows=rows,
        hops=hops(events, watch.shown),
        problems=[*game.problems(), *watch.unanswered][:10],
    )


@asynccontextmanager
async def _worker(command: tuple[str, ...]) -> AsyncIterator[Any]:
    process = await asyncio.create_subprocess_exec(*command)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
