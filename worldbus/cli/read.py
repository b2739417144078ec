"""`worldbus tail` and `worldbus replay`: the log, as it was and as it goes on."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from worldbus.cli.app import app
from worldbus.cli.moments import parse_moment
from worldbus.cli.options import json_option, run, settings_options
from worldbus.cli.output import Progress, say, say_json

if TYPE_CHECKING:
    from bus.event import Event
    from bus.log import Log
    from worldbus.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])
WINDOW = 1000  # positions that `tail` looks back at first


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which events are wanted; what is None matches everything."""

    world: str | None = None
    subsystem: str | None = None
    entity: str | None = None
    type: str | None = None

    def subjects(self) -> list[str]:
        """As stored-subject filters; none at all when everything is wanted, so that the reader checks for gaps."""
        from bus.check import check_type
        from bus.subjects import stored_filter

        if not (self.world or self.subsystem or self.entity or self.type):
            return []
        name = check_type(self.type).rpartition(".")[2] if self.type else None
        return [stored_filter(world=self.world, subsystem=self.subsystem, entity=self.entity, name=name)]


def filter_options(function: F) -> F:
    """The options that make a `Filter`, handed over as `wanted`."""

    def call(world: str | None, subsystem: str | None, entity: str | None, type_: str | None, **options: Any) -> Any:
        return function(wanted=Filter(world=world, subsystem=subsystem, entity=entity, type=type_), **options)

    call.__name__, call.__doc__ = function.__name__, function.__doc__
    call.__dict__.update(function.__dict__)
    wrapped: Any = click.option("--type", "type_", metavar="TYPE", help="Only events of this type, by simple or full name.")(call)
    wrapped = click.option("--entity", help="Only about this player, zone, …")(wrapped)
    wrapped = click.option("--subsystem", help="Only what this subsystem said: game, time, weather, …")(wrapped)
    return click.option("--world", help="Only of this world.  [default: all]")(wrapped)  # type: ignore[no-any-return]


@app.command()
@click.option("-n", "--lines", type=click.IntRange(0), default=10, show_default=True, help="How many of the last events to begin with.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@json_option
@filter_options
@settings_options("data", "nats_url")
def tail(settings: Settings, wanted: Filter, lines: int, follow: bool, as_json: bool) -> None:
    """Show the last events of the log, and what comes after them with --follow."""
    try:
        run(_tail(settings, wanted, lines, follow, as_json))
    except KeyboardInterrupt:
        if not follow:
            raise


@app.command()
@click.option("--after", type=click.IntRange(0), default=0, show_default=True, help="Start behind this position.")
@click.option("--until", type=click.IntRange(0), help="End with this position.  [default: where the log ends now]")
@click.option(
    "--since", metavar="TIME", help="Start at what was recorded at or after this time, like 2026-11-22T12:00Z, or 90s, 15m, 2h ago."
)
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
    from worldbus.compose import open_bus

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


async def _tail(settings: Settings, wanted: Filter, lines: int, follow: bool, as_json: bool) -> None:
    from worldbus.compose import open_bus

    async with open_bus(settings, name="worldbus-tail", postgres=False) as bus:
        last = (await bus.log.state()).last
        for event in await _last_events(bus.log, wanted.subjects(), last, lines):
            show(event, as_json)
        if follow:
            async for events in bus.log.read(after=last, filters=wanted.subjects(), follow=True):
                for event in events:
                    show(event, as_json)
                sys.stdout.flush()


async def _last_events(log: Log, filters: list[str], last: int, lines: int) -> list[Event]:
    """The last `lines` events up to position `last`, found by looking back further and further."""
    found: list[Event] = []
    window = WINDOW
    while lines and last:
        after = max(0, last - window)
        found = [event async for event in _each(log, after, last, filters)]
        if len(found) >= lines or after == 0:
            break
        window *= 8
    return found[-lines:] if lines else []


async def _each(log: Log, after: int, until: int, filters: list[str]) -> AsyncIterator[Event]:
    async for events in log.read(after=after, until=until, filters=filters):
        for event in events:
            yield event


def show(event: Event, as_json: bool) -> None:
    """Print one event; one that cannot be read is shown as far as it goes."""
    from bus.showing import shown

    document = shown(event)
    say_json(document) if as_json else say(line(event, document))


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
