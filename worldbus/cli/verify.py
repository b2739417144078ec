"""`worldbus verify`: decide the whole log again with today's handlers."""

from __future__ import annotations

import json
from dataclasses import asdict
from difflib import unified_diff
from typing import TYPE_CHECKING, Any

import click

from bus.errors import BadSettings
from worldbus.cli.app import No, app
from worldbus.cli.meant import meant
from worldbus.cli.names import complete, handlers
from worldbus.cli.options import json_option, run, settings_options
from worldbus.cli.output import Progress, say, say_json, table
from worldbus.cli.reinfer import as_dict as reinfer_as_dict
from worldbus.cli.reinfer import asked_again
from worldbus.cli.reinfer import show as show_reinfer

if TYPE_CHECKING:
    from bus.handler import Subsystem
    from bus.verify import Difference, Report
    from worldbus.settings import Settings


@app.command()
@click.option(
    "--handler",
    "names",
    multiple=True,
    metavar="NAME",
    shell_complete=complete(handlers),
    help="Only this handler; may be given several times.  [default: all]",
)
@click.option("--until", type=click.IntRange(1), help="End with this position.  [default: where the log ends now]")
@click.option("--strict", is_flag=True, help="An input that was parked and would pass today counts as a difference.")
@click.option("--show", "shown", type=click.IntRange(0, 1000), default=10, show_default=True, help="Differences to show.")
@click.option("--reinfer", is_flag=True, help="Ask the models of --inference again, too, and compare what they say with what was recorded.")
@click.option("--only", metavar="ID", multiple=True, help="With --reinfer: only this request; may be given several times.  [default: all]")
@json_option
@settings_options("data", "nats_url", "reader_dsn", "inference")
def verify(names: tuple[str, ...], until: int | None, strict: bool, shown: int, reinfer: bool, only: tuple[str, ...], as_json: bool,
           settings: Settings) -> None:  # fmt: skip
    """Decide every recorded input again, and show each decision that today's handlers would take differently.

    Exit code 1 if there is one. The log is only read, and no model is called: their answers are in it. Only --reinfer asks them again, with
    the recorded prompts and seeds, and exits with 1 if one answers differently.
    """
    from worldbus.games import current

    known = current().by_name
    if unknown := [name for name in names if name not in known]:
        raise BadSettings(f"wanted handlers among {', '.join(known)}, found {', '.join(unknown)}{meant(unknown, known)}")
    wanted = [known[name] for name in names] if names else list(known.values())
    if only and not reinfer:
        raise BadSettings("--only names requests to models, which only --reinfer asks again: give both, or neither")
    report = run(_verify(settings, wanted, until))
    again = run(asked_again(settings, until, only)) if reinfer else None
    if as_json:
        say_json(_as_dict(report, shown) | ({} if again is None else {"reinfer": reinfer_as_dict(again)}))
    else:
        _show(report, shown)
        if again is not None:
            show_reinfer(again, shown)
    if report.different or (strict and report.would_pass):
        raise No(f"{report.different} of {report.decisions} decisions differ" + (f", {report.would_pass} would pass" if strict else ""))

    if again is not None and not again.alike:
        raise No(f"{len(again.compared) - again.count('same') - again.count('beginning')} of {len(again.compared)} answers differ")


async def _verify(settings: Settings, handlers: list[Subsystem], until: int | None) -> Report:
    from bus.health import Health
    from bus.verify import Verifier
    from bus.watch import Watch
    from bus.watchdog import Watchdog
    from worldbus.compose import budgets_of
    from worldbus.games import current
    from worldbus.lag import consumers
    from worldbus.opening import open_bus
    from worldbus.verification import decide_again

    async with open_bus(settings, name="worldbus-verify", postgres=False) as bus:
        # Asked first: what is settled by now has its answers in the log before its present end.
        names = {handler.label: handler.name for handler in handlers}
        asked = await consumers(bus.log, handlers)
        settled = {(names[one.handler], one.name.removeprefix(f"{one.handler}_")): one.settled for one in asked}
        last = until or (await bus.log.state()).last
        watch = Watch()
        verifier = Verifier(handlers, partitions=bus.log.partitions, watch=watch, known=current().by_name)
        with Progress() as progress, Watchdog(watch, Health(), None, budgets_of(settings)):
            await decide_again(
                bus.log,
                verifier,
                until=last,
                progress=lambda at: progress(f"decided again up to position {at} of {last}", at / max(1, last)),
            )
    return verifier.finish(lambda handler, partition: 0 if until else settled.get((handler, str(partition)), 0))


def _as_dict(report: Report, shown: int) -> dict[str, Any]:
    return {
        "events": report.events,
        "decisions": report.decisions,
        "identical": report.identical,
        "different": report.different,
        "would_pass": report.would_pass,
        "open": report.open,
        "percent": report.percent,
        "handlers": {name: asdict(tally) for name, tally in report.handlers.items()},
        "since": {name: asdict(one) for name, one in report.since.items()},
        "differences": [asdict(one) for one in report.differences[:shown]],
    }


def _show(report: Report, shown: int) -> None:
    say(f"{report.percent:g} % of {report.decisions} decisions identical, over {report.events} events.")
    if report.would_pass:
        say(f"{report.would_pass} inputs that were parked would pass today: see `worldbus parked list`.")
    if report.open:
        say(f"{report.open} inputs are not answered yet.")
    say()
    rows = [(name, one.decisions, one.identical, one.different, one.open) for name, one in report.handlers.items()]
    say(table(rows, ("handler", "decisions", "identical", "different", "open")))
    if report.since:
        say()
    for name, first in report.since.items():
        by = f"decided by {first.by}" if first.by else "to which nothing was said"
        say(f"{name} decides differently since input {first.input} of {_moment(first.recorded_ns)}, {by}; today {first.today}.")
    for one in report.differences[:shown]:
        say()
        say(headline(one))
        for text in difference_lines(one):
            say(f"  {text}")
    if report.different > shown:
        say(f"\n… and {report.different - shown} more: --show {min(report.different, 1000)}")


def _moment(ns: int) -> str:
    from bus.json_format import format_time

    return format_time(ns) if ns else "an unknown time"


def headline(one: Difference) -> str:
    """The decision that differs: whose, about what, by which release."""
    by = f", decided by {one.by}" if one.by else ""
    return f"{one.handler}/{one.entity} in world {one.world!r}, input {one.input} {one.type}{by}:"


def difference_lines(one: Difference) -> list[str]:
    """The recorded decision (-) against today's (+), field by field."""
    today = [f"raises {one.error}"] if one.error else _lines(one.today)
    found = list(unified_diff(_lines(one.recorded), today, "recorded", "today", lineterm="", n=1))
    return [text for text in found if not text.startswith("@@")] or ["the fields agree; ids, causes or times in the envelope differ"]


def _lines(said: tuple[tuple[str, Any], ...]) -> list[str]:
    lines = []
    for name, fields in said:
        lines.append(name)
        if isinstance(fields, dict):
            lines += [f"  {key} = {json.dumps(value, ensure_ascii=False)}" for key, value in sorted(fields.items())]
        else:
            lines.append(f"  {fields}")
    return lines or ["nothing"]
