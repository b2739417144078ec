"""`worldbus rebuild`: a projection made anew from the log while the old one serves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from worldbus.cli.app import No, app
from worldbus.cli.meant import meant
from worldbus.cli.names import complete, projections
from worldbus.cli.options import json_option, run, settings_options
from worldbus.cli.output import Progress, say, say_json, table

if TYPE_CHECKING:
    from projections.diff import Diff
    from projections.projection import Projection
    from worldbus.settings import Settings


@app.command()
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete(projections))
@click.option("--all", "everything", is_flag=True, help="Every projection, one after the other.")
@click.option("--dry-run", is_flag=True, help="Compare only: throw the new tables away instead of switching to them.")
@click.option("--sample", type=click.IntRange(0, 1000), default=5, show_default=True, help="Differing rows to show per table.")
@json_option
@settings_options("data", "postgres_dsn")
def rebuild(names: tuple[str, ...], everything: bool, dry_run: bool, sample: int, as_json: bool, settings: Settings) -> None:
    """Build projections anew from the archived log, show what differs, and switch to them in one transaction.

    Queries are served by the old tables until then. Exit code 1 if a row differs from what was served, 0 if none does. --json prints
    one object per projection.
    """
    wanted = _wanted(names, everything)
    differing = run(_rebuild(settings, wanted, dry_run, sample, as_json))
    if differing:
        raise No(f"rows differ in {', '.join(differing)}", projections=", ".join(differing))


def _wanted(names: tuple[str, ...], everything: bool) -> list[Projection]:
    from bus.errors import BadSettings
    from worldbus.games import current

    known = {one.name: one for one in current().projections}
    unknown = [name for name in names if name not in known]
    if unknown or bool(names) == everything:
        found = ", ".join(unknown) or ("both" if everything else "neither")
        raise BadSettings(f"wanted names among {', '.join(known)}, or --all, found {found}{meant(unknown, known)}")
    return list(current().projections) if everything else [known[name] for name in dict.fromkeys(names)]


async def _rebuild(settings: Settings, wanted: list[Projection], dry_run: bool, sample: int, as_json: bool) -> list[str]:
    from projections.rebuild import rebuild as build
    from worldbus.servers import open_servers

    differing = []
    async with open_servers(settings, nats=False) as servers:
        for projection in wanted:
            with Progress() as progress:
                difference = await build(
                    projection,
                    servers.postgres_dsn,
                    progress=_teller(progress, projection.name),
                    switch=not dry_run,
                    sample=sample,
                )
            say_json(asdict(difference) | {"empty": difference.empty}) if as_json else _show(difference, dry_run)
            if not difference.empty and difference.before:
                differing.append(projection.name)
    return differing


def _teller(progress: Progress, name: str) -> Callable[[int, int], None]:
    return lambda done, goal: progress(f"{name}: {done} of {goal} events", done / max(1, goal))


def _show(difference: Diff, dry_run: bool) -> None:
    verdict = "no row differs" if difference.empty else "rows differ" if difference.before else "built for the first time"
    fate = "compared only" if dry_run else "switched"
    say(f"{difference.projection}: version {difference.after} at position {difference.position}, {verdict}, {fate}")
    if difference.empty:
        return
    rows = [(one.table, one.before, one.after, one.added, one.removed, one.changed) for one in difference.tables]
    say(table(rows, ("table", "rows before", "rows after", "added", "removed", "changed")))
    for one in difference.tables:
        for key, before, after in one.sample:
            say(f"  {one.table} {key}")
            _say_row("-", before)
            _say_row("+", after)


def _say_row(sign: str, row: Any) -> None:
    if row is not None:
        say(f"    {sign} {row}")
