"""`worldbus lag`: who is behind, how far, and for how long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from worldbus.cli.app import No, app
from worldbus.cli.moments import parse_seconds
from worldbus.cli.options import json_option, run, settings_options
from worldbus.cli.output import say, say_json, table

if TYPE_CHECKING:
    from worldbus.lag import ConsumerLag, Lag
    from worldbus.settings import Settings


@app.command()
@click.option("--max", "most", type=click.IntRange(0), help="Exit with 1 if anybody is behind by more events than this.")
@click.option("--max-age", metavar="TIME", help="Exit with 1 if anybody is behind by more time than this, like 30s or 5m.")
@json_option
@settings_options("data", "nats_url", "postgres_dsn", "reader_dsn")
def lag(most: int | None, max_age: str | None, as_json: bool, settings: Settings) -> None:
    """Show how far each handler and each projection is behind, in events and in time, and what waits for the workers of each tier.

    Behind is what has no answer yet: `waiting` was not delivered, `open` was and is being decided; `behind for` is the age of the oldest of
    them. What nobody knows is shown as `?` and null, never as 0: a handler that has not run here has no place in the log.
    """
    from bus.errors import StoreUnavailable

    longest = None if max_age is None else parse_seconds(max_age)
    measured = run(_measure(settings))
    found = as_dict(measured)
    if as_json:
        say_json(found)
    else:
        _show(found)
    if measured.tables.problem:
        raise StoreUnavailable(f"nobody knows how far the tables are: {measured.tables.problem}")
    _hold(found, most, longest)


def _hold(found: dict[str, Any], most: int | None, longest: float | None) -> None:
    """Raise `No` where somebody is behind by more than is allowed, or where nobody knows."""
    if most is None and longest is None:
        return
    everybody = [found["archive"], *found["handlers"], *found["projections"]]
    behind = max(one["behind"] for one in everybody if one["behind"] is not None)
    age = max(one["behind_s"] for one in everybody if one["behind_s"] is not None)
    if most is not None and behind > most:
        raise No(f"somebody is {behind} events behind, wanted at most {most}", behind=behind)
    if longest is not None and age > longest:
        raise No(f"somebody is {age:.1f} s behind, wanted at most {longest:g} s", behind_s=age)
    if unknown := [one["handler"] for one in found["handlers"] if one["behind"] is None]:
        raise No(f"nobody knows how far behind {', '.join(unknown)} is, which has no place in every partition of this log: start it")


async def _measure(settings: Settings) -> Lag:
    from worldbus.games import current
    from worldbus.lag import measure
    from worldbus.opening import open_bus

    async with open_bus(settings, name="worldbus-lag") as bus:
        return await measure(bus.log, bus.servers.reader_dsn, current().handlers)


def as_dict(lag: Lag) -> dict[str, Any]:
    """All of the lag, for scripts. Seconds are ages of what has no answer; null where they are not known."""
    from worldbus.lag import seconds

    handlers = list(dict.fromkeys(one.handler for one in lag.handlers))
    tables = lag.tables
    known = not tables.problem
    return {
        "log": {"last": lag.last},
        "archive": {
            "position": tables.position if known else None,
            "behind": tables.behind if known else None,
            "behind_s": seconds(tables.oldest_ms, lag.now_ms) if known else None,
        },
        "handlers": [_handler(name, [one for one in lag.handlers if one.handler == name], lag.now_ms) for name in handlers],
        "tiers": [_tier(one, lag.now_ms) for one in lag.tiers],
        "projections": [
            {name: value for name, value in one.items() if name != "oldest_ms"} | {"behind_s": seconds(one["oldest_ms"], lag.now_ms)}
            for one in tables.projections
        ],
    }


def _tier(one: ConsumerLag, now_ms: int) -> dict[str, Any]:
    return {"tier": one.handler, "waiting": _known(one, one.waiting), "open": _known(one, one.open), "behind_s": one.age_s(now_ms)}


def _handler(name: str, places: list[ConsumerLag], now_ms: int = 0) -> dict[str, Any]:
    from worldbus.lag import seconds

    known = all(one.exists for one in places)
    return {
        "handler": name,
        "waiting": sum(one.waiting for one in places) if known else None,
        "open": sum(one.open for one in places) if known else None,
        "behind": sum(one.behind for one in places) if known else None,
        "behind_s": max(seconds(one.oldest_ms, now_ms) for one in places) if known else None,
        "oldest_open_s": max(seconds(one.oldest_open_ms, now_ms) for one in places) if known else None,
        "never_ran": not any(one.exists or one.ran for one in places),
        "missing": [one.name for one in places if one.ran and not one.exists],
        "partitions": [_partition(one, now_ms) for one in places],
    }


def _partition(one: ConsumerLag, now_ms: int) -> dict[str, Any]:
    from worldbus.lag import seconds

    return {
        "handler": one.handler,
        "name": one.name,
        "exists": one.exists,
        "waiting": _known(one, one.waiting),
        "open": _known(one, one.open),
        "settled": one.settled,
        "behind_s": one.age_s(now_ms),
        "held_by": one.held_by or None,
        "held_s": seconds(one.since_ms, now_ms) if one.held_by else None,
    }


def _known(one: ConsumerLag, count: int) -> int | None:
    return count if one.exists else None


def _show(found: dict[str, Any]) -> None:
    archive = found["archive"]
    at = "cannot be asked" if archive["position"] is None else f"are at {archive['position']}{_late(archive['behind_s'])}"
    say(f"The log ends at position {found['log']['last']}; archive and tables {at}.")
    say()
    rows = [
        (one["handler"], _or(one["waiting"]), _or(one["open"]), _age(one["behind_s"]), _remark(one))
        for one in found["handlers"]
    ]  # fmt: skip
    say(table(rows, ("handler", "waiting", "open", "behind for", "")))
    say()
    waits = [(one["tier"], _or(one["waiting"]), _or(one["open"]), _age(one["behind_s"])) for one in found["tiers"]]
    say(table(waits, ("tier", "waiting", "open", "behind for")))
    say()
    shown = [(*(one[name] for name in ("projection", "version", "position", "behind")), _age(one["behind_s"]), one["live"])
             for one in found["projections"]]  # fmt: skip
    say(table(shown, ("projection", "version", "position", "behind", "behind for", "shown")))


def _late(seconds: float | None) -> str:
    return f", {seconds:.1f} s behind" if seconds else ""


def _remark(one: dict[str, Any]) -> str:
    if one["never_ran"]:
        return "never ran"
    return f"its consumer is gone: {', '.join(one['missing'])}" if one["missing"] else ""


def _or(count: int | None) -> int | str:
    return "?" if count is None else count


def _age(seconds: float | None) -> str:
    return "?" if seconds is None else f"{seconds:.1f} s" if seconds else ""
