"""`worldbus migrate`, `worldbus check`, `worldbus log repair`, `worldbus archive rebuild`: keeping a world in order."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from worldbus.cli.app import Exit, app
from worldbus.cli.meant import meant
from worldbus.cli.moments import parse_seconds
from worldbus.cli.names import complete, handlers
from worldbus.cli.options import PLACE, json_option, run, settings_options
from worldbus.cli.output import Progress, remark_made, say, say_json

if TYPE_CHECKING:
    from projections.rearchive import Rearchived
    from worldbus.checks.finding import Bounds, Finding
    from worldbus.repair import Repair
    from worldbus.settings import Settings


@app.command()
@click.option("--dry-run", is_flag=True, help="Only say what would be applied.")
@json_option
@settings_options("data", "postgres_dsn")
def migrate(dry_run: bool, as_json: bool, settings: Settings) -> None:
    """Bring the database's own tables up to date. Safe to run again, and by several at once.

    In a data folder without a world it makes one, and says so.
    """
    names = run(_migrate(settings, dry_run))
    if as_json:
        say_json({"pending" if dry_run else "applied": names})
    elif not names:
        say("nothing to do: every migration is applied")
    else:
        for name in names:
            say(f"{'would apply' if dry_run else 'applied'} {name}")


async def _migrate(settings: Settings, dry_run: bool) -> list[str]:
    import asyncio

    from migrations import migrate as apply
    from migrations import pending
    from worldbus.servers import open_servers

    async with open_servers(settings, nats=False, create=not dry_run) as servers:
        remark_made(servers)
        return await asyncio.to_thread(pending if dry_run else apply, servers.postgres_dsn)


@app.command()
@click.option("--full", is_flag=True, help="Hold every event of the log against the archive, and the archive against its hash chain.")
@click.option(
    "--max-age",
    metavar="TIME",
    default="30s",
    show_default=True,
    envvar="WORLDBUS_CHECK_MAX_AGE",
    help="How long an input may wait for its answer, and an event for the tables.  [WORLDBUS_CHECK_MAX_AGE]",
)
@click.option(
    "--max-full",
    metavar="PERCENT",
    type=click.FloatRange(1, 100),
    default=90,
    show_default=True,
    envvar="WORLDBUS_CHECK_MAX_FULL",
    help="How full a disk with less than 20 GiB left, or a limit of NATS, may be.  [WORLDBUS_CHECK_MAX_FULL]",
)
@click.option(
    "--max-skew",
    metavar="TIME",
    default="1s",
    show_default=True,
    envvar="WORLDBUS_CHECK_MAX_SKEW",
    help="How much the clocks of this host, NATS and Postgres may differ.  [WORLDBUS_CHECK_MAX_SKEW]",
)
@click.option(
    "--without",
    metavar="NAMES",
    shell_complete=complete(handlers, "projector", "ticker", listed=True),
    default="",
    envvar="WORLDBUS_CHECK_WITHOUT",
    help="Comma-separated: handlers, `projector`, `ticker` that nobody runs here on purpose.  [WORLDBUS_CHECK_WITHOUT]",
)
@click.option("--stopped", is_flag=True, help="Nobody runs this world on purpose: leave out what only a running one can show.")
@json_option
@settings_options(*PLACE, "reader_dsn", "world", "durability")
@click.pass_context
def check(
    context: click.Context,
    full: bool,
    max_age: str,
    max_full: float,
    max_skew: str,
    without: str,
    stopped: bool,
    as_json: bool,
    settings: Settings,
) -> None:
    """Examine whether all is well: servers, durability, room, clocks, who runs what, what waits, what stopped, and log against archive.

    Exit code 1 if anything is not as it should be, 3 if that cannot be said because a server does not answer; each line then names the next
    step. What to look at, though nothing is wrong yet, is a `warn`. Nothing is changed.
    """
    from worldbus.checks.finding import Bounds

    bounds = Bounds(
        age_s=parse_seconds(max_age), skew_s=parse_seconds(max_skew), full=max_full / 100, without=_without(without), stopped=stopped
    )
    findings = run(_check(settings, full, bounds, as_json))
    well = all(one.ok for one in findings)
    if as_json:
        say_json({"ok": well, "checks": [asdict(one) for one in findings]})
    if not well:
        context.exit(Exit.ENVIRONMENT if any(one.unreachable for one in findings) else Exit.NO)


def _without(text: str) -> frozenset[str]:
    from bus.errors import BadSettings
    from worldbus.games import current

    names = frozenset(name.strip() for name in text.split(",") if name.strip())
    known = {name: handler.label for name, handler in current().by_name.items()} | {name: name for name in ("projector", "ticker")}
    if unknown := sorted(names - known.keys()):
        found = f"{', '.join(unknown)}{meant(unknown, known)}"
        raise BadSettings(f"--without: wanted some of {', '.join(sorted(known))}, found {found}")
    return frozenset(known[name] for name in names)


async def _check(settings: Settings, full: bool, bounds: Bounds, as_json: bool) -> list[Finding]:
    from worldbus.doctor import examine

    findings = []
    with Progress() as progress:
        async for finding in examine(
            settings, full=full, bounds=bounds, progress=lambda done, goal: progress(f"{done} of {goal} events", done / max(1, goal))
        ):
            progress.clear()
            findings.append(finding)
            if not as_json:
                say(f"{_verdict(finding)} {finding.check:<12} {finding.found}")
    return findings


def _verdict(finding: Finding) -> str:
    return "FAIL" if not finding.ok else "warn" if finding.warning else "ok  "


@app.group()
def log() -> None:
    """Care of the log itself."""


@log.command()
@click.option("--from-archive", is_flag=True, required=True, help="Say so: the log is written anew from the archive in Postgres.")
@click.option("--accept-loss", is_flag=True, help="Also when the log ends in unreadable events that were not archived yet.")
@json_option
@settings_options(*PLACE)
def repair(from_archive: bool, accept_loss: bool, as_json: bool, settings: Settings) -> None:
    """Hold the whole log against the archive and, if they differ, write it anew at the same positions.

    Stop everything else on this world first: nobody may publish meanwhile. A log that agrees with its archive is left alone.
    """
    done = run(_repair(settings, accept_loss))
    if as_json:
        say_json(asdict(done))
    elif done.problem:
        say(f"found: {done.problem}")
        say(f"restored {done.restored} events at their positions, {done.kept} of them from beyond the archive")
        say("handlers will look through the log again and find what they did; nothing is done twice")
    else:
        say("log and archive agree: nothing to repair")


async def _repair(settings: Settings, accept_loss: bool) -> Repair:
    from bus.connection import connect
    from bus.log import LogConfig
    from worldbus.embedded.folder import Folder
    from worldbus.repair import repair as mend
    from worldbus.servers import open_servers

    embedded = settings.embedded_nats or settings.embedded_postgres
    if embedded:
        Folder(settings.data, create=False)  # a lost log is made anew, a world is not
    async with open_servers(settings, own=embedded) as servers, connect(servers.nats_url, name="worldbus-repair") as connection:
        with Progress() as progress:
            return await mend(
                connection,
                servers.postgres_dsn,
                LogConfig(partitions=settings.partitions),
                accept_loss=accept_loss,
                progress=lambda done, goal: progress(f"{done} of {goal} events", done / max(1, goal)),
            )


@app.group()
def archive() -> None:
    """Care of the archive, the log's second copy in Postgres."""


