"""`worldbus ps`: who runs this world."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from worldbus.cli.app import No, app
from worldbus.cli.options import json_option, run, settings_options
from worldbus.cli.output import say, say_json, table

if TYPE_CHECKING:
    from bus.presence import HandlerReport, PartReport
    from worldbus.roll_call import Member
    from worldbus.settings import Settings


@app.command()
@click.option("--partitions", is_flag=True, help="Also each partition by itself, and whether it is read now or waits for inputs.")
@json_option
@settings_options("data", "nats_url")
def ps(partitions: bool, as_json: bool, settings: Settings) -> None:
    """Show the processes that run this world: their handlers and partitions, projector, ticker, workers, gateways, and how they stand.

    Each was asked and answered just now; one that hangs is not heard, and not shown. Exit code 1 if nobody was heard.
    """
    members = run(_members(settings))
    now_ms = time.time_ns() // 1_000_000
    if as_json:
        say_json({"members": [as_dict(one, now_ms) for one in members]})
    else:
        for number, one in enumerate(members):
            if number:
                say()
            _show(one, now_ms, partitions)
    if not members:
        raise No("nobody was heard: nothing runs this world (start it with `worldbus up`), or what runs it hangs")


async def _members(settings: Settings) -> list[Member]:
    from bus.connection import connect
    from bus.log import LogConfig
    from worldbus.embedded.folder import Folder
    from worldbus.roll_call import roll_call
    from worldbus.servers import open_servers

    if settings.embedded_nats and Folder(settings.data, create=False).find() is None:
        return []  # without servers there is nobody to hear
    async with open_servers(settings, postgres=False) as servers, connect(servers.nats_url, name="worldbus-ps") as connection:
        return await roll_call(connection, LogConfig().name)


def as_dict(one: Member, now_ms: int) -> dict[str, Any]:
    """A member, for scripts. Times are ISO 8601; null where its release does not say."""
    return {
        "member": one.id,
        "host": one.host or None,
        "pid": one.pid or None,
        "version": one.version or None,
        "started": _moment(one.started_ms),
        "up_s": (now_ms - one.started_ms) / 1000 if one.started_ms else None,
        "game": one.game or None,
        "worlds": one.worlds or None,
        "health": one.health or "ok",
        "answered": one.told,
        "handlers": [_report(name, one.reports.get(name)) for name in one.handlers],
        "parts": [_part(part) for part in one.parts],
    }


def _report(name: str, report: HandlerReport | None) -> dict[str, Any]:
    if report is None:
        return {"handler": name, "partitions": None, "decided": None, "last_decision": None}
    last = {"position": report.position, "at": _moment(report.decided_ms)} if report.position else None
    held = [
        {
            "partition": hold.partition if hold.partition >= 0 else "operator",
            "since": _moment(hold.since_ms),
            "reads": hold.active,
            "open": hold.open,
            "oldest": _moment(hold.oldest_ms),
        }
        for hold in report.holds
    ]
    return {"handler": name, "partitions": held, "decided": report.decided, "last_decision": last}


def _part(part: PartReport) -> dict[str, Any]:
    return {
        "part": part.name,
        "state": part.state,
        "reason": part.reason,
        "since": _moment(part.since_ms),
        "position": part.position or None,
        "moved": _moment(part.moved_ms),
    }


def _moment(ms: int) -> str | None:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds") if ms else None


def _show(one: Member, now_ms: int, partitions: bool) -> None:
    up = f", worldbus {one.version or '?'}, up {span(now_ms - one.started_ms)}" if one.started_ms else ""
    worlds = f" in {', '.join(one.worlds)}" if one.worlds else ""
    plays = f", plays {one.game}{worlds}" if one.game else ""
    say(f"{one.name}{up}{plays}, {'; '.join(one.health) if one.health else 'health ok'}")
    if one.speaks and not one.told:
        say("  was heard and has not answered")
    for part in one.parts:
        at = f", at position {part.position}" if part.position else ""
        say(f"  {part.name:<20} {part.state}{f': {part.reason}' if part.reason else ''}, since {span(now_ms - part.since_ms)}{at}")
    if one.handlers:
        say(_indented(table([_row(name, one.reports.get(name), now_ms) for name in one.handlers], _COLUMNS)))
    if partitions:
        holds = [(report.name, hold) for report in one.reports.values() for hold in report.holds]
        rows = [
            (name, hold.partition if hold.partition >= 0 else "operator", span(now_ms - hold.since_ms), hold.active, hold.open)
            for name, hold in holds
        ]
        say(_indented(table(rows, ("handler", "partition", "held for", "reads", "open"))))


_COLUMNS = ("handler", "partitions", "held for", "open", "decided", "last decision")


def _row(name: str, report: HandlerReport | None, now_ms: int) -> tuple[Any, ...]:
    if report is None:
        return (name, "?", "", "", "", "")
    holds = [hold for hold in report.holds if hold.partition >= 0]
    since = max((hold.since_ms for hold in holds), default=0)
    last = f"{report.position}, {span(now_ms - report.decided_ms)} ago" if report.position else "none yet"
    held = ranges([hold.partition for hold in holds]) or "none"
    return (name, held, span(now_ms - since) if since else "", sum(hold.open for hold in holds), report.decided, last)


def ranges(numbers: list[int]) -> str:
    """Numbers as people write them.

    >>> ranges([0, 1, 2, 5, 7, 8])
    '0-2 5 7-8'
    """
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return " ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def span(ms: int) -> str:
    """A length of time for people.

    >>> span(950), span(75_000), span(7_500_000), span(180_000_000)
    ('1 s', '1 m 15 s', '2 h 5 m', '2 d 2 h')
    """
    seconds = max(0, round(ms / 1000))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} m {seconds % 60} s"
    if seconds < 86_400:
        return f"{seconds // 3600} h {seconds % 3600 // 60} m"
    return f"{seconds // 86_400} d {seconds % 86_400 // 3600} h"


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
