"""`worldbus tail` and `worldbus replay`: the log, as it was and as it goes on."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

from worldbus.cli import names
from worldbus.cli.app import app
from worldbus.cli.layout import show_line
from worldbus.cli.moments import parse_moment
from worldbus.cli.options import json_option, run, settings_options
from worldbus.cli.output import Progress, remark, say_json

if TYPE_CHECKING:
    from bus.event import Event
    from bus.log import Log
    from worldbus.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])
WINDOW = 1000  # positions that `tail` looks back at first
CLOCK = "clock"
TICKS = frozenset({"RealTimePassed", "ClockAdvanced", "PausedTimePassed"})
"""Types that go to and fro between ticker and clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """The events that are wanted; what is None matches everything."""

    world: str | None = None
    subsystem: str | None = None
    entity: str | None = None
    type: str | None = None

    @property
    def asks_for_the_clock(self) -> bool:
        """True if it names what only the clock and its ticker say."""
        return bool(self.type) or self.entity == CLOCK or self.subsystem in ("time", "ticker")

    def subjects(self) -> list[str]:
        """The stored-subject filters; none at all when everything is wanted, so that the reader checks for gaps."""
        from bus.check import check_type
        from bus.subjects import stored_filter
        from schemas.upcast import names_through

        if not (self.world or self.subsystem or self.entity or self.type):
            return []
        names: list[str | None] = [*sorted(names_through(check_type(self.type)))] if self.type else [None]  # a renamed type has several
        return [stored_filter(world=self.world, subsystem=self.subsystem, entity=self.entity, name=name) for name in names]


def filter_options(function: F) -> F:
    """The options that make a `Filter`, handed over as `wanted`."""

    def call(world: str | None, subsystem: str | None, entity: str | None, type_: str | None, **options: Any) -> Any:
        return function(wanted=Filter(world=world, subsystem=subsystem, entity=entity, type=type_), **options)

    call.__name__, call.__doc__ = function.__name__, function.__doc__
    call.__dict__.update(function.__dict__)
    types, speakers = names.complete(names.events), names.complete(names.handlers, *names.EDGES)
    options = [
        click.option("--world", help="Only of this world.  [default: all]"),
        click.option("--subsystem", shell_complete=speakers, help="Only what this subsystem said: game, time, weather, …"),
        click.option("--entity", help="Only about this player, zone, …"),
        click.option("--type", "type_", metavar="TYPE", shell_complete=types, help="Only events of this type, by simple or full name."),
    ]
    wrapped: Any = call
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[no-any-return]


SINCE = "at what was recorded at or after this time, like 2026-11-22T12:00Z, or 90s, 15m, 2h ago."


@app.command()
@click.option("-n", "--lines", type=click.IntRange(0), help="How many of the last events to begin with.  [default: 10; with --since all]")
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option("--since", metavar="TIME", help=f"Begin {SINCE}")
@click.option("--ticks", is_flag=True, help="Also the ticks of the clock, which are most of a quiet world's events.")
@click.option("--whole", is_flag=True, help="On a terminal, fold long lines instead of cutting them.")
@json_option
@filter_options
@settings_options("data", "nats_url")
def tail(
    settings: Settings, wanted: Filter, lines: int | None, follow: bool, since: str | None, ticks: bool, whole: bool, as_json: bool
) -> None:
    """Show the last events of the log, and what comes after them with --follow.

    The clock's ticks are left out unless --ticks or a filter asks for them; `worldbus replay` shows everything.
    """
    moment = parse_moment(since) if since else None
    count = 10 if lines is None and moment is None else lines
    shown = Shown(as_json=as_json, whole=whole, ticks=ticks or wanted.asks_for_the_clock)
    try:
        run(_tail(settings, wanted, count, moment, follow, shown))
    except KeyboardInterrupt:
        if not follow:
            raise
    if shown.hidden and not as_json:
        remark(f"({shown.hidden} ticks of the clock are not shown: --ticks)")


@app.command()
@click.option("--after", type=click.IntRange(0), default=0, show_default=True, help="Start behind this position.")
@click.option("--until", type=click.IntRange(0), help="End with this position.  [default: where the log ends now]")
@click.option("--since", metavar="TIME", help=f"Start {SINCE}")
@click.option("--limit", type=click.IntRange(1), help="At most so many events.")
@json_option
@filter_options
@settings_options("data", "nats_url")
def replay(settings: Settings, wanted: Filter, after: int, until: int | None, since: str | None, limit: int | None, as_json: bool) -> None:
    """Print the log in order: one event per line, with --json as CloudEvents that `worldbus publish -` reads back."""
    from bus.errors import BadSettings

    if since and after:
        raise BadSettings("give --after or --since, not both: the log is read from a position or from a time")
    moment = parse_moment(since) if since else None
    run(_replay(settings, wanted, {"after": after, "until": until, "since": moment}, limit, as_json))


