"""A child of `worldbus dev`: it loads the game as it is now, says what it found, and plays when it is told to.

──▶ {"settings", "views", …}    what to play by, and the projections and parts of content that play already
◀── {"rules", "views", …}       the game (`worldbus.dev.load.Loaded`); with "broken" in it the child ends
──▶ {"go", "compare", "last"}   play; decide the last inputs again for these handlers (None: for those that decide otherwise than recorded)
    {"lore": true}              and let the world know its documents
◀── {"comparing": pid}          the process that does so, which says {"lines"} on the other socket after it heard {"begin"}
◀── {"up": […]}                 it plays: lines about where everything is
◀── {"lore": line}              the world knows its documents: what is new, empty for nothing
◀── {"building": [name]}        projections that are built anew, and {"built": name} for each when readers see it
◀── {"ended": words, "code"}    an error ended it
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import MutableMapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from worldbus.dev.link import Link
from worldbus.dev.load import Loaded, load
from worldbus.dev.told import told

if TYPE_CHECKING:
    from worldbus.game import Game
    from worldbus.opening import World
    from worldbus.settings import Settings

SECOND: Final = 10  # the niceness of a comparison: who plays comes first


def play(talk: socket.socket, comparison: socket.socket) -> int:
    """Be a child; its exit code."""
    link = Link(talk)
    order = link.hear()
    if order is None:
        return 0
    settings = _settings(order["settings"], again=order["again"])
    game, loaded = load(settings.world, order["parts"])
    if game is not None and not loaded.broken:
        loaded.broken.extend(_refused(settings, game, loaded, order["views"]))
    link.say(**asdict(loaded))
    if game is None or loaded.broken:
        return 0
    go = link.hear()
    if go is None:
        return 0
    if go["last"]:
        _compare_beside(link, comparison, settings, game, go)
    comparison.close()
    return _run(link, settings, game, loaded, go)


def _settings(given: dict[str, str], *, again: bool) -> Settings:
    """The settings of this child. Its log is for what needs somebody to look, and not for what is told anyway or was told by the first."""
    import structlog

    from worldbus.embedded.servers import followed
    from worldbus.logging import configure
    from worldbus.settings import Settings

    settings = Settings.read(os.environ, **given)
    configure(settings.log, settings.log_level if "log_level" in settings.given else "warning")
    known = {"projection_left_behind"} | ({"relaxed_durability"} if again else set())

    def unless_known(logger: object, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if line["event"] in known:
            raise structlog.DropEvent
        return line

    structlog.configure(processors=[unless_known, *structlog.get_config()["processors"]])
    return followed(settings)


def _refused(settings: Settings, game: Game, loaded: Loaded, built: dict[str, str]) -> list[str]:
    """The reasons why Postgres would not build projections that are other ones than those that are built."""
    from worldbus.dev.views import refused

    changed = [one for one in game.projections if built.get(one.name) != loaded.views[one.name]]
    return asyncio.run(refused(settings, changed)) if changed else []


def _compare_beside(link: Link, comparison: socket.socket, settings: Settings, game: Game, go: dict[str, Any]) -> None:
    """Fork a process that decides the recorded inputs again. This one has no thread and no event loop yet."""
    pid = os.fork()
    if pid:
        link.say(comparing=pid)
        return
    code = 0
    try:
        link.close()
        os.nice(SECOND)
        _compare(Link(comparison), settings, game, go)
    except BaseException as error:  # it must never go on as the process that it was forked from
        code = 1
        Link(comparison).say(lines=[f"the recorded inputs could not be decided again: {told(error)}"])
    finally:
        os._exit(code)


def _compare(link: Link, settings: Settings, game: Game, go: dict[str, Any]) -> None:
    from bus.errors import NoLog
    from worldbus.cli.options import run
    from worldbus.dev.comparison import compared
    from worldbus.dev.showing import lines_of

    if link.hear() is None:
        return
    try:
        found = run(compared(settings, game, go["compare"], go["last"]))
    except NoLog:  # nothing was recorded before this game began
        found = None
    link.say(lines=lines_of(found, go["shown"]))


def _run(link: Link, settings: Settings, game: Game, loaded: Loaded, go: dict[str, Any]) -> int:
    from worldbus.cli.app import exit_code, single
    from worldbus.cli.options import run

    try:
        run(_play(link, settings, game, loaded, go))
    except KeyboardInterrupt:
        return 0
    except Exception as error:
        cause = single(error)
        link.say(ended=told(cause), code=int(exit_code(cause)))
        return int(exit_code(cause))
    return 0


async def _play(link: Link, settings: Settings, game: Game, loaded: Loaded, go: dict[str, Any]) -> None:
    from inference.pools import load as pools
    from worldbus.cli.serve import until_tables_are_there
    from worldbus.compose import open_world, serve
    from worldbus.dev.change import LORE
    from worldbus.dev.views import outdated, until_built
    from worldbus.ticker import start_clock
    from worldbus.tiers import LADDER

    asyncio.get_running_loop().add_reader(link.fileno(), _left_alone, link.fileno())
    has_clock = "time" in game.by_name
    async with open_world(settings, name=f"worldbus-dev-{os.getpid()}") as world:
        if has_clock:
            await start_clock(world.log, world.publisher, settings.world, go["scale"])
        before = await outdated(world.servers.postgres_dsn, loaded.views)
        if before:
            link.say(building=list(before))
        tiers = [*pools(settings.inference), LADDER]
        async with (
            serve(
                world,
                handlers=game.handlers,
                projections=game.projections,
                ticks=has_clock,
                tiers=tiers,
                release_feed=True,
                by_digest=True,
            ),
            asyncio.TaskGroup() as group,
        ):
            await until_tables_are_there(world.presence)
            link.say(up=True)
            if go["lore"] and LORE in loaded.parts:
                group.create_task(_lore(link, world, game))
            group.create_task(until_built(world.servers.postgres_dsn, before, lambda name: link.say(built=name)))
            await asyncio.Event().wait()


async def _lore(link: Link, world: World, game: Game) -> None:
    """Let the world know the documents as they are now."""
    from bus.errors import BadSettings, Rejected, Transient
    from worldbus.dev.change import counted
    from worldbus.standard.edges import read_lore

    try:
        done = await read_lore(world, game.content_of(world.settings.world))
    except (Rejected, Transient, BadSettings) as error:  # a document was changed again meanwhile, or the log is away
        link.say(lore=f"lore: not taken up: {told(error)}")
        return
    documents = counted(len(done.changed) + len(done.removed), "document")
    new = counted(done.added, "passage")
    link.say(lore=f"lore: {documents} taken up, {new} new, {done.retired} gone" if done.events else "")


def _left_alone(number: int) -> None:
    """End this process: the one that had it play is gone."""
    asyncio.get_running_loop().remove_reader(number)
    os.kill(os.getpid(), signal.SIGTERM)
