"""`worldbus up` and `worldbus run`: the world, or parts of it, until told to stop."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from inference.tiers import TIERS
from worldbus.cli.app import app
from worldbus.cli.meant import meant
from worldbus.cli.names import complete, handlers
from worldbus.cli.options import PLACE, run, settings_options
from worldbus.cli.output import remark

if TYPE_CHECKING:
    from bus.presence import Presence
    from worldbus.embedded import Servers
    from worldbus.settings import Settings

PROJECTOR, TICKER, LADDER = "projector", "ticker", "ladder"
TABLES_S, TABLES_LOOKS = 10.0, 500  # that a new world's tables may take


@app.command()
@click.option("--speed", type=click.FloatRange(0.001, 3600), default=60.0, show_default=True,
              help="World seconds per real second, for a world whose clock has not started yet.")  # fmt: skip
@settings_options(*PLACE, "world", "durability", "inference", "metrics", "websocket")
def up(speed: float, settings: Settings) -> None:
    """Run the servers, every handler, the projector and the clock, until Ctrl-C.

    Other verbs on the same data folder find these servers by themselves. Stopping settles what is in flight; nothing is lost either way.
    """
    _check_plays(settings)
    _log_at_info(settings)
    until_stopped(_up(settings, round(speed * 1000)))


@app.command("run")
@click.option(
    "--only",
    metavar="NAMES",
    shell_complete=complete(handlers, PROJECTOR, TICKER, *TIERS, LADDER, listed=True),
    help="Comma-separated: handlers by name, `projector`, `ticker`, the tiers of inference `gold`, `silver` and `bronze`, and `ladder`,"
    " which answers where no model does. Default: all handlers, the ladder and the projector.",
)
@settings_options(*PLACE, "world", "durability", "inference", "metrics")
def run_(only: str | None, settings: Settings) -> None:
    """Run handlers and the projector against given servers: what a container runs.

    The servers are those of --nats and --postgres, or of a running `worldbus up`. Any number of processes may run the same parts:
    they share the partitions, and one of them projects. SIGTERM settles what is in flight and hands over.
    """
    from bus.errors import BadSettings
    from worldbus.embedded.folder import Folder

    names = _names(only)
    _check_plays(settings)
    needs_postgres = PROJECTOR in names
    if (settings.embedded_nats or (needs_postgres and settings.embedded_postgres)) and Folder(settings.data).find() is None:
        raise BadSettings(
            f"`run` works on given servers: wanted --nats and --postgres, or a running `worldbus up` on {settings.data}, found neither"
        )
    _log_at_info(settings)
    until_stopped(_run(settings, names))


def _names(only: str | None) -> frozenset[str]:
    from bus.errors import BadSettings
    from worldbus.games import current
    from worldbus.tiers import NAMES

    all_ = {*current().by_name}
    known = all_ | {PROJECTOR, TICKER, *NAMES}
    if only is None:
        return frozenset(all_ | {PROJECTOR, LADDER})
    names = frozenset(name.strip() for name in only.split(",") if name.strip())
    if not names or names - known:
        unknown = sorted(names - known)
        found = f"{', '.join(unknown) or 'nothing'}{meant(unknown, known)}"
        raise BadSettings(f"--only: wanted some of {', '.join(sorted(known))}, found {found}")
    return names


def _check_plays(settings: Settings) -> None:
    """Refuse a world that is another game's before anything starts."""
    from worldbus.games import current

    current().check_plays(settings.world)


def _log_at_info(settings: Settings) -> None:
    """A long-running process tells what it does."""
    from worldbus.logging import configure

    configure(settings.log, settings.log_level)


def until_stopped(work: Any) -> None:
    """Ctrl-C and SIGTERM are how these verbs end well."""
    try:
        run(work)
    except KeyboardInterrupt:
        remark("stopped")


async def _up(settings: Settings, scale: int) -> None:
    from worldbus.compose import open_world, serve
    from worldbus.games import current
    from worldbus.ticker import start_clock

    game = current()
    async with open_world(settings, own=settings.embedded_nats or settings.embedded_postgres, name="worldbus-up") as world:
        await start_clock(world.log, world.publisher, settings.world, scale)
        async with serve(
            world, handlers=game.handlers, projections=game.projections, ticks=True, tiers=_tiers(settings), release_feed=True
        ):
            await until_tables_are_there(world.presence)
            for line in _refused(world.presence).values():
                remark(line)
            for line in welcome(settings, world.servers):
                remark(line)
            await asyncio.Event().wait()


def _refused(presence: Presence) -> dict[str, str]:
    """A line about each part that refuses to run, by its name."""
    from worldbus.readiness import REFUSES

    return {part.name: f"{part.name} {part.state}: {part.reason}" for part in presence.parts() if part.state == REFUSES}


async def until_tables_are_there(presence: Presence) -> None:
    """Wait for the tables that what we propose asks, but not for long: where Postgres keeps the projector waiting, that is in the log."""
    for _ in range(TABLES_LOOKS):
        if not any(part.name == PROJECTOR and part.state == "starts" for part in presence.parts()):
            return
        await asyncio.sleep(TABLES_S / TABLES_LOOKS)


def welcome(settings: Settings, servers: Servers) -> Iterator[str]:
    """The addresses of everything, and things to try. The password of NATS is for terminals only: what is logged is read by many."""
    nats = servers.nats_url if sys.stderr.isatty() else re.sub(r"(//[^:/@]*):[^@]*@", r"\1:***@", servers.nats_url)
    addresses = {
        "NATS": nats,
        "monitoring": servers.nats_monitor_url,
        "Postgres": servers.reader_dsn if servers.postgres is not None else None,
        "metrics": f"http://{settings.metrics}/metrics" if settings.metrics else None,
    }
    if servers.made is not None:
        yield f"Made a new world: there was none in {servers.made}."
    yield f"World {settings.world!r} is up; its data is in {settings.data.absolute()}. Stop it with Ctrl-C."
    for name, address in addresses.items():
        if address:
            yield f"  {name:<10} {address}"
    if servers.nats is not None and servers.nats.browsers is not None:
        yield f"Browsers come in at {servers.nats.browsers.url}"
    yield "In another terminal, in this folder, try:"
    yield '  worldbus publish PlayerJoined --entity mira --data \'{"display_name": "Mira", "zone": "quay"}\''
    yield "  worldbus tail --follow"
    yield "  worldbus sql 'SELECT * FROM players'"
    yield '  eval "$(worldbus env)"      # these addresses, for psql and clients of NATS, and this world from any folder'


def _tiers(settings: Settings) -> list[str]:
    """The tiers that have an engine here, and the ladder for everything else."""
    from inference.pools import load

    return [*load(settings.inference), LADDER]


async def _run(settings: Settings, names: frozenset[str]) -> None:
    from worldbus.compose import open_world, serve
    from worldbus.games import current
    from worldbus.tiers import NAMES

    game = current()
    wanted = [handler for handler in game.handlers if handler.name in names]
    projections = game.projections if PROJECTOR in names else ()
    async with (
        open_world(settings, name=f"worldbus-run-{os.getpid()}", postgres=PROJECTOR in names) as world,
        serve(world, handlers=wanted, projections=projections, ticks=TICKER in names, tiers=[one for one in NAMES if one in names]),
    ):
        refused = _refused(world.presence)
        for line in refused.values():
            remark(line)
        labels = {handler.label: handler.name for handler in wanted}
        remark(f"running {', '.join(sorted(names - {labels.get(name, name) for name in refused}))}")
        await asyncio.Event().wait()
