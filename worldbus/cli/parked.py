"""`worldbus parked`: lanes that wait behind an input nobody could decide."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from bus.errors import BadSettings
from worldbus.cli.app import No, app
from worldbus.cli.options import PLACE, json_option, run, settings_options
from worldbus.cli.output import remark, say, say_json, table

if TYPE_CHECKING:
    from worldbus.cli.requests import Wanted
    from worldbus.settings import Settings

_LIST = "SELECT * FROM parked ORDER BY world, handler, entity, input"  # of an older release's table, too, until it is rebuilt
_wait = click.option(
    "--wait", "wait_s", type=click.FloatRange(0), default=10.0, show_default=True, help="Seconds to wait for the outcome; 0: do not."
)
_reason = click.option("--reason", default="", help="Why, for the record.")


@app.group()
def parked() -> None:
    """Inputs that could not be decided, and the lanes that wait behind them.

    A lane is one handler's work on one entity, written HANDLER/ENTITY. Other lanes go on.
    """


@parked.command("list")
@json_option
@settings_options("data", "postgres_dsn", "reader_dsn")
def list_(as_json: bool, settings: Settings) -> None:
    """Every input that waits: parked (it failed) or deferred (it is behind one that failed)."""
    rows = run(_rows(settings))
    if as_json:
        for row in rows:
            say_json(row)
        return
    shown = [(f"{row['handler']}/{row['entity']}", row["world"], row["input"], row["status"], row["code"], row["reason"]) for row in rows]
    say(table(shown, ("lane", "world", "input", "status", "code", "reason")) if rows else "nothing is parked")


@parked.command()
@click.argument("lane", metavar="HANDLER/ENTITY")
@json_option
@settings_options(*PLACE, "reader_dsn", "world")
def show(lane: str, as_json: bool, settings: Settings) -> None:
    """Show what waits in one lane: the events themselves, and where each failed (the last frames, the stack of a decision that hung)."""
    handler, entity = _lane(lane)
    rows = [row for row in run(_rows(settings)) if (row["handler"], row["entity"], row["world"]) == (handler, entity, settings.world)]
    if not rows:
        raise No(f"nothing is parked in lane {lane} of world {settings.world!r}")
    run(_show(settings, rows, as_json))


@parked.command()
@click.argument("lanes", metavar="HANDLER/ENTITY...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every parked lane of every world.")
@_reason
@_wait
@json_option
@settings_options(*PLACE, "reader_dsn", "world", "durability")
def retry(lanes: tuple[str, ...], everything: bool, reason: str, wait_s: float, as_json: bool, settings: Settings) -> None:
    """Let lanes decide their parked and deferred inputs again, in order.

    Exit code 1 if one of them failed again, nobody answered, or there was nothing to do in a lane that was named.
    """
    if bool(lanes) == everything:
        raise BadSettings("wanted lanes as HANDLER/ENTITY, or --all, found " + ("both" if everything else "neither"))
    if everything:
        chosen = list(dict.fromkeys((row["world"], row["handler"], row["entity"]) for row in run(_rows(settings))))
    else:
        chosen = [(settings.world, *_lane(lane)) for lane in lanes]
    _order(settings, [(lane, None) for lane in chosen], reason, wait_s, as_json)


@parked.command()
@click.argument("lane", metavar="HANDLER/ENTITY", required=False)
@click.option("--input", "position", type=click.IntRange(1), help="Position of the input, as `parked list` shows it.")
@click.option("--all", "everything", is_flag=True, help="Every parked input of every world; deferred ones are decided then.")
@click.option("--code", help="With --all: only those parked with this code.")
@click.option("--handler", help="With --all: only those of this handler.")
@_reason
@_wait
@json_option
@settings_options(*PLACE, "reader_dsn", "world", "durability")
def drop(
    lane: str | None, position: int | None, everything: bool, code: str | None, handler: str | None, reason: str, wait_s: float,
    as_json: bool, settings: Settings,
) -> None:  # fmt: skip
    """Give up an input of a lane: it will never be decided there, and the lane goes on behind it.

    It may be parked, or not yet: being tried again, hanging, or still to be decided. Exit code 1 if it was not given up.
    """
    if everything == (lane is not None):
        raise BadSettings("wanted one lane as HANDLER/ENTITY with --input, or --all, found " + ("both" if everything else "neither"))
    if everything:
        if position is not None:
            raise BadSettings("--input names an input of one lane, and --all means all of them: give one")
        rows = [row for row in run(_rows(settings)) if row["status"] == "parked"]
        rows = [row for row in rows if code in (None, row["code"]) and handler in (None, row["handler"])]
        chosen: list[Wanted] = [((row["world"], row["handler"], row["entity"]), row["input"]) for row in rows]
    else:
        if position is None or code or handler:
            raise BadSettings("wanted --input POSITION beside a lane; --code and --handler choose among --all")
        chosen = [((settings.world, *_lane(lane or "")), position)]
    _order(settings, chosen, reason, wait_s, as_json)


def _lane(text: str) -> tuple[str, str]:
    from bus.subjects import check_token

    handler, slash, entity = text.partition("/")
    if not slash:
        raise BadSettings(f"wanted a lane as HANDLER/ENTITY, like player/mira, found {text!r}")
    return check_token(handler, "handler"), check_token(entity, "entity")


async def _rows(settings: Settings) -> list[dict[str, Any]]:
    from projections.query import query
    from worldbus.servers import open_servers

    async with open_servers(settings, nats=False) as servers:
        answer = await query(servers.reader_dsn, _LIST)
    return [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]


async def _show(settings: Settings, rows: list[dict[str, Any]], as_json: bool) -> None:
    from bus.json_format import to_dict
    from worldbus.cli.read import line
    from worldbus.opening import open_bus

    async with open_bus(settings, name="worldbus-parked", postgres=False) as bus:
        for row in rows:
            event = await bus.log.get(row["input"])
            try:
                document: dict[str, Any] | None = to_dict(event)
            except Exception as error:  # the reason why it is parked, quite likely
                document, row["unreadable"] = None, str(error)
            if as_json:
                say_json(row | {"event": document})
                continue
            say(line(event, document) if document else f"{event.position:>8} unreadable: {row['unreadable']}")
            for text in explanation(row):
                say(f"         {text}")


def explanation(row: Mapping[str, Any]) -> list[str]:
    """The reasons for which an input waits, line by line: `row` is one of the table `parked`."""
    tried = f" after {row['attempts']} attempts" if (row["attempts"] or 0) > 1 else ""
    again = f", failed again {row['retries']} times" if row["retries"] else ""
    by = f" by {row['handler_version']}" if row["handler_version"] else ""
    lines = [f"{row['status']} since {row['since']}{tried}{by}{again}"]
    kind = f" ({row['error_type']})" if row.get("error_type") else ""
    if row["code"]:
        lines.append(f"{row['code']}{kind}: {row['reason']}")
    lines += [f"  at {frame}" for frame in row.get("frames") or ()]
    lines += [f"  | {text}" for text in (row.get("stack") or "").splitlines()]
    return lines


def _order(settings: Settings, wanted: list[Wanted], reason: str, wait_s: float, as_json: bool) -> None:
    from worldbus.cli.requests import order

    if not wanted:
        remark("nothing is parked that this is about")
        return
    failed = run(order(settings, wanted, reason, wait_s, as_json))
    if failed:
        raise No(f"not done: {', '.join(failed)}; see `worldbus parked list`", lanes=", ".join(failed))
