"""Options that many verbs share, and how they become `Settings`."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from worldbus.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

_FOLDER = "Folder of the embedded servers.  [WORLDBUS_DATA; default: .worldbus]"
_OPTIONS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "data": (("--data-dir", "data"), {"metavar": "DIR", "help": _FOLDER}),
    "nats_url": (
        ("--nats", "--nats-url", "nats_url"),
        {"metavar": "URL", "help": "A NATS server of your own instead of the embedded one.  [WORLDBUS_NATS_URL]"},
    ),
    "nats_monitor_url": (
        ("--nats-monitor", "--nats-monitor-url", "nats_monitor_url"),
        {"metavar": "URL", "help": "Its monitoring address, where `strict` is proven.  [WORLDBUS_NATS_MONITOR_URL]"},
    ),
    "postgres_dsn": (
        ("--postgres", "--postgres-dsn", "postgres_dsn"),
        {"metavar": "DSN", "help": "A Postgres of your own instead of the embedded one.  [WORLDBUS_POSTGRES_DSN]"},
    ),
    "reader_dsn": (
        ("--reader", "--reader-dsn", "reader_dsn"),
        {"metavar": "DSN", "help": "The same Postgres as the read-only role.  [WORLDBUS_READER_DSN]"},
    ),
    "world": (("--world", "world"), {"metavar": "NAME", "help": "The world that is meant.  [WORLDBUS_WORLD; default: main]"}),
    "durability": (
        ("--durability", "durability"),
        {
            "type": click.Choice(["strict", "relaxed"]),
            "help": "strict: on disk before acknowledged.  [WORLDBUS_DURABILITY; default: strict]",
        },
    ),
    "inference": (
        ("--inference", "inference"),
        {"metavar": "FILE", "help": "TOML file that names the engine of each tier.  [WORLDBUS_INFERENCE; default: no models]"},
    ),
    "websocket": (
        ("--websocket", "websocket"),
        {
            "metavar": "HOST:PORT",
            "help": "Where browsers of this machine reach the embedded NATS server.  [WORLDBUS_WEBSOCKET; default: nowhere]",
        },
    ),
    "metrics": (
        ("--metrics", "metrics"),
        {"metavar": "HOST:PORT", "help": "Where Prometheus fetches what workers of inference count.  [WORLDBUS_METRICS; default: nowhere]"},
    ),
}
FORMER_DATA = "former_data"  # what `--data` was until 0.2: an alias of --data-dir, except for `publish`
PLACE = ("data", "nats_url", "nats_monitor_url", "postgres_dsn")


def _play(_context: click.Context, _parameter: click.Parameter, reference: str | None) -> None:
    if reference is not None:
        from worldbus.games import choose

        choose(reference)


game_option = click.option(
    "--game",
    metavar="MODULE:ATTR",
    callback=_play,
    expose_value=False,
    is_eager=True,
    help="The game that is played, a worldbus.Game.  [WORLDBUS_GAME; default: `game` of [tool.worldbus] in pyproject.toml, or the sample]",
)


def settings_options(*names: str, former_data: bool = True) -> Callable[[F], F]:
    """Add these options, --game and -v; the verb receives `settings` instead of them. `world` stays readable as `settings.world`.

    `former_data`: `--data` still names the folder, with a note; not where it is an event's fields.
    """

    fields = [_OPTIONS[name][0][-1] for name in names]

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def call(*arguments: Any, verbose: bool, **options: Any) -> Any:
            overrides = {field: options.pop(field) for field in fields}
            if (former := options.pop(FORMER_DATA, None)) is not None:
                click.echo("note: the data folder is named by --data-dir now; --data will mean an event's fields only", err=True)
                overrides["data"] = overrides["data"] or former
            return function(*arguments, settings=_settings(verbose, overrides), **options)

        wrapped: Any = click.option("-v", "--verbose", is_flag=True, help="Show the log, and tracebacks of errors.")(call)
        wrapped = game_option(wrapped)
        for name in reversed(names):
            flags, more = _OPTIONS[name]
            wrapped = click.option(*flags, **more)(wrapped)
        if "data" in fields and former_data:
            wrapped = click.option("--data", FORMER_DATA, hidden=True)(wrapped)
        return wrapped  # type: ignore[no-any-return]

    return decorate


json_option = click.option("--json", "as_json", is_flag=True, help="Machine-readable output: one JSON object (or one per line).")


def _settings(verbose: bool, overrides: dict[str, Any]) -> Settings:
    from schemas.late import otherwise
    from worldbus.settings import Settings

    settings = Settings.read(os.environ, **overrides)
    _log(settings, verbose)
    otherwise(_game)
    from worldbus.embedded.servers import followed  # behind the logging, which loads structlog without what it does not need

    return followed(settings)


def _game() -> None:
    """Load the game, whose event packages come with it."""
    from worldbus.games import current

    current()


def _log(settings: Settings, verbose: bool) -> None:
    """Set up the log, for those who ask: verbs print what they have to say, and long-running ones set it up themselves."""
    from worldbus.logging import configure

    configure(settings.log, "debug" if verbose else settings.log_level if os.environ.get("WORLDBUS_LOG_LEVEL") else "error")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a verb's coroutine on uvloop. Ctrl-C, SIGTERM and the end of the terminal cancel it, so that all it opened is closed in order."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_terminable(work))


async def _terminable(work: Coroutine[Any, Any, T]) -> T:
    """SIGTERM and SIGHUP mean what Ctrl-C means. They end the process within seconds, even if its event loop stands still."""
    from bus.stopping import Stopping

    task = asyncio.current_task()
    assert task is not None
    with Stopping(task) as stopping:
        try:
            return await work
        except asyncio.CancelledError:
            if stopping.asked:
                raise KeyboardInterrupt from None
            raise


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # not on this platform
        return None
    return uvloop.new_event_loop
