"""`worldbus skipped`: events that the tables could not take in, and who has seen that."""

from __future__ import annotations

import getpass
import socket
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from bus.errors import BadSettings
from worldbus.cli.app import No, app
from worldbus.cli.options import json_option, run, settings_options
from worldbus.cli.output import remark, say, say_json, table

if TYPE_CHECKING:
    from projections.skips import Skipped
    from worldbus.settings import Settings

MOST = 1000
_EVENT = """
    SELECT subject, type, event_id, time, recorded_at, cause, translate(encode(raw, 'base64'), E'\\n', '') AS raw_base64
      FROM world.events WHERE position = $1
"""


@app.group()
def skipped() -> None:
    """Events that could not be taken in, and who has seen that.

    An event that cannot be read is skipped by everybody (projection `*`); one that a projection has no room for, by that projection. Each
    is on record, and `worldbus check` is red until somebody acknowledges it. The archive has the event itself, whole.
    """


@skipped.command("list")
@click.option("--all", "everything", is_flag=True, help="Also those that somebody has acknowledged.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=MOST, show_default=True, help="At most so many.")
@json_option
@settings_options("data", "postgres_dsn", "reader_dsn")
def list_(everything: bool, limit: int, as_json: bool, settings: Settings) -> None:
    """List what was skipped and nobody has acknowledged."""
    found = run(_skipped(settings, None, everything, limit))
    if as_json:
        for one in found:
            say_json(as_dict(one))
        return
    if not found:
        say("nothing was skipped" if everything else "nothing was skipped that nobody has acknowledged")
        return
    say(table([_row(one, everything) for one in found], (*_COLUMNS, *(("acknowledged",) if everything else ()))))
    if len(found) == limit:
        remark(f"the first {limit}: --limit shows more")


@skipped.command()
@click.argument("position", type=click.IntRange(1))
@json_option
@settings_options("data", "postgres_dsn", "reader_dsn")
def show(position: int, as_json: bool, settings: Settings) -> None:
    """Show who skipped the event at POSITION and why, who has seen it, and the event as the archive has it."""
    found, event = run(_show(settings, position))
    if not found:
        raise No(f"nobody skipped the event at position {position}", position=position)
    if as_json:
        say_json({"position": position, "skipped": [as_dict(one) for one in found], "event": event})
        return
    for one in found:
        who = "everybody" if one.projection == "*" else f"projection {one.projection}"
        say(f"{one.position} skipped by {who}: {one.code} {one.reason}")
        say(f"  {_seen(one)}")
    for name, value in event.items():
        say(f"  {name:<11} {value}")


@skipped.command()
@click.argument("positions", metavar="[POSITION]...", nargs=-1, type=click.IntRange(1))
@click.option("--all", "everything", is_flag=True, help="Everything that nobody has acknowledged.")
@click.option("--projection", metavar="NAME", help="Only what this projection skipped; `*` for what nobody can read.")
@click.option("--by", "name", metavar="NAME", help="Who has seen it.  [default: this user at this host]")
@click.option("--note", default="", help="Why, and what was done, for the record.")
@json_option
@settings_options("data", "postgres_dsn")
def ack(
    positions: tuple[int, ...], everything: bool, projection: str | None, name: str | None, note: str, as_json: bool, settings: Settings
) -> None:
    """Note that somebody has seen what was skipped: then it no longer keeps `worldbus check` red.

    The record stays, with who acknowledged it and when. Exit code 1 if there was nothing to acknowledge.
    """
    if bool(positions) == everything:
        raise BadSettings("wanted positions, or --all, found " + ("both" if everything else "neither"))
    by = name or f"{_user()}@{socket.gethostname()}"
    done = run(_acknowledge(settings, None if everything else positions, projection, by, note))
    if as_json:
        say_json({"by": by, "acknowledged": [{"position": position, "projection": skipper} for position, skipper in done]})
    else:
        for position, skipper in done:
            say(f"{position} {skipper} acknowledged by {by}")
    if missing := sorted(set(positions) - {position for position, _ in done}):
        raise No(f"nothing to acknowledge at {', '.join(map(str, missing))}: see `worldbus skipped list --all`", positions=missing)
    if not done:
        raise No("nothing to acknowledge: see `worldbus skipped list --all`")


async def _skipped(settings: Settings, position: int | None, acknowledged: bool, limit: int) -> list[Skipped]:
    from projections.skips import skipped as read
    from projections.store import connected
    from worldbus.servers import open_servers

    async with open_servers(settings, nats=False) as servers, connected(servers.reader_dsn) as connection:
        return await read(connection, position=position, acknowledged=acknowledged, limit=limit)


async def _show(settings: Settings, position: int) -> tuple[list[Skipped], dict[str, Any]]:
    from projections.skips import skipped as read
    from projections.store import connected
    from worldbus.servers import open_servers

    async with open_servers(settings, nats=False) as servers, connected(servers.reader_dsn) as connection:
        found = await read(connection, position=position, acknowledged=True)
        row = await connection.fetchrow(_EVENT, position)
    shown = {} if row is None else {name: _plain(value) for name, value in row.items() if value is not None}
    return found, shown


async def _acknowledge(
    settings: Settings, positions: tuple[int, ...] | None, projection: str | None, by: str, note: str
) -> list[tuple[int, str]]:
    from projections.skips import acknowledge
    from projections.store import connected
    from worldbus.servers import open_servers

    async with open_servers(settings, nats=False) as servers, connected(servers.postgres_dsn) as connection:
        return await acknowledge(connection, positions, projection=projection, by=by, note=note)


_COLUMNS = ("position", "projection", "event", "recorded", "code", "reason")


def _row(one: Skipped, acknowledged: bool) -> tuple[Any, ...]:
    event = f"{one.world} {one.subsystem}:{one.entity} {one.name}" if one.name is not None else ""
    seen = (f"{_plain(one.acknowledged_at)} {one.acknowledged_by}" if one.acknowledged_at else "no",) if acknowledged else ()
    return (one.position, one.projection, event, _plain(one.recorded_at), one.code, one.reason, *seen)


def _seen(one: Skipped) -> str:
    if one.acknowledged_at is None:
        return f"not acknowledged: `worldbus skipped ack {one.position}`"
    return f"acknowledged {_plain(one.acknowledged_at)} by {one.acknowledged_by}" + (f": {one.note}" if one.note else "")


def as_dict(one: Skipped) -> dict[str, Any]:
    """For scripts; times in ISO 8601."""
    return {name: _plain(value) for name, value in asdict(one).items()}


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no entry for this user id, as in many containers
        return "unknown"
