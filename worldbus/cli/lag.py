"""`worldbus lag`: who is behind, and how far."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from worldbus.cli.app import No, app
from worldbus.cli.options import json_option, run, settings_options
from worldbus.cli.output import say, say_json, table

if TYPE_CHECKING:
    from worldbus.lag import ConsumerLag
    from worldbus.settings import Settings

_PROJECTIONS = "SELECT projection, version, generation, position, in_step, live FROM world.projections ORDER BY projection, generation"


@app.command()
@click.option("--max", "most", type=click.IntRange(0), help="Exit with 1 if anybody is behind by more events than this.")
@json_option
@settings_options("data", "nats_url", "postgres_dsn", "reader_dsn")
def lag(most: int | None, as_json: bool, settings: Settings) -> None:
    """Show how many events each handler and each projection has still to take in, and what waits for the workers of each tier.

    What nobody knows is shown as `?` and null, never as 0: a handler that has not run here has no place in the log.
    """
    found = run(_measure(settings))
    if as_json:
        say_json(found)
    else:
        _show(found)
    if most is None:
        return
    known = [one["behind"] for one in (found["archive"], *found["handlers"], *found["projections"]) if one["behind"] is not None]
    if max(known) > most:
        raise No(f"somebody is {max(known)} events behind, wanted at most {most}", behind=max(known))
    if unknown := [one["handler"] for one in found["handlers"] if one["behind"] is None]:
        raise No(f"nobody knows how far behind {', '.join(unknown)} is, which has not run on every partition of this log: start it")


async def _measure(settings: Settings) -> dict[str, Any]:
    from handlers import ALL
    from projections.checkpoints import Checkpoints
    from projections.store import connected
    from worldbus.lag import consumers, queues
    from worldbus.opening import open_bus

    async with open_bus(settings, name="worldbus-lag") as bus:
        async with connected(bus.servers.reader_dsn) as connection:
            archive = await Checkpoints(connection).position()
            rows = [dict(row) for row in await connection.fetch(_PROJECTIONS)]
        places = await consumers(bus.log, ALL)
        tiers = await queues(bus.log)
        last = (await bus.log.state()).last  # asked last: nobody is ahead of it
    return {
        "log": {"last": last},
        "archive": {"position": archive, "behind": last - archive},
        "handlers": [_handler(handler.name, [one for one in places if one.handler == handler.name]) for handler in ALL],
        "tiers": [{"tier": one.handler, "waiting": _known(one, one.waiting), "open": _known(one, one.open)} for one in tiers],
        "projections": [row | {"behind": max(0, last - row["position"])} for row in rows],
    }


def _handler(name: str, places: list[ConsumerLag]) -> dict[str, Any]:
    known = all(one.exists for one in places)
    return {
        "handler": name,
        "waiting": sum(one.waiting for one in places) if known else None,
        "open": sum(one.open for one in places) if known else None,
        "behind": sum(one.behind for one in places) if known else None,
        "never_ran": not any(one.exists for one in places),
        "partitions": [asdict(one) | {"waiting": _known(one, one.waiting), "open": _known(one, one.open)} for one in places],
    }


def _known(one: ConsumerLag, count: int) -> int | None:
    return count if one.exists else None


def _show(found: dict[str, Any]) -> None:
    say(f"The log ends at position {found['log']['last']}; archive and tables are at {found['archive']['position']}.")
    say()
    rows = [(one["handler"], _or(one["waiting"]), _or(one["open"]), "never ran" if one["never_ran"] else "") for one in found["handlers"]]
    say(table(rows, ("handler", "waiting", "open", "")))
    say()
    waits = [(one["tier"], _or(one["waiting"]), _or(one["open"])) for one in found["tiers"]]
    say(table(waits, ("tier", "waiting", "open")))
    say()
    shown = [(one["projection"], one["version"], one["position"], one["behind"], one["live"]) for one in found["projections"]]
    say(table(shown, ("projection", "version", "position", "behind", "shown")))


def _or(count: int | None) -> int | str:
    return "?" if count is None else count