@archive.command("rebuild")
@click.option("--from-log", is_flag=True, required=True, help="Say so: the archive is written anew from the log.")
@click.option("--whole", is_flag=True, help="Every event, also where the archive's hash chain is unbroken.")
@json_option
@settings_options(*PLACE)
def rebuild_archive_(from_log: bool, whole: bool, as_json: bool, settings: Settings) -> None:
    """Write a damaged archive again from the log, if the log is proven to be what was archived.

    Stop the projector first. The log's own hash chain has to meet the archive's unbroken part and the hash that the checkpoint remembers;
    a log that does not is the damaged one, and nothing is changed. Interrupted, it goes on where it was when it is run again.
    """
    done = run(_rebuild_archive(settings, whole))
    if as_json:
        say_json(asdict(done))
    elif done.rewritten:
        say(f"found: {f'ARCHIVE DAMAGED from position {done.damaged} on' if done.damaged else 'an archive that is whole'}")
        say(f"the log is what was archived up to position {done.proven}; {done.rewritten} events were written again")
        say("tables that were projected from damaged events are mended by `worldbus rebuild --all`")
    else:
        say("the archive fits its hash chain: nothing to rebuild")


async def _rebuild_archive(settings: Settings, whole: bool) -> Rearchived:
    from bus.connection import connect
    from bus.existing import open_existing
    from bus.log import LogConfig
    from projections.rearchive import rebuild_archive
    from worldbus.embedded.folder import Folder
    from worldbus.servers import open_servers

    embedded = settings.embedded_nats or settings.embedded_postgres
    if embedded:
        Folder(settings.data, create=False)
    async with open_servers(settings, own=embedded) as servers, connect(servers.nats_url, name="worldbus-rearchive") as connection:
        log = await open_existing(connection, LogConfig(partitions=settings.partitions))
        try:
            with Progress() as progress:
                return await rebuild_archive(
                    servers.postgres_dsn,
                    log,
                    whole=whole,
                    progress=lambda done, goal: progress(f"{done} of {goal} events", done / max(1, goal)),
                )
        finally:
            await log.aclose()