async def _replay(settings: Settings, wanted: Filter, span: dict[str, Any], limit: int | None, as_json: bool) -> None:
    from worldbus.opening import open_bus

    async with open_bus(settings, name="worldbus-replay", postgres=False) as bus:
        last = span["until"] or (await bus.log.state()).last
        shown = 0
        with Progress() as progress:
            async for events in bus.log.read(**span, filters=wanted.subjects()):
                for event in events:
                    show(event, as_json)
                    shown += 1
                    if shown == limit:
                        return
                if not sys.stdout.isatty():
                    progress(f"position {events[-1].position} of {last}, {shown} events", events[-1].position / max(1, last))


class Shown:
    """A choice among the events that match, and the way to show them."""

    def __init__(self, *, as_json: bool, whole: bool, ticks: bool) -> None:
        self.as_json = as_json
        self.whole = whole
        self.ticks = ticks
        self.hidden = 0

    def choose(self, found: Iterable[Event]) -> list[Event]:
        """Pick the events to show."""
        if self.ticks:
            return list(found)
        events = list(found)
        chosen = [event for event in events if event.name not in TICKS or event.entity != CLOCK]
        self.hidden += len(events) - len(chosen)
        return chosen

    def show(self, found: Iterable[Event]) -> None:
        """Print those to show."""
        for event in self.choose(found):
            show(event, self.as_json, whole=self.whole)


async def _tail(settings: Settings, wanted: Filter, lines: int | None, since: datetime | None, follow: bool, shown: Shown) -> None:
    from worldbus.opening import open_bus

    async with open_bus(settings, name="worldbus-tail", postgres=False) as bus:
        last = (await bus.log.state()).last
        if since is not None:
            found = shown.choose([event async for event in _each(bus.log, until=last, filters=wanted.subjects(), since=since)])
            found = found if lines is None else found[max(0, len(found) - lines) :]
        else:
            found = await _last_events(bus.log, wanted.subjects(), last, lines or 0, shown)
        for event in found:
            show(event, shown.as_json, whole=shown.whole)
        if follow:
            sys.stdout.flush()
            async for events in bus.log.read(after=last, filters=wanted.subjects(), follow=True):
                shown.show(events)
                sys.stdout.flush()


async def _last_events(log: Log, filters: list[str], last: int, lines: int, shown: Shown) -> list[Event]:
    """The last `lines` events to show up to position `last`, found by looking back further and further."""
    found: list[Event] = []
    window = WINDOW
    while lines and last:
        after, shown.hidden = max(0, last - window), 0
        found = shown.choose([event async for event in _each(log, until=last, filters=filters, after=after)])
        if len(found) >= lines or after == 0:
            break
        window *= 8
    return found[-lines:] if lines else []


async def _each(log: Log, *, until: int, filters: list[str], **begin: Any) -> AsyncIterator[Event]:
    async for events in log.read(until=until, filters=filters, **begin):
        for event in events:
            yield event


def show(event: Event, as_json: bool, *, whole: bool = True) -> None:
    """Print one event; one that cannot be read is shown as far as it goes."""
    from bus.showing import shown

    document = shown(event)
    say_json(document) if as_json else show_line(line(event, document), whole=whole)


def line(event: Event, document: dict[str, Any]) -> str:
    """One event on one line: position, when it was recorded, who said what about whom, and its fields."""
    import json

    recorded = str(document["recorded"])
    clock = f"{recorded[11:19]}.{(recorded[20:-1] + '000')[:3]}"
    who = f"{event.world} {event.subsystem}:{event.entity}"
    fields = document.get("data")
    text = json.dumps(fields, ensure_ascii=False) if fields else ""
    cause = str(document.get("lane", "")).split(":")[1:2]
    behind = f"  ← {cause[0]}" if cause else ""
    problem = f"  unreadable: {document['message']}" if "unreadable" in document else ""
    return f"{event.position:>8} {clock}  {who}  {event.name} {text}{behind}{problem}".rstrip()
