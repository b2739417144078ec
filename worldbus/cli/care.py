"""`worldbus migrate`, `worldbus check`, `worldbus log repair`: keeping a world in order."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from worldbus.cli.app import Exit, app
from worldbus.cli.options import PLACE, json_option, run, settings_options
from worldbus.cli.output import Progress, remark_made, say, say_json

if TYPE_CHECKING:
    from worldbus.doctor import Finding
    from worldbus.repair import Repair
    from worldbus.settings import Settings


@app.command()
@click.option("--dry-run", is_flag=True, help="Only say what would be applied.")
@json_option
@settings_options("data", "postgres_dsn")
def migrate(dry_run: bool, as_json: bool, settings: Settings) -> None:
    """Bring the database's own tables up to date. Safe to run again, and by several at once."""
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
@json_option
@settings_options(*PLACE, "reader_dsn", "durability")
@click.pass_context
def check(context: click.Context, full: bool, as_json: bool, settings: Settings) -> None:
    """Examine settings, servers, durability, tables, projections, and the log against the archive.

    Exit code 3 if anything is not as it should be; each line then names the next step.
    """
    findings = run(_check(settings, full, as_json))
    well = all(one.ok for one in findings)
    if as_json:
        say_json({"ok": well, "checks": [asdict(one) for one in findings]})
    if not well:
        context.exit(Exit.ENVIRONMENT)


async def _check(settings: Settings, full: bool, as_json: bool) -> list[Finding]:
    from worldbus.doctor import examine

    findings = []
    with Progress() as progress:
        async for finding in examine(
            settings, full=full, progress=lambda done, goal: progress(f"{done} of {goal} events", done / max(1, goal))
        ):
            progress.clear()
            findings.append(finding)
            if not as_json:
                say(f"{'ok  ' if finding.ok else 'FAIL'} {finding.check:<12} {finding.found}")
    return findings


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
